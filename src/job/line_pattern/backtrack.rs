//! Matches lines by backtracking, as Perl does: the first alternative first, and as many or as few characters as possible
//! first. The `regex` crate defines its matches as those that this order finds first, so both find the same.
//!
//! Patterns of logs leave little to choose, because what separates fields is not part of them. So a line is walked once,
//! eight bytes at a time, where an automaton takes a step for each byte; `regex` does so more than once with patterns that
//! its one-pass automaton does not express, such as those with optional groups. A line that needs more than a few second
//! tries is left to `regex`, whose time is linear in the length of the line for every pattern.

use super::program::{Program, Run, Step};

/// Second tries before a line is left to `regex`.
const MAX_RETRIES: usize = 64;

/// What is in a slot that is not set.
pub(super) const UNSET: usize = usize::MAX;

/// What a try at the start of a line came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Matched,
    /// No match begins there.
    Unmatched,
    /// Not known: too many tries.
    Open,
}

/// The state of a match, kept to use its memory again.
#[derive(Debug)]
pub(super) struct Backtracker {
    /// Offsets of start and end of each group, or [`UNSET`].
    pub(super) slots: Vec<usize>,
    choices: Vec<Choice>,
    /// Slots and what they held, since the first choice.
    undo: Vec<(usize, usize)>,
}

/// What else can be tried.
#[derive(Debug, Clone, Copy)]
struct Choice {
    /// The step that chose: a fork, whose second branch is left, or a run.
    step: usize,
    /// The ends of the run that are left, or the place of the fork.
    low: usize,
    high: usize,
    /// Length of `undo` then.
    undo: usize,
}

impl Backtracker {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: vec![UNSET; slots], choices: Vec::new(), undo: Vec::new() }
    }

    /// Tries to match from the start of `line` on. Sets `slots` if it matches.
    #[inline]
    pub(super) fn run(&mut self, program: &Program, line: &str) -> Outcome {
        self.slots.fill(UNSET);
        self.choices.clear();
        self.undo.clear();
        let (mut step, mut at, mut retries) = (0, 0, 0);
        loop {
            match self.walk(program, line, step, at) {
                Ok(()) => return Outcome::Matched,
                Err(Failed) if retries == MAX_RETRIES => return Outcome::Open,
                Err(Failed) => retries += 1,
            }
            let Some(next) = self.retry(program, line) else { return Outcome::Unmatched };
            (step, at) = next;
        }
    }

    /// Goes on until the line matches or a step fails.
    #[inline]
    fn walk(&mut self, program: &Program, line: &str, mut step: usize, mut at: usize) -> Result<(), Failed> {
        let bytes = line.as_bytes();
        while let Some(current) = program.steps.get(step) {
            step += 1;
            match current {
                Step::Byte(byte) => {
                    if bytes.get(at) != Some(byte) {
                        return Err(Failed);
                    }
                    at += 1;
                }
                Step::Text(text) => {
                    if !bytes.get(at..).is_some_and(|rest| rest.starts_with(text)) {
                        return Err(Failed);
                    }
                    at += text.len();
                }
                Step::Run(run) => at = self.run_of(run, line, step - 1, at)?,
                Step::Slot(slot) => self.set(*slot, at),
                Step::Fork(branches) => {
                    let [one, other] = &**branches;
                    let next = bytes.get(at).copied();
                    step = match (one.first.has(next), other.first.has(next)) {
                        (true, is_open) => {
                            if is_open {
                                self.choices.push(Choice { step: step - 1, low: at, high: at, undo: self.undo.len() });
                            }
                            one.step
                        }
                        (false, true) => other.step,
                        (false, false) => return Err(Failed),
                    };
                }
                Step::Jump(to) => step = *to,
                Step::Start if at == 0 => {}
                Step::End if at == bytes.len() => {}
                Step::Start | Step::End => return Err(Failed),
            }
        }
        Ok(())
    }

    /// The end of a run that begins at `at`. Other ends become a choice.
    #[inline]
    fn run_of(&mut self, run: &Run, line: &str, step: usize, at: usize) -> Result<usize, Failed> {
        let low = characters(run, line, at, run.min).ok_or(Failed)?;
        let high = match run.max {
            None => run.class.run(line, low),
            Some(max) if max > run.min => {
                let (mut high, mut left) = (low, max - run.min);
                while left > 0
                    && let Some(end) = run.class.character(line, high)
                {
                    (high, left) = (end, left - 1);
                }
                high
            }
            Some(_) => return Ok(low),
        };
        if run.is_sole && run.greedy {
            return Ok(high);
        }
        self.choose(run, line, step, low, high).ok_or(Failed)
    }

    /// The first end to try of a run that may end from `low` to `high`. The others become a choice.
    fn choose(&mut self, run: &Run, line: &str, step: usize, low: usize, high: usize) -> Option<usize> {
        let end = end_of(run, line, low, high)?;
        let (low, high) = if run.greedy { (low, end.wrapping_sub(1)) } else { (end + 1, high) };
        if low <= high && (end > 0 || !run.greedy) {
            self.choices.push(Choice { step, low, high, undo: self.undo.len() });
        }
        Some(end)
    }

    /// Takes the last choice another way: the step and the place to go on with.
    fn retry(&mut self, program: &Program, line: &str) -> Option<(usize, usize)> {
        while let Some(Choice { step, low, high, undo }) = self.choices.pop() {
            for (slot, old) in self.undo.drain(undo..).rev() {
                if let Some(slot) = self.slots.get_mut(slot) {
                    *slot = old;
                }
            }
            match program.steps.get(step) {
                Some(Step::Fork(branches)) => {
                    let [_, other] = &**branches;
                    return Some((other.step, low));
                }
                Some(Step::Run(run)) => {
                    if let Some(end) = self.choose(run, line, step, low, high) {
                        return Some((step + 1, end));
                    }
                }
                _ => {}
            }
        }
        None
    }

    #[inline]
    fn set(&mut self, slot: usize, at: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            let old = std::mem::replace(place, at);
            if !self.choices.is_empty() {
                self.undo.push((slot, old));
            }
        }
    }
}

/// A step that the line does not match.
struct Failed;

/// The end of `count` characters of a run that begins at `at`.
#[inline]
fn characters(run: &Run, line: &str, at: usize, count: u32) -> Option<usize> {
    (0..count).try_fold(at, |at, _| run.class.character(line, at))
}

/// The first end to try from `low` to `high` at which what is behind the run may match.
fn end_of(run: &Run, line: &str, low: usize, high: usize) -> Option<usize> {
    let bytes = line.as_bytes();
    let may_end = |at: &usize| run.next.has(bytes.get(*at).copied());
    match (run.next.sole, run.greedy) {
        (Some(byte), greedy) => {
            let within = bytes.get(low..=high.min(bytes.len().checked_sub(1)?))?;
            let found = if greedy { memchr::memrchr(byte, within) } else { memchr::memchr(byte, within) };
            found.map(|at| low + at)
        }
        (None, true) => (low..=high).rev().find(may_end),
        (None, false) => (low..=high).find(may_end),
    }
}
