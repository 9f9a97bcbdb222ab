//! Looks at a file in pieces, on any number of threads, and tells what one look from front to back would tell.
//!
//! Pieces are cut one after the other ([`Pieces`]), looked at in any order on any thread, and what they tell is put
//! together in the order of the file ([`Findings`]), as soon as nothing before is missing. Evidence of a row that turns
//! out to be bad in the middle must not count, and taking it back is not possible: so the rows of a block are first taken
//! for good, and if one is not, the block is looked at again, each row checked before it counts.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use crate::source::rows::blocks::Cut;
use crate::source::rows::infer::{Node, TableEvidence};
use crate::source::rows::json::PassedKeys;
use crate::source::rows::reader::MAX_COLUMNS;
use crate::source::rows::tally::Tally;
use crate::source::{Inspection, SourceError, SourceFile};

/// A piece of the work of inspecting a file.
pub type Piece<'a> = Box<dyn FnOnce() -> Finding + Send + 'a>;

/// Cuts the inspection of a file into pieces. Opens the file with the first, and closes it after the last.
pub trait Pieces<'a>: Send {
    /// The next piece; `None` after the last.
    fn next_piece(&mut self) -> Option<Piece<'a>>;
}

/// What one piece tells.
pub struct Finding {
    number: u64,
    told: Told,
}

enum Told {
    /// All of a columnar file.
    Whole(Box<Result<Inspection, SourceError>>),
    /// A block of rows.
    Rows(Box<Pass>),
}

/// What the rows of a stretch of a file tell.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) root: Node,
    pub(super) tally: Tally,
    /// A row cannot be read.
    pub(super) bad: bool,
    /// Why nothing behind the stretch can be read.
    pub(super) problem: Option<SourceError>,
}

/// How the blocks of one file are looked at.
pub(super) trait Look: Send + Sync {
    /// Whole rows.
    type Block: Send;

    /// What is known before any row.
    fn begin(&self) -> Node {
        Node::default()
    }

    /// Adds the rows of a block, and says if one is bad. `careful`: the evidence of a bad row does not count.
    ///
    /// # Errors
    /// What ends the reading of the file within the block.
    fn look(&self, block: &mut Self::Block, pass: &mut Pass, careful: bool) -> Result<(), SourceError>;

    /// Goes back to the first row of the block.
    fn rewind(block: &mut Self::Block);
}

/// Inspects a file of rows, opened by `open`.
pub(super) fn inspector<'a, C, L, O>(file: &'a SourceFile, open: O) -> (Box<dyn Pieces<'a> + 'a>, Findings<'a>)
where
    C: Cut + 'a,
    L: Look<Block = C::Block> + 'a,
    O: Fn() -> Result<(C, L), SourceError> + Send + Clone + 'a,
{
    let again = open.clone();
    let pieces = RowPieces { open: Some(open), opened: None, number: 0 };
    (Box::new(pieces), Findings::new(file, Box::new(move || whole_file(&again))))
}

/// Looks at a whole file in one piece.
pub fn in_one_piece<'a>(
    file: &'a SourceFile,
    look: impl Fn() -> Result<Inspection, SourceError> + Send + 'a,
) -> (Box<dyn Pieces<'a> + 'a>, Findings<'a>) {
    (Box::new(OnePiece(Some(look))), Findings::new(file, Box::new(Pass::default)))
}

struct OnePiece<L>(Option<L>);

impl<'a, L: Fn() -> Result<Inspection, SourceError> + Send + 'a> Pieces<'a> for OnePiece<L> {
    fn next_piece(&mut self) -> Option<Piece<'a>> {
        let look = self.0.take()?;
        Some(Box::new(move || Finding { number: 0, told: Told::Whole(Box::new(look())) }))
    }
}

/// A block is looked at as a piece.
struct RowPieces<C, L, O> {
    /// `None` once the file was opened.
    open: Option<O>,
    opened: Option<(C, Arc<L>)>,
    number: u64,
}

/// A block and how to look at it; without a block, what is known before any.
type Work<C, L> = (Option<<C as Cut>::Block>, Arc<L>);

impl<C, L, O> RowPieces<C, L, O>
where
    C: Cut,
    L: Look<Block = C::Block>,
    O: Fn() -> Result<(C, L), SourceError>,
{
    fn next(&mut self) -> Result<Option<Work<C, L>>, SourceError> {
        if let Some(open) = self.open.take() {
            let (cutter, look) = open()?;
            let look = Arc::new(look);
            self.opened = Some((cutter, look.clone()));
            return Ok(Some((None, look)));
        }
        // Taken out, so that the file is closed at its end.
        let Some((mut cutter, look)) = self.opened.take() else { return Ok(None) };
        let Some(block) = cutter.next_block()? else { return Ok(None) };
        self.opened = Some((cutter, look.clone()));
        Ok(Some((Some(block), look)))
    }
}

impl<'a, C, L, O> Pieces<'a> for RowPieces<C, L, O>
where
    C: Cut + 'a,
    L: Look<Block = C::Block> + 'a,
    O: Fn() -> Result<(C, L), SourceError> + Send + 'a,
{
    fn next_piece(&mut self) -> Option<Piece<'a>> {
        let number = self.number;
        self.number += 1;
        let piece: Piece<'a> = match self.next() {
            Ok(None) => return None,
            Ok(Some((block, look))) => Box::new(move || {
                let pass = block.map_or_else(|| begin(&*look), |block| look_at(&*look, block));
                Finding { number, told: Told::Rows(Box::new(pass)) }
            }),
            Err(error) => {
                let pass = Pass { problem: Some(error), ..Pass::default() };
                Box::new(move || Finding { number, told: Told::Rows(Box::new(pass)) })
            }
        };
        Some(piece)
    }
}

fn begin<L: Look>(look: &L) -> Pass {
    Pass { root: look.begin(), ..Pass::default() }
}

fn look_at<L: Look>(look: &L, mut block: L::Block) -> Pass {
    let mut pass = begin(look);
    pass.problem = look.look(&mut block, &mut pass, false).err();
    if pass.bad {
        L::rewind(&mut block);
        pass = begin(look);
        pass.problem = look.look(&mut block, &mut pass, true).err();
        pass.bad = true;
    }
    pass
}

/// One look from front to back, and a careful one if a row is bad: what pieces must come to together, and what is
/// done where they cannot.
fn whole_file<C: Cut, L: Look<Block = C::Block>>(open: &impl Fn() -> Result<(C, L), SourceError>) -> Pass {
    let run = |careful| {
        let mut pass = Pass::default();
        let outcome = (|| {
            let (mut cutter, look) = open()?;
            pass.root = look.begin();
            while let Some(mut block) = cutter.next_block()? {
                look.look(&mut block, &mut pass, careful)?;
            }
            Ok(())
        })();
        pass.problem = outcome.err();
        pass
    };
    let pass = run(false);
    if pass.bad { run(true) } else { pass }
}

/// Puts together what the pieces of a file tell.
pub struct Findings<'a> {
    file: &'a SourceFile,
    /// Number of the piece that comes next, and those that were quicker.
    next: u64,
    waiting: BTreeMap<u64, Told>,
    whole: Option<Result<Inspection, SourceError>>,
    rows: Option<Pass>,
    again: Box<dyn Fn() -> Pass + Send + 'a>,
    passed_keys: PassedKeys,
}

impl<'a> Findings<'a> {
    fn new(file: &'a SourceFile, again: Box<dyn Fn() -> Pass + Send + 'a>) -> Self {
        Self {
            file,
            next: 0,
            waiting: BTreeMap::new(),
            whole: None,
            rows: None,
            again,
            passed_keys: PassedKeys::default(),
        }
    }

    /// The same, with keys that are passed over while the file is cut into pieces.
    pub(super) fn with_passed_keys(self, passed_keys: PassedKeys) -> Self {
        Self { passed_keys, ..self }
    }

    /// Adds what a piece tells, in any order.
    pub fn add(&mut self, finding: Finding) {
        self.waiting.insert(finding.number, finding.told);
        while let Some(told) = self.waiting.remove(&self.next) {
            self.next += 1;
            match told {
                Told::Whole(whole) => self.whole = Some(*whole),
                Told::Rows(pass) => self.append(*pass),
            }
        }
    }

    fn append(&mut self, pass: Pass) {
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

    /// Whether the pieces behind those that were added matter no more.
    pub fn is_settled(&self) -> bool {
        self.rows.as_ref().is_some_and(|rows| rows.problem.is_some() || rows.root.width() > MAX_COLUMNS)
    }

    /// What the file is, once every piece was added.
    ///
    /// # Errors
    /// [`SourceError`] where nothing at all can be told of the file.
    pub fn finish(self) -> Result<Inspection, SourceError> {
        if let Some(whole) = self.whole {
            return whole;
        }
        let mut rows = self.rows.unwrap_or_default();
        // Where a row breaks the file, a look from front to back says which row it is, and what of it counts.
        if rows.root.width() > MAX_COLUMNS || (rows.bad && rows.problem.is_some()) {
            rows = (self.again)();
        }
        let mut evidence = TableEvidence::of_file(rows.root, &self.file.name);
        evidence.unexported_keys = self.passed_keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let facts = rows.tally.facts(self.file, rows.problem);
        Ok(Inspection { evidence, facts, undecodable: Vec::new() })
    }
}

#[cfg(test)]
pub(in crate::source) mod tests {
    use super::*;

    /// One piece after the other, in an order that no file has.
    pub(in crate::source) fn alone<'a>(
        (mut pieces, mut findings): (Box<dyn Pieces<'a> + 'a>, Findings<'a>),
    ) -> Inspection {
        let mut told: Vec<Finding> = std::iter::from_fn(|| pieces.next_piece()).map(|piece| piece()).collect();
        told.reverse();
        for finding in told {
            findings.add(finding);
        }
        findings.finish().unwrap()
    }
}
