//! Inspects a file in steps, on any number of threads, with the same result as one pass from start to end.
//!
//! [`InspectionSteps`] cuts the file into steps in file order. The steps run in any order on any thread, and [`StepResults`]
//! merges their findings in file order, each as soon as all earlier ones have arrived. An unreadable row must not contribute
//! evidence for the schema, and evidence cannot be retracted. So the first pass over a block assumes that every row is
//! readable; if one is not, the block is inspected again, and each row is validated before it counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::source::formats::rows::blocks::CutBlocks;
use crate::source::formats::rows::envelope::SkippedKeys;
use crate::source::formats::rows::infer::{Node, TableEvidence};
use crate::source::formats::rows::reader::MAX_COLUMNS;
use crate::source::formats::rows::tally::Tally;
use crate::source::{Inspection, SourceError, SourceFile};

/// One unit of inspection work; may run on any thread.
pub(crate) type InspectionStep<'a> = Box<dyn FnOnce() -> StepResult + Send + 'a>;

/// Cuts a file into steps. The first call of `next_step` opens the file; the call that returns `None` closes it.
pub(crate) trait InspectionSteps<'a>: Send {
    /// The next step; `None` after the last.
    fn next_step(&mut self) -> Option<InspectionStep<'a>>;
}

/// The result of one step.
pub(crate) struct StepResult {
    /// 0-based position of the step in the file.
    index: u64,
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
    /// Whether at least one row is unreadable.
    pub(super) has_bad_row: bool,
    /// Keys around the rows that are not exported.
    pub(super) skipped: SkippedKeys,
    /// The error that makes the file unreadable after these rows.
    pub(super) problem: Option<SourceError>,
}

/// How rows are inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Assumes that every row is readable. If one is not, the evidence is invalid and the caller must discard it.
    Optimistic,
    /// Validates each row first, so that unreadable rows contribute no evidence.
    Validating,
}

/// Inspects the blocks of one file.
pub(super) trait InspectBlock: Send + Sync {
    /// Consecutive complete rows of the file.
    type Block: Send;

    /// The evidence before any row, such as the columns of a header.
    fn initial_evidence(&self) -> Node {
        Node::default()
    }

    /// Adds the rows of a block to `findings`. Sets [`RowFindings::has_bad_row`] if a row is unreadable, unless every pass is
    /// validating.
    ///
    /// # Errors
    /// The error that makes the rest of the file unreadable.
    fn inspect(&self, block: &mut Self::Block, findings: &mut RowFindings, pass: Pass) -> Result<(), SourceError>;

    /// Returns to the first row of the block.
    fn rewind(block: &mut Self::Block);
}

/// Splits the inspection of a row-format file into one step per block. `open` may be called again for the sequential fallback.
pub(super) fn block_steps<'a, C, I, O>(
    file: &'a SourceFile,
    open: O,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>)
where
    C: CutBlocks + 'a,
    I: InspectBlock<Block = C::Block> + 'a,
    O: Fn() -> Result<(C, I), SourceError> + Send + Clone + 'a,
{
    let reopen = open.clone();
    let steps = RowSteps { state: State::Unopened(open), index: 0 };
    (Box::new(steps), StepResults::new(&file.name, file.bytes, Box::new(move || inspect_sequentially(&reopen))))
}

/// Wraps an inspection that cannot be split, such as that of a columnar file, as a single step.
pub(crate) fn in_one_step<'a>(
    name: &'a str,
    inspect: impl Fn() -> Result<Inspection, SourceError> + Send + 'a,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
    // Size and fallback are used only for row formats.
    (Box::new(OneStep(Some(inspect))), StepResults::new(name, 0, Box::new(RowFindings::default)))
}

struct OneStep<F>(Option<F>);

impl<'a, F: Fn() -> Result<Inspection, SourceError> + Send + 'a> InspectionSteps<'a> for OneStep<F> {
    fn next_step(&mut self) -> Option<InspectionStep<'a>> {
        let inspect = self.0.take()?;
        Some(Box::new(move || StepResult { index: 0, content: Content::Whole(Box::new(inspect())) }))
    }
}

/// Yields a step with the initial evidence, then one step per block.
struct RowSteps<C, I, O> {
    state: State<C, I, O>,
    index: u64,
}

enum State<C, I, O> {
    Unopened(O),
    Open(C, Arc<I>),
    /// At the end of the file, or after an error.
    Done,
}

/// A block and its inspector. Without a block, the step yields the initial evidence.
type Work<C, I> = (Option<<C as CutBlocks>::Block>, Arc<I>);

impl<C, I, O> RowSteps<C, I, O>
where
    C: CutBlocks,
    I: InspectBlock<Block = C::Block>,
    O: Fn() -> Result<(C, I), SourceError>,
{
    /// The next block to inspect. An error ends the steps.
    fn next_work(&mut self) -> Result<Option<Work<C, I>>, SourceError> {
        // Dropping the state closes the file at its end and stops after an error.
        let (cutter, block, inspector) = match std::mem::replace(&mut self.state, State::Done) {
            State::Unopened(open) => {
                let (cutter, inspector) = open()?;
                (cutter, None, Arc::new(inspector))
            }
            State::Open(mut cutter, inspector) => {
                let Some(block) = cutter.next_block()? else { return Ok(None) };
                (cutter, Some(block), inspector)
            }
            State::Done => return Ok(None),
        };
        self.state = State::Open(cutter, inspector.clone());
        Ok(Some((block, inspector)))
    }
}

impl<'a, C, I, O> InspectionSteps<'a> for RowSteps<C, I, O>
where
    C: CutBlocks + 'a,
    I: InspectBlock<Block = C::Block> + 'a,
    O: Fn() -> Result<(C, I), SourceError> + Send + 'a,
{
    fn next_step(&mut self) -> Option<InspectionStep<'a>> {
        let index = self.index;
        self.index += 1;
        let step: InspectionStep<'a> = match self.next_work() {
            Ok(None) => return None,
            Ok(Some((block, inspector))) => Box::new(move || {
                let findings =
                    block.map_or_else(|| initial_findings(&*inspector), |block| inspect_block(&*inspector, block));
                StepResult { index, content: Content::Rows(Box::new(findings)) }
            }),
            Err(error) => {
                let findings = RowFindings { problem: Some(error), ..RowFindings::default() };
                Box::new(move || StepResult { index, content: Content::Rows(Box::new(findings)) })
            }
        };
        Some(step)
    }
}

fn initial_findings<I: InspectBlock>(inspector: &I) -> RowFindings {
    RowFindings { root: inspector.initial_evidence(), ..RowFindings::default() }
}

fn inspect_block<I: InspectBlock>(inspector: &I, mut block: I::Block) -> RowFindings {
    let mut findings = initial_findings(inspector);
    findings.problem = inspector.inspect(&mut block, &mut findings, Pass::Optimistic).err();
    if findings.has_bad_row {
        I::rewind(&mut block);
        findings = initial_findings(inspector);
        findings.problem = inspector.inspect(&mut block, &mut findings, Pass::Validating).err();
        // A validating pass may stop with an error before it reaches the bad row.
        findings.has_bad_row = true;
    }
    findings
}

/// Inspects the whole file sequentially. This defines the correct result; merged steps equal it except in the cases that
/// [`StepResults::finish`] handles by calling this function.
fn inspect_sequentially<C: CutBlocks, I: InspectBlock<Block = C::Block>>(
    open: &impl Fn() -> Result<(C, I), SourceError>,
) -> RowFindings {
    let inspect = |pass| {
        let mut findings = RowFindings::default();
        findings.problem = inspect_blocks(open, &mut findings, pass).err();
        findings
    };
    let findings = inspect(Pass::Optimistic);
    if findings.has_bad_row { inspect(Pass::Validating) } else { findings }
}

fn inspect_blocks<C: CutBlocks, I: InspectBlock<Block = C::Block>>(
    open: &impl Fn() -> Result<(C, I), SourceError>,
    findings: &mut RowFindings,
    pass: Pass,
) -> Result<(), SourceError> {
    let (mut cutter, inspector) = open()?;
    findings.root = inspector.initial_evidence();
    while let Some(mut block) = cutter.next_block()? {
        inspector.inspect(&mut block, findings, pass)?;
    }
    Ok(())
}

/// Merges the findings of the steps of a file.
pub(crate) struct StepResults<'a> {
    /// Name of the input.
    name: &'a str,
    /// Size of the file in bytes; the file is a single unit.
    encoded_bytes: u64,
    /// Index of the step to merge next.
    next: u64,
    /// Results that arrived ahead of `next`, by step index.
    waiting: BTreeMap<u64, Content>,
    whole: Option<Result<Inspection, SourceError>>,
    rows: Option<RowFindings>,
    sequential_fallback: Box<dyn Fn() -> RowFindings + Send + 'a>,
}

impl<'a> StepResults<'a> {
    fn new(name: &'a str, encoded_bytes: u64, sequential_fallback: Box<dyn Fn() -> RowFindings + Send + 'a>) -> Self {
        Self { name, encoded_bytes, next: 0, waiting: BTreeMap::new(), whole: None, rows: None, sequential_fallback }
    }

    /// Adds the result of a step. Results may arrive in any order.
    pub(crate) fn add(&mut self, result: StepResult) {
        self.waiting.insert(result.index, result.content);
        while let Some(content) = self.waiting.remove(&self.next) {
            self.next += 1;
            match content {
                Content::Whole(whole) => self.whole = Some(*whole),
                Content::Rows(findings) => self.append(*findings),
            }
        }
    }

    fn append(&mut self, findings: RowFindings) {
        let Some(rows) = &mut self.rows else {
            self.rows = Some(findings);
            return;
        };
        if rows.problem.is_none() {
            rows.root.append(findings.root, 0);
            rows.tally.add(findings.tally);
            rows.skipped.merge(&findings.skipped);
            rows.has_bad_row |= findings.has_bad_row;
            rows.problem = findings.problem;
        }
    }

    /// Whether the outcome is decided, so that the remaining steps need not run.
    pub(crate) fn is_decided(&self) -> bool {
        self.rows.as_ref().is_some_and(|rows| rows.problem.is_some() || rows.root.width() > MAX_COLUMNS)
    }

    /// Merges the results into the inspection of the file. Every step must have been added, unless
    /// [`is_decided`](Self::is_decided) returned true.
    ///
    /// # Errors
    /// [`SourceError`] if an input that is inspected in one step cannot be, such as a columnar file. A row-format file never
    /// fails here; its error is [`InputFacts::problem`](crate::source::InputFacts::problem).
    pub(crate) fn finish(self) -> Result<Inspection, SourceError> {
        if let Some(whole) = self.whole {
            return whole;
        }
        let mut rows = self.rows.unwrap_or_default();
        // Merged evidence may include rows after the one that ends inspection: the row that exceeds MAX_COLUMNS, or an error
        // in a file with bad rows. A sequential pass stops exactly there.
        if rows.root.width() > MAX_COLUMNS || (rows.has_bad_row && rows.problem.is_some()) {
            rows = (self.sequential_fallback)();
        }
        let mut evidence = TableEvidence::of_file(rows.root, self.name);
        // How far a file was read before its error depends on the blocks.
        if rows.problem.is_none() {
            evidence.unexported_keys = rows.skipped.into_paths();
        }
        let facts = rows.tally.facts(self.encoded_bytes, rows.problem);
        Ok(Inspection { evidence, facts, undecodable: Vec::new() })
    }
}

#[cfg(test)]
pub(in crate::source) mod tests {
    use super::*;

    /// Runs all steps and adds their results in reverse order.
    pub(in crate::source) fn inspect_in_reverse<'a>(
        (mut steps, mut merged): (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>),
    ) -> Inspection {
        let mut results: Vec<StepResult> = std::iter::from_fn(|| steps.next_step()).map(|step| step()).collect();
        results.reverse();
        for result in results {
            merged.add(result);
        }
        merged.finish().unwrap()
    }
}
