//! Inspects a file in steps, on any number of threads, with the same result as one pass from start to end.
//!
//! InspectionSteps are cut in order ([`InspectionSteps`]) and inspected in any order on any thread. Their findings are merged in the order of
//! the file ([`StepResults`]), as soon as no earlier step is missing. A bad row must not leave evidence, and evidence cannot
//! be taken back. So the first pass over a block assumes that every row is good. If one is bad, the block is inspected
//! again, and each row is checked before it counts.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use crate::source::formats::rows::blocks::CutBlocks;
use crate::source::formats::rows::infer::{Node, TableEvidence};
use crate::source::formats::rows::json::SkippedKeys;
use crate::source::formats::rows::reader::MAX_COLUMNS;
use crate::source::formats::rows::tally::Tally;
use crate::source::{Inspection, SourceError, SourceFile};

/// A step of the work of inspecting a file.
pub type InspectionStep<'a> = Box<dyn FnOnce() -> StepResult + Send + 'a>;

/// Cuts the inspection of a file into steps. The file is opened for the first step and closed after the last.
pub trait InspectionSteps<'a>: Send {
    /// The next step; `None` after the last.
    fn next_step(&mut self) -> Option<InspectionStep<'a>>;
}

/// The result of one step.
pub struct StepResult {
    number: u64,
    content: Content,
}

enum Content {
    /// All of a columnar file.
    Whole(Box<Result<Inspection, SourceError>>),
    /// A block of rows.
    Rows(Box<RowFindings>),
}

/// The findings about consecutive rows of a file.
#[derive(Default)]
pub(super) struct RowFindings {
    pub(super) root: Node,
    pub(super) tally: Tally,
    /// Whether a row is unreadable.
    pub(super) bad: bool,
    /// The error that makes everything after these rows unreadable.
    pub(super) problem: Option<SourceError>,
}

/// Inspects the blocks of one file.
pub(super) trait InspectBlock: Send + Sync {
    /// Whole rows.
    type Block: Send;

    /// The evidence before any row, such as the columns of a header.
    fn initial_evidence(&self) -> Node {
        Node::default()
    }

    /// Adds the rows of a block to `pass`, and sets [`RowFindings::bad`] if one is bad. `careful`: bad rows leave no evidence.
    ///
    /// # Errors
    /// The error that makes the rest of the file unreadable.
    fn inspect(&self, block: &mut Self::Block, pass: &mut RowFindings, careful: bool) -> Result<(), SourceError>;

    /// Returns to the first row of the block.
    fn rewind(block: &mut Self::Block);
}

/// Inspects a file of rows, opened by `open`.
pub(super) fn inspector<'a, C, L, O>(
    file: &'a SourceFile,
    open: O,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>)
where
    C: CutBlocks + 'a,
    L: InspectBlock<Block = C::Block> + 'a,
    O: Fn() -> Result<(C, L), SourceError> + Send + Clone + 'a,
{
    let again = open.clone();
    let steps = RowSteps { open: Some(open), opened: None, number: 0 };
    (Box::new(steps), StepResults::new(&file.name, file.bytes, Box::new(move || whole_file(&again))))
}

/// Inspects a whole file in one step.
pub fn in_one_step<'a>(
    name: &'a str,
    inspector: impl Fn() -> Result<Inspection, SourceError> + Send + 'a,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
    (Box::new(OneStep(Some(inspector))), StepResults::new(name, 0, Box::new(RowFindings::default)))
}

struct OneStep<L>(Option<L>);

impl<'a, L: Fn() -> Result<Inspection, SourceError> + Send + 'a> InspectionSteps<'a> for OneStep<L> {
    fn next_step(&mut self) -> Option<InspectionStep<'a>> {
        let inspector = self.0.take()?;
        Some(Box::new(move || StepResult { number: 0, content: Content::Whole(Box::new(inspector())) }))
    }
}

/// Turns each block into a step.
struct RowSteps<C, L, O> {
    /// `None` once the file has been opened.
    open: Option<O>,
    opened: Option<(C, Arc<L>)>,
    number: u64,
}

/// A block and its inspector. Without a block, the step yields the initial evidence.
type Work<C, L> = (Option<<C as CutBlocks>::Block>, Arc<L>);

impl<C, L, O> RowSteps<C, L, O>
where
    C: CutBlocks,
    L: InspectBlock<Block = C::Block>,
    O: Fn() -> Result<(C, L), SourceError>,
{
    fn next(&mut self) -> Result<Option<Work<C, L>>, SourceError> {
        if let Some(open) = self.open.take() {
            let (cutter, inspector) = open()?;
            let inspector = Arc::new(inspector);
            self.opened = Some((cutter, inspector.clone()));
            return Ok(Some((None, inspector)));
        }
        // Taken, so that the file is closed at its end.
        let Some((mut cutter, inspector)) = self.opened.take() else { return Ok(None) };
        let Some(block) = cutter.next_block()? else { return Ok(None) };
        self.opened = Some((cutter, inspector.clone()));
        Ok(Some((Some(block), inspector)))
    }
}

impl<'a, C, L, O> InspectionSteps<'a> for RowSteps<C, L, O>
where
    C: CutBlocks + 'a,
    L: InspectBlock<Block = C::Block> + 'a,
    O: Fn() -> Result<(C, L), SourceError> + Send + 'a,
{
    fn next_step(&mut self) -> Option<InspectionStep<'a>> {
        let number = self.number;
        self.number += 1;
        let step: InspectionStep<'a> = match self.next() {
            Ok(None) => return None,
            Ok(Some((block, inspector))) => Box::new(move || {
                let pass = block.map_or_else(|| initial_pass(&*inspector), |block| inspect_block(&*inspector, block));
                StepResult { number, content: Content::Rows(Box::new(pass)) }
            }),
            Err(error) => {
                let pass = RowFindings { problem: Some(error), ..RowFindings::default() };
                Box::new(move || StepResult { number, content: Content::Rows(Box::new(pass)) })
            }
        };
        Some(step)
    }
}

fn initial_pass<L: InspectBlock>(inspector: &L) -> RowFindings {
    RowFindings { root: inspector.initial_evidence(), ..RowFindings::default() }
}

fn inspect_block<L: InspectBlock>(inspector: &L, mut block: L::Block) -> RowFindings {
    let mut pass = initial_pass(inspector);
    pass.problem = inspector.inspect(&mut block, &mut pass, false).err();
    if pass.bad {
        L::rewind(&mut block);
        pass = initial_pass(inspector);
        pass.problem = inspector.inspect(&mut block, &mut pass, true).err();
        pass.bad = true;
    }
    pass
}

/// Inspects the file in one pass, and again with care if a row is bad. InspectionSteps must give the same result; this is the
/// fallback where they cannot.
fn whole_file<C: CutBlocks, L: InspectBlock<Block = C::Block>>(
    open: &impl Fn() -> Result<(C, L), SourceError>,
) -> RowFindings {
    let run = |careful| {
        let mut pass = RowFindings::default();
        let outcome = (|| {
            let (mut cutter, inspector) = open()?;
            pass.root = inspector.initial_evidence();
            while let Some(mut block) = cutter.next_block()? {
                inspector.inspect(&mut block, &mut pass, careful)?;
            }
            Ok(())
        })();
        pass.problem = outcome.err();
        pass
    };
    let pass = run(false);
    if pass.bad { run(true) } else { pass }
}

/// Merges the findings of the steps of a file.
pub struct StepResults<'a> {
    /// Name of the input.
    name: &'a str,
    /// Size of the file, which is one unit.
    bytes: u64,
    /// Number of the next step in file order, and the findings that arrived before it.
    next: u64,
    waiting: BTreeMap<u64, Content>,
    whole: Option<Result<Inspection, SourceError>>,
    rows: Option<RowFindings>,
    again: Box<dyn Fn() -> RowFindings + Send + 'a>,
    skipped_keys: SkippedKeys,
}

impl<'a> StepResults<'a> {
    fn new(name: &'a str, bytes: u64, again: Box<dyn Fn() -> RowFindings + Send + 'a>) -> Self {
        Self {
            name,
            bytes,
            next: 0,
            waiting: BTreeMap::new(),
            whole: None,
            rows: None,
            again,
            skipped_keys: SkippedKeys::default(),
        }
    }

    /// Adds the keys that are skipped while the file is cut into steps.
    pub(super) fn with_skipped_keys(self, skipped_keys: SkippedKeys) -> Self {
        Self { skipped_keys, ..self }
    }

    /// Adds the finding of a step. InspectionSteps may arrive in any order.
    pub fn add(&mut self, finding: StepResult) {
        self.waiting.insert(finding.number, finding.content);
        while let Some(content) = self.waiting.remove(&self.next) {
            self.next += 1;
            match content {
                Content::Whole(whole) => self.whole = Some(*whole),
                Content::Rows(pass) => self.append(*pass),
            }
        }
    }

    fn append(&mut self, pass: RowFindings) {
        let Some(rows) = &mut self.rows else {
            self.rows = Some(pass);
            return;
        };
        if rows.problem.is_none() {
            rows.root.append(pass.root, 0);
            rows.tally.add(pass.tally);
            rows.bad |= pass.bad;
            rows.problem = pass.problem;
        }
    }

    /// Whether later steps can no longer change the result.
    pub fn is_settled(&self) -> bool {
        self.rows.as_ref().is_some_and(|rows| rows.problem.is_some() || rows.root.width() > MAX_COLUMNS)
    }

    /// The inspection of the file. Every step must have been added.
    ///
    /// # Errors
    /// [`SourceError`] where the file cannot be inspected at all.
    pub fn finish(self) -> Result<Inspection, SourceError> {
        if let Some(whole) = self.whole {
            return whole;
        }
        let mut rows = self.rows.unwrap_or_default();
        // If a row makes the file unreadable, one pass from the start finds that row and the evidence before it.
        if rows.root.width() > MAX_COLUMNS || (rows.bad && rows.problem.is_some()) {
            rows = (self.again)();
        }
        let mut evidence = TableEvidence::of_file(rows.root, self.name);
        evidence.unexported_keys = self.skipped_keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let facts = rows.tally.facts(self.bytes, rows.problem);
        Ok(Inspection { evidence, facts, undecodable: Vec::new() })
    }
}

#[cfg(test)]
pub(in crate::source) mod tests {
    use super::*;

    /// Inspects the steps and adds their findings in reverse order.
    pub(in crate::source) fn alone<'a>(
        (mut steps, mut findings): (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>),
    ) -> Inspection {
        let mut found: Vec<StepResult> = std::iter::from_fn(|| steps.next_step()).map(|step| step()).collect();
        found.reverse();
        for finding in found {
            findings.add(finding);
        }
        findings.finish().unwrap()
    }
}
