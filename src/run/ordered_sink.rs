//! A sink that many threads write to and that appends their rows in the order of their chunks.
//!
//! Invariant: a payload is appended only when no earlier chunk can still have rows for the partition **and** no payload of
//! an earlier chunk is waiting. A finished chunk may have left payloads behind, so its end alone does not let later
//! chunks append.

use std::collections::{BTreeMap, VecDeque};

use super::chunk_order::ChunkOrder;
use super::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};

/// Some rows of one chunk.
pub(super) trait Payload {
    /// Takes the rows, to be appended later. What is left has no meaning; the caller may reuse it as a buffer.
    fn take(&mut self) -> Self;

    /// Memory use in bytes.
    fn memory(&self) -> usize;
}

/// The sink of one partition.
pub(super) struct OrderedSink<S, P> {
    partition: u32,
    state: Mutex<State<S, P>>,
}

struct State<S, P> {
    /// `None` while a thread appends to it.
    sink: Option<S>,
    /// By chunk, payloads that must wait for an earlier chunk, or that arrived while another thread was appending.
    waiting: BTreeMap<u64, VecDeque<P>>,
}

impl<S, P: Payload> OrderedSink<S, P> {
    /// An empty sink.
    pub(super) fn new(partition: u32, sink: S) -> Self {
        Self { partition, state: Mutex::new(State { sink: Some(sink), waiting: BTreeMap::new() }) }
    }

    /// Appends a payload immediately if it is next in order. Otherwise, or while another thread is appending, its rows
    /// are taken and queued; the thread that unblocks it appends it.
    pub(super) fn put(
        &self,
        chunk: u64,
        payload: &mut P,
        chunk_order: &ChunkOrder,
        backlog: &Backlog,
        append: &mut dyn FnMut(&mut S, &mut P),
    ) {
        let mut state = self.lock();
        let is_next = state.waiting.range(..=chunk).next().is_none() && chunk_order.is_next(chunk, self.partition);
        match state.sink.take_if(|_| is_next) {
            Some(mut sink) => {
                drop(state);
                append(&mut sink, payload);
                self.append_waiting(sink, chunk_order, backlog, append);
            }
            None => {
                let payload = payload.take();
                backlog.add(payload.memory());
                state.waiting.entry(chunk).or_default().push_back(payload);
                drop(state);
                // It may have become next in order since the check above.
                self.advance(chunk_order, backlog, append);
            }
        }
    }

    /// Appends the waiting payloads that are next in order, unless another thread is appending.
    pub(super) fn advance(&self, chunk_order: &ChunkOrder, backlog: &Backlog, append: &mut dyn FnMut(&mut S, &mut P)) {
        let sink = self.lock().sink.take();
        if let Some(sink) = sink {
            self.append_waiting(sink, chunk_order, backlog, append);
        }
    }

    /// Appends waiting payloads until none is next in order, then puts the sink back.
    fn append_waiting(
        &self,
        mut sink: S,
        chunk_order: &ChunkOrder,
        backlog: &Backlog,
        append: &mut dyn FnMut(&mut S, &mut P),
    ) {
        let mut draining = None;
        loop {
            let mut state = self.lock();
            let payload = match state.waiting.first_entry() {
                Some(mut first) if chunk_order.is_next(*first.key(), self.partition) => {
                    let payload = first.get_mut().pop_front();
                    if first.get().is_empty() {
                        first.remove();
                    }
                    payload
                }
                _ => None,
            };
            let Some(mut payload) = payload else {
                state.sink = Some(sink);
                return;
            };
            drop(state);
            draining.get_or_insert_with(|| backlog.drain());
            backlog.remove(payload.memory());
            append(&mut sink, &mut payload);
        }
    }

    /// The sink, once every chunk has finished. `None` if a thread panicked while appending or payloads are still
    /// waiting.
    pub(super) fn finish(&self) -> Option<S> {
        let mut state = self.lock();
        let is_drained = state.waiting.is_empty();
        state.sink.take_if(|_| is_drained)
    }

    fn lock(&self) -> MutexGuard<'_, State<S, P>> {
        // No code that can panic runs under the lock, so the state is consistent even if poisoned.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The payloads waiting in all partitions of a task.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: AtomicUsize,
    /// Number of threads that are appending waiting payloads.
    draining: AtomicUsize,
}

impl Backlog {
    /// Memory use in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether a thread is appending waiting payloads.
    pub(super) fn is_draining(&self) -> bool {
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

struct Draining<'a>(&'a Backlog);

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.0.draining.fetch_sub(1, Ordering::Relaxed);
    }
}
