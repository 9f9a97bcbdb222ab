//! A fixed number of threads that take work items from several streams.
//!
//! The pool runs one long closure on each thread (`broadcast`) and nothing else. A worker that waits inside polars' own
//! pool therefore has no other work of ours to steal, so items cannot nest: memory stays bounded by the number of threads,
//! and no item runs on top of another one's stack.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rayon::prelude::*;

use crate::panics;
use crate::stop::Stop;

/// How long a thread sleeps after it found every stream busy, if nothing wakes it. A stream may become ready, and a signal
/// may arrive, without a notification.
const NAP: Duration = Duration::from_millis(5);

/// The answer of a stream to a request for work.
pub(super) enum Next<P> {
    /// Work to do.
    Item(P),
    /// No work now: another thread is producing an item, or earlier items must be processed first.
    Busy,
    /// No more work.
    End,
}

/// A source of work items that are produced one at a time and processed by any thread.
pub(super) trait Stream: Sync {
    /// A unit of work.
    type Item: Send;

    /// The next item. Must not block on another thread that is producing one: a thread that gets [`Next::Busy`] can work on
    /// another stream.
    fn next(&self) -> Next<Self::Item>;

    /// Processes an item.
    fn work(&self, item: Self::Item);

    /// Called once, after [`Next::End`] (or a panic in `next`), when every item has been processed.
    fn end(&self);

    /// Called after a panic in `next`, `work` or `end`. Only after a panic in `next` are no more items requested.
    fn panicked(&self, text: String);
}

/// Processes the items of all streams on `threads` threads, earlier streams first. While one thread produces an item of a
/// stream, others take items from later streams, so that slow streams are read in parallel; at most `threads` streams are
/// open at once. After `stop` is set, no more items are taken and `end` is not called.
///
/// # Errors
/// [`rayon::ThreadPoolBuildError`] if the operating system cannot start threads.
pub(super) fn for_each_item<S: Stream>(
    threads: usize,
    streams: &[S],
    stop: &Stop,
) -> Result<(), rayon::ThreadPoolBuildError> {
    if streams.is_empty() {
        return Ok(());
    }
    let threads = threads.max(1);
    if threads == 1 {
        let dispatcher =
            Dispatcher { state: Mutex::new(DispatchState::default()), changed: Condvar::new(), threads, streams };
        dispatcher.work_off(stop);
        return Ok(());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("worker-{i}")).build()?;
    let dispatcher =
        Dispatcher { state: Mutex::new(DispatchState::default()), changed: Condvar::new(), threads, streams };
    pool.broadcast(|_| dispatcher.work_off(stop));
    Ok(())
}

/// Maps items in parallel on `threads` threads, and returns the results in the order of the items.
///
/// # Errors
/// [`rayon::ThreadPoolBuildError`] if the operating system cannot start threads.
pub(super) fn map<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Result<Vec<R>, rayon::ThreadPoolBuildError> {
    if threads <= 1 || items.len() <= 1 {
        return Ok(items.iter().map(work).collect());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    Ok(pool.install(|| items.par_iter().map(&work).collect()))
}

/// The streams and their state, shared by all threads.
struct Dispatcher<'a, S> {
    state: Mutex<DispatchState>,
    changed: Condvar,
    threads: usize,
    streams: &'a [S],
}

#[derive(Default)]
struct DispatchState {
    /// Streams in progress, in ascending order.
    open: Vec<OpenStream>,
    /// Index of the first stream that has not started.
    unopened: usize,
    /// Counts the events that may give a waiting thread work.
    changes: u64,
}

struct OpenStream {
    index: usize,
    /// Number of threads inside one of its functions.
    users: usize,
    /// Whether it has no more items.
    drained: bool,
}

/// The last thing that a thread did with a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Item,
    Busy,
    End,
}

/// The result of looking for a stream to work on.
enum Search {
    Stream(usize),
    /// All streams that may have items are busy.
    Wait,
    Done,
}

impl DispatchState {
    /// The first stream at or after index `from` that may have items. Counts the thread as its user.
    fn find(&mut self, from: usize, threads: usize, streams: usize) -> Search {
        if let Some(open) = self.open.iter_mut().find(|o| o.index >= from && !o.drained) {
            open.users += 1;
            return Search::Stream(open.index);
        }
        if self.unopened < streams {
            if self.open.len() >= threads {
                return Search::Wait;
            }
            let index = self.unopened;
            self.unopened += 1;
            self.open.push(OpenStream { index, users: 1, drained: false });
            return Search::Stream(index);
        }
        if self.open.iter().all(|o| o.drained) { Search::Done } else { Search::Wait }
    }
}

impl<S: Stream> Dispatcher<'_, S> {
    fn lock(&self) -> MutexGuard<'_, DispatchState> {
        // Streams' code never runs under the lock, so even a poisoned state is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_off(&self, stop: &Stop) {
        let (mut from, mut seen) = (0, 0);
        while !stop.is_set() {
            let mut state = self.lock();
            if from == 0 {
                seen = state.changes;
            }
            match state.find(from, self.threads, self.streams.len()) {
                Search::Stream(index) => {
                    drop(state);
                    from = if self.take(index) { 0 } else { index + 1 };
                }
                Search::Wait => {
                    #[expect(
                        clippy::let_underscore_must_use,
                        reason = "whether notified or timed out, all streams are asked again"
                    )]
                    let _ = self.changed.wait_timeout_while(state, NAP, |s| s.changes == seen);
                    from = 0;
                }
                Search::Done => break,
            }
        }
    }

    /// Takes an item of a stream and processes it. Returns false if the stream is busy.
    fn take(&self, index: usize) -> bool {
        let Some(stream) = self.streams.get(index) else { return false };
        let next = forward_panic(stream, || stream.next()).unwrap_or(Next::End);
        match next {
            Next::Item(part) => {
                self.notify();
                forward_panic(stream, || stream.work(part));
                self.leave(index, After::Item);
                true
            }
            Next::Busy => {
                self.leave(index, After::Busy);
                false
            }
            Next::End => {
                self.leave(index, After::End);
                true
            }
        }
    }

    /// Wakes waiting threads, because a stream may have an item now.
    fn notify(&self) {
        self.lock().changes += 1;
        self.changed.notify_all();
    }

    /// Records that a thread is done with a stream for now. The last thread to leave a drained stream ends it.
    fn leave(&self, index: usize, after: After) {
        let mut state = self.lock();
        let Some(open) = state.open.iter_mut().find(|o| o.index == index) else { return };
        open.users -= 1;
        open.drained |= after == After::End;
        let ends = open.drained && open.users == 0;
        drop(state);
        if let (true, Some(stream)) = (ends, self.streams.get(index)) {
            forward_panic(stream, || stream.end());
            self.lock().open.retain(|o| o.index != index);
        }
        // Finding a stream busy gives no one work, and notifying would keep waiting threads awake.
        if ends || after != After::Busy {
            self.notify();
        }
    }
}

/// Runs a stream's code, and reports a panic to the stream.
fn forward_panic<S: Stream, T>(stream: &S, run: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(panic) => {
            #[expect(clippy::let_underscore_must_use, reason = "a panic in `panicked` itself is ignored")]
            let _ = catch_unwind(AssertUnwindSafe(|| stream.panicked(panics::text(panic.as_ref()))));
            None
        }
    }
}

/// Work that panicked, with the message of the panic.
#[derive(Debug, thiserror::Error)]
#[error("a worker panicked: {0}; this is a bug")]
pub(super) struct Panicked(pub String);

/// Runs `work` and returns its result, or the text of its panic.
///
/// # Errors
/// The panic's text.
pub(super) fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Panicked(panics::text(panic.as_ref())))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Its work waits in another pool, as work in polars does.
    struct Nesting {
        left: AtomicUsize,
        other: rayon::ThreadPool,
        deepest: AtomicUsize,
    }

    impl Stream for Nesting {
        type Item = ();

        fn next(&self) -> Next<()> {
            let left = self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            if left.is_ok() { Next::Item(()) } else { Next::End }
        }

        fn work(&self, (): ()) {
            thread_local!(static DEPTH: Cell<usize> = const { Cell::new(0) });
            let depth = DEPTH.with(|d| {
                d.set(d.get() + 1);
                d.get()
            });
            self.deepest.fetch_max(depth, Ordering::Relaxed);
            self.other.install(|| rayon::join(std::thread::yield_now, std::thread::yield_now));
            DEPTH.with(|d| d.set(d.get() - 1));
        }

        fn end(&self) {}

        fn panicked(&self, text: String) {
            panic!("{text}");
        }
    }

    #[test]
    fn parts_do_not_nest_when_a_worker_waits_in_another_pool() {
        let other = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let nesting = [Nesting { left: AtomicUsize::new(200), other, deepest: AtomicUsize::new(0) }];
        for_each_item(4, &nesting, &Stop::default()).unwrap();
        assert_eq!(nesting[0].deepest.load(Ordering::Relaxed), 1);
    }

    /// Yields the numbers below `parts`, and panics at the given ones.
    #[derive(Default)]
    struct Numbers {
        parts: usize,
        cut: Mutex<usize>,
        slow_cut: bool,
        panic_at: Option<usize>,
        panic_cutting_at: Option<usize>,
        worked: Mutex<Vec<usize>>,
        running: AtomicUsize,
        ends: AtomicUsize,
        panics: Mutex<Vec<String>>,
    }

    impl Numbers {
        fn of(parts: usize) -> Self {
            Self { parts, ..Self::default() }
        }

        fn worked(&self) -> Vec<usize> {
            let mut worked = self.worked.lock().unwrap().clone();
            worked.sort_unstable();
            worked
        }
    }

    impl Stream for Numbers {
        type Item = usize;

        fn next(&self) -> Next<usize> {
            let Ok(mut cut) = self.cut.try_lock() else { return Next::Busy };
            if self.slow_cut {
                std::thread::sleep(Duration::from_millis(2));
            }
            if *cut == self.parts {
                return Next::End;
            }
            let part = *cut;
            *cut += 1;
            drop(cut);
            assert!(self.panic_cutting_at != Some(part), "cutting {part}");
            Next::Item(part)
        }

        fn work(&self, part: usize) {
            assert_eq!(self.ends.load(Ordering::SeqCst), 0, "worked on after the end");
            self.running.fetch_add(1, Ordering::SeqCst);
            if part.is_multiple_of(7) {
                std::thread::yield_now();
            }
            let bad = self.panic_at == Some(part);
            if !bad {
                self.worked.lock().unwrap().push(part);
            }
            self.running.fetch_sub(1, Ordering::SeqCst);
            assert!(!bad, "working on {part}");
        }

        fn end(&self) {
            assert_eq!(self.running.load(Ordering::SeqCst), 0);
            self.ends.fetch_add(1, Ordering::SeqCst);
        }

        fn panicked(&self, text: String) {
            self.panics.lock().unwrap().push(text);
        }
    }

    #[test]
    fn every_part_is_worked_on_once_and_every_stream_ends_once_and_last() {
        for threads in [1, 2, 8] {
            for slow_cut in [false, true] {
                let streams: Vec<Numbers> =
                    [0, 1, 30, 0, 3, 100, 2].map(|parts| Numbers { slow_cut, ..Numbers::of(parts) }).into();
                for_each_item(threads, &streams, &Stop::default()).unwrap();
                for stream in &streams {
                    assert_eq!(stream.worked(), (0..stream.parts).collect::<Vec<_>>());
                    assert_eq!(stream.ends.load(Ordering::SeqCst), 1);
                    assert_eq!(*stream.panics.lock().unwrap(), Vec::<String>::new());
                }
            }
        }
        for_each_item::<Numbers>(2, &[], &Stop::default()).unwrap();
    }

    #[test]
    fn a_panic_in_an_item_is_reported_and_the_stream_continues_to_its_end() {
        let streams = [Numbers { panic_at: Some(3), ..Numbers::of(9) }, Numbers::of(4)];
        for_each_item(3, &streams, &Stop::default()).unwrap();
        assert_eq!(*streams[0].panics.lock().unwrap(), ["working on 3"]);
        assert_eq!(streams[0].worked(), [0, 1, 2, 4, 5, 6, 7, 8]);
        assert_eq!(streams[1].worked(), [0, 1, 2, 3]);
        assert!(streams.iter().all(|s| s.ends.load(Ordering::SeqCst) == 1));
    }

    #[test]
    fn a_panic_while_cutting_ends_the_stream() {
        let streams = [Numbers { panic_cutting_at: Some(3), ..Numbers::of(9) }, Numbers::of(4)];
        for_each_item(1, &streams, &Stop::default()).unwrap();
        assert_eq!(*streams[0].panics.lock().unwrap(), ["cutting 3"]);
        assert_eq!(streams[0].worked(), [0, 1, 2]);
        assert_eq!(streams[1].worked(), [0, 1, 2, 3]);
        assert!(streams.iter().all(|s| s.ends.load(Ordering::SeqCst) == 1));
    }

    /// Counts the streams that were asked and have not ended.
    struct Counted<'a> {
        numbers: Numbers,
        begun: AtomicUsize,
        open: &'a AtomicUsize,
        most: &'a AtomicUsize,
    }

    impl Stream for Counted<'_> {
        type Item = usize;

        fn next(&self) -> Next<usize> {
            if self.begun.fetch_add(1, Ordering::SeqCst) == 0 {
                let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(open, Ordering::SeqCst);
            }
            self.numbers.next()
        }

        fn work(&self, part: usize) {
            self.numbers.work(part);
        }

        fn end(&self) {
            self.open.fetch_sub(1, Ordering::SeqCst);
            self.numbers.end();
        }

        fn panicked(&self, text: String) {
            self.numbers.panicked(text);
        }
    }

    #[test]
    fn as_many_streams_are_open_as_there_are_threads_at_most() {
        let (open, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let counted = |_| Counted {
            numbers: Numbers { slow_cut: true, ..Numbers::of(3) },
            begun: AtomicUsize::new(0),
            open: &open,
            most: &most,
        };
        let streams: Vec<Counted<'_>> = (0..20).map(counted).collect();
        for_each_item(3, &streams, &Stop::default()).unwrap();
        assert!(streams.iter().all(|s| s.numbers.worked() == [0, 1, 2]));
        assert!((2..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    }

    #[test]
    fn a_stop_within_a_stream_takes_no_more_parts_and_ends_nothing() {
        struct Endless<'a>(&'a Stop, AtomicUsize);
        impl Stream for Endless<'_> {
            type Item = ();
            fn next(&self) -> Next<()> {
                Next::Item(())
            }
            fn work(&self, _part: ()) {
                self.1.fetch_add(1, Ordering::SeqCst);
                self.0.set(crate::stop::Signal::Terminate);
            }
            fn end(&self) {
                unreachable!();
            }
            fn panicked(&self, text: String) {
                unreachable!("{text}");
            }
        }
        let stop = Stop::default();
        let streams = [Endless(&stop, AtomicUsize::new(0))];
        for_each_item(2, &streams, &stop).unwrap();
        assert!((1..=2).contains(&streams[0].1.load(Ordering::SeqCst)));
    }
}
