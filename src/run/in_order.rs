//! A sink that many threads hand pieces to, and that receives them in the order of their chunks.
//!
//! Invariant: a piece is appended only when no earlier chunk can bring rows for the partition **and** no piece of an
//! earlier chunk waits. A chunk that has ended may have left pieces behind, so its end alone does not give way to others.

use std::collections::{BTreeMap, VecDeque};

use super::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};
use super::turns::Turns;

/// Some rows of one chunk.
pub trait Piece {
    /// Moves the rows out, to be appended later.
    fn take(&mut self) -> Self;

    /// Memory that they take, in bytes.
    fn memory(&self) -> usize;
}

/// A sink of one partition.
pub struct InOrder<S, P> {
    partition: u32,
    state: Mutex<State<S, P>>,
}

struct State<S, P> {
    /// Absent while a thread appends to it.
    sink: Option<S>,
    /// By chunk, pieces whose turn has not come, or that came while another thread was appending.
    waiting: BTreeMap<u64, VecDeque<P>>,
}

impl<S, P: Piece> InOrder<S, P> {
    /// The sink of a partition, which has received nothing.
    pub fn new(partition: u32, sink: S) -> Self {
        Self { partition, state: Mutex::new(State { sink: Some(sink), waiting: BTreeMap::new() }) }
    }

    /// Appends a piece, at once if it is its turn, unless another thread is appending: then that thread appends it too and
    /// this one goes on. Where it must wait, `piece` is left empty.
    pub fn put(
        &self,
        chunk: u64,
        piece: &mut P,
        turns: &Turns,
        waiting: &Waiting,
        append: &mut dyn FnMut(&mut S, &mut P),
    ) {
        let mut state = self.lock();
        let is_next = state.waiting.range(..=chunk).next().is_none() && turns.is_next(chunk, self.partition);
        match state.sink.take_if(|_| is_next) {
            Some(mut sink) => {
                drop(state);
                append(&mut sink, piece);
                self.append_waiting(sink, turns, waiting, append);
            }
            None => {
                let piece = piece.take();
                waiting.add(piece.memory());
                state.waiting.entry(chunk).or_default().push_back(piece);
                drop(state);
                // The turn may have come since it was checked.
                self.advance(turns, waiting, append);
            }
        }
    }

    /// Appends what has waited and may be appended now, unless another thread is appending.
    pub fn advance(&self, turns: &Turns, waiting: &Waiting, append: &mut dyn FnMut(&mut S, &mut P)) {
        let sink = self.lock().sink.take();
        if let Some(sink) = sink {
            self.append_waiting(sink, turns, waiting, append);
        }
    }

    /// Appends until nothing may be appended, then gives the sink back.
    fn append_waiting(&self, mut sink: S, turns: &Turns, waiting: &Waiting, append: &mut dyn FnMut(&mut S, &mut P)) {
        let mut draining = None;
        loop {
            let mut state = self.lock();
            let piece = match state.waiting.first_entry() {
                Some(mut first) if turns.is_next(*first.key(), self.partition) => {
                    let piece = first.get_mut().pop_front();
                    if first.get().is_empty() {
                        first.remove();
                    }
                    piece
                }
                _ => None,
            };
            let Some(mut piece) = piece else {
                state.sink = Some(sink);
                return;
            };
            drop(state);
            draining.get_or_insert_with(|| waiting.drain());
            waiting.remove(piece.memory());
            append(&mut sink, &mut piece);
        }
    }

    /// The sink, when every chunk has ended; `None` where a thread did not come back from appending, or where pieces
    /// still wait.
    pub fn finish(&self) -> Option<S> {
        let mut state = self.lock();
        let is_drained = state.waiting.is_empty();
        state.sink.take_if(|_| is_drained)
    }

    fn lock(&self) -> MutexGuard<'_, State<S, P>> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much waits for its turn, in all partitions of a task.
#[derive(Debug, Default)]
pub struct Waiting {
    bytes: AtomicUsize,
    /// Threads that append what has waited.
    draining: AtomicUsize,
}

impl Waiting {
    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether a thread is making it less.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed) > 0
    }

    fn drain(&self) -> Draining<'_> {
        self.draining.fetch_add(1, Ordering::Relaxed);
        Draining(self)
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

struct Draining<'a>(&'a Waiting);

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.0.draining.fetch_sub(1, Ordering::Relaxed);
    }
}
