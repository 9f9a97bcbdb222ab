//! A regular expression as a program for a backtracking matcher.

use regex_syntax::hir::{self, Hir, HirKind, Look};

use super::class::Class;

/// Most steps of a program. Counted repetitions of groups are written out.
const MAX_STEPS: usize = 2000;

/// Steps, executed one after the other. Behind the last one, the line matches.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    /// Whether a match can begin at the start of a line alone.
    pub(super) is_anchored: bool,
}

/// A step of a program. Numbers of steps are indexes into [`Program::steps`].
#[derive(Debug)]
pub(super) enum Step {
    /// One byte.
    Byte(u8),
    /// Several bytes.
    Text(Box<[u8]>),
    /// Characters of a class.
    Run(Box<Run>),
    /// A group begins or ends: the index into the slots, of which each group of the expression has two.
    Slot(usize),
    /// The one alternative, and if that fails the other.
    Fork(Box<[Branch; 2]>),
    Jump(usize),
    /// Only at the start of the line.
    Start,
    /// Only at the end of the line.
    End,
}

/// Characters of a class, as many or as few as possible.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) class: Class,
    /// Characters.
    pub(super) min: u32,
    /// Characters; `None` for any number.
    pub(super) max: Option<u32>,
    pub(super) greedy: bool,
    /// What may stand behind the run.
    pub(super) next: Lookahead,
    /// Whether a greedy run that ends before a character of the class can only fail.
    pub(super) is_sole: bool,
}

/// An alternative.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) step: usize,
    /// What it may begin with.
    pub(super) first: Lookahead,
}

/// What the rest of a line may begin with for a step not to fail at once.
#[derive(Debug, Clone)]
pub(super) struct Lookahead {
    /// First bytes of characters.
    bytes: [bool; 256],
    /// The end of the line.
    end: bool,
    /// If it is one ASCII byte and nothing else.
    pub(super) sole: Option<u8>,
}

impl Lookahead {
    const NOTHING: Self = Self { bytes: [false; 256], end: false, sole: None };

    fn bytes(is_in: impl Fn(u8) -> bool) -> Self {
        let mut bytes = [false; 256];
        for (byte, known) in (0..=u8::MAX).zip(&mut bytes) {
            // Other bytes begin no character in UTF-8.
            *known = !matches!(byte, 0x80..=0xC1 | 0xF5..) && is_in(byte);
        }
        Self { bytes, end: false, sole: None }
    }

    fn or(mut self, other: &Self) -> Self {
        self.bytes.iter_mut().zip(&other.bytes).for_each(|(ours, theirs)| *ours |= theirs);
        self.end |= other.end;
        self
    }

    fn with_sole(mut self) -> Self {
        let mut known = (0..=u8::MAX).filter(|byte| self.has(Some(*byte)));
        self.sole = match (known.next(), known.next()) {
            (Some(byte), None) if byte.is_ascii() && !self.end => Some(byte),
            _ => None,
        };
        self
    }

    /// Whether a rest that begins with this byte may match; `None` is the end of the line.
    #[inline]
    pub(super) fn has(&self, byte: Option<u8>) -> bool {
        byte.map_or(self.end, |byte| self.bytes.get(usize::from(byte)).copied().unwrap_or(false))
    }
}

impl Program {
    /// Compiles an expression; `None` if it has what a program does not express: word boundaries, lines within a line,
    /// bytes that are no text, repetitions of what may be empty, or too many steps.
    pub(super) fn new(expression: &Hir) -> Option<Self> {
        let mut compiler = Compiler::default();
        compiler.compile(expression)?;
        compiler.look_ahead();
        let is_anchored = expression.properties().look_set_prefix().contains(Look::Start);
        Some(Self { steps: compiler.steps, is_anchored })
    }
}

#[derive(Default)]
struct Compiler {
    steps: Vec<Step>,
}

impl Compiler {
    fn push(&mut self, step: Step) -> Option<()> {
        (self.steps.len() < MAX_STEPS).then(|| self.steps.push(step))
    }

    fn compile(&mut self, expression: &Hir) -> Option<()> {
        match expression.kind() {
            HirKind::Empty => Some(()),
            HirKind::Literal(hir::Literal(bytes)) => match **bytes {
                [byte] => self.push(Step::Byte(byte)),
                _ => self.push(Step::Text(bytes.clone())),
            },
            HirKind::Class(class) => self.run(&unicode(class)?, 1, Some(1), true),
            HirKind::Look(Look::Start) => self.push(Step::Start),
            HirKind::Look(Look::End) => self.push(Step::End),
            HirKind::Look(_) => None,
            HirKind::Repetition(repetition) => self.repetition(repetition),
            HirKind::Capture(capture) if capture.name.is_none() => self.compile(&capture.sub),
            HirKind::Capture(capture) => {
                let slot = 2 * usize::try_from(capture.index).ok()?;
                self.push(Step::Slot(slot))?;
                self.compile(&capture.sub)?;
                self.push(Step::Slot(slot + 1))
            }
            HirKind::Concat(parts) => parts.iter().try_for_each(|part| self.compile(part)),
            HirKind::Alternation(alternatives) => self.alternation(alternatives),
        }
    }

    fn run(&mut self, class: &hir::ClassUnicode, min: u32, max: Option<u32>, greedy: bool) -> Option<()> {
        let class = Class::new(class);
        self.push(Step::Run(Box::new(Run { class, min, max, greedy, next: Lookahead::NOTHING, is_sole: false })))
    }

    fn alternation(&mut self, alternatives: &[Hir]) -> Option<()> {
        let mut ends = Vec::new();
        let (last, others) = alternatives.split_last()?;
        for alternative in others {
            let fork = self.fork()?;
            self.compile(alternative)?;
            ends.push(self.steps.len());
            self.push(Step::Jump(0))?;
            self.join(fork, [fork + 1, self.steps.len()]);
        }
        self.compile(last)?;
        let behind = self.steps.len();
        for end in ends {
            if let Some(Step::Jump(to)) = self.steps.get_mut(end) {
                *to = behind;
            }
        }
        Some(())
    }

    fn repetition(&mut self, repetition: &hir::Repetition) -> Option<()> {
        let hir::Repetition { min, max, greedy, sub } = repetition;
        match sub.kind() {
            HirKind::Class(class) => return self.run(&unicode(class)?, *min, *max, *greedy),
            HirKind::Literal(hir::Literal(bytes)) if let Some(character) = only_character(bytes) => {
                let class = hir::ClassUnicode::new([hir::ClassUnicodeRange::new(character, character)]);
                return self.run(&class, *min, *max, *greedy);
            }
            _ => {}
        }
        // Rounds that match nothing would need rules of their own.
        if *max != Some(1) && sub.properties().minimum_len().is_none_or(|len| len == 0) {
            return None;
        }
        for _ in 0..*min {
            self.compile(sub)?;
        }
        let Some(max) = max else {
            let fork = self.fork()?;
            self.compile(sub)?;
            self.push(Step::Jump(fork))?;
            self.join(fork, in_order([fork + 1, self.steps.len()], *greedy));
            return Some(());
        };
        let mut forks = Vec::new();
        for _ in *min..*max {
            forks.push(self.fork()?);
            self.compile(sub)?;
        }
        let behind = self.steps.len();
        forks.into_iter().for_each(|fork| self.join(fork, in_order([fork + 1, behind], *greedy)));
        Some(())
    }

    /// A fork whose branches are not known yet.
    fn fork(&mut self) -> Option<usize> {
        let branch = || Branch { step: 0, first: Lookahead::NOTHING };
        self.push(Step::Fork(Box::new([branch(), branch()])))?;
        Some(self.steps.len() - 1)
    }

    fn join(&mut self, fork: usize, steps: [usize; 2]) {
        if let Some(Step::Fork(branches)) = self.steps.get_mut(fork) {
            branches.iter_mut().zip(steps).for_each(|(branch, step)| branch.step = step);
        }
    }

    /// Fills in what may stand behind runs and at the start of branches.
    fn look_ahead(&mut self) {
        let mut known: Vec<Option<Lookahead>> = vec![None; self.steps.len()];
        for at in 0..self.steps.len() {
            match self.steps.get(at) {
                Some(Step::Run(_)) => {
                    let next = first(&self.steps, at + 1, &mut known).with_sole();
                    if let Some(Step::Run(run)) = self.steps.get_mut(at) {
                        run.is_sole = (0..=u8::MAX).all(|b| !(run.class.may_begin(b) && next.has(Some(b))));
                        run.next = next;
                    }
                }
                Some(Step::Fork(branches)) => {
                    let firsts = [0, 1].map(|i| branches.get(i).map_or(0, |branch| branch.step));
                    let firsts = firsts.map(|step| first(&self.steps, step, &mut known));
                    if let Some(Step::Fork(branches)) = self.steps.get_mut(at) {
                        branches.iter_mut().zip(firsts).for_each(|(branch, first)| branch.first = first);
                    }
                }
                _ => {}
            }
        }
    }
}

/// What a rest must begin with for the steps from `at` on not to fail at once. Ends, because no round of a loop is empty.
fn first(steps: &[Step], at: usize, known: &mut Vec<Option<Lookahead>>) -> Lookahead {
    if let Some(Some(found)) = known.get(at) {
        return found.clone();
    }
    let found = match steps.get(at) {
        None => Lookahead { end: true, ..Lookahead::bytes(|_| true) },
        Some(Step::Byte(byte)) => Lookahead::bytes(|b| b == *byte),
        Some(Step::Text(text)) => Lookahead::bytes(|b| text.first() == Some(&b)),
        Some(Step::Run(run)) => {
            let class = Lookahead::bytes(|b| run.class.may_begin(b));
            if run.min > 0 { class } else { class.or(&first(steps, at + 1, known)) }
        }
        Some(Step::Slot(_) | Step::Start) => first(steps, at + 1, known),
        Some(Step::Jump(to)) => first(steps, *to, known),
        Some(Step::Fork(branches)) => {
            let [one, other] = &**branches;
            first(steps, one.step, known).or(&first(steps, other.step, known))
        }
        Some(Step::End) => Lookahead { end: true, ..Lookahead::NOTHING },
    };
    if let Some(place) = known.get_mut(at) {
        *place = Some(found.clone());
    }
    found
}

fn in_order(branches: [usize; 2], greedy: bool) -> [usize; 2] {
    let [body, behind] = branches;
    if greedy { [body, behind] } else { [behind, body] }
}

fn only_character(bytes: &[u8]) -> Option<char> {
    let mut characters = std::str::from_utf8(bytes).ok()?.chars();
    characters.next().filter(|_| characters.next().is_none())
}

/// A class of text; `None` for a class of bytes that are none.
fn unicode(class: &hir::Class) -> Option<hir::ClassUnicode> {
    match class {
        hir::Class::Unicode(class) => Some(class.clone()),
        hir::Class::Bytes(class) => class.to_unicode_class(),
    }
}
