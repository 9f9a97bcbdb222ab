//! A fixed number of threads that take tasks from one queue.
//!
//! The pool runs one long closure on each thread (`broadcast`) and never a second one. A worker that waits
//! inside polars' own pool therefore finds nothing of ours to steal while it waits, so tasks cannot nest:
//! memory stays bounded by the number of threads, and no task ever runs on top of another one's stack.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::stop::Stop;

/// Runs `work` on every item, largest first as given, on `threads` threads. Stops taking items when `stop` is set.
///
/// A panic in `work` is handed to `panicked` with the item's index and the panic's text, and the thread goes on
/// with the next item.
///
/// # Errors
/// The pool's, where the operating system gives no threads.
pub fn for_each<T, W, P>(
    threads: usize,
    items: &[T],
    stop: &Stop,
    work: W,
    panicked: P,
) -> Result<(), rayon::ThreadPoolBuildError>
where
    T: Sync,
    W: Fn(&T) + Sync,
    P: Fn(&T, String) + Sync,
{
    let threads = threads.clamp(1, items.len().max(1));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("worker-{i}")).build()?;
    let next = AtomicUsize::new(0);
    pool.broadcast(|_| {
        while !stop.is_set() {
            let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(item))) {
                panicked(item, panic_text(panic.as_ref()));
            }
        }
    });
    Ok(())
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::Mutex;

    #[test]
    fn every_item_is_worked_on_once_by_any_number_of_threads() {
        for threads in [1, 2, 8] {
            let items: Vec<usize> = (0..100).collect();
            let seen = Mutex::new(Vec::new());
            for_each(threads, &items, &Stop::default(), |i| seen.lock().unwrap().push(*i), |_, _| unreachable!())
                .unwrap();
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, items);
        }
    }

    #[test]
    fn a_panic_is_told_and_the_other_items_go_on() {
        let done = AtomicUsize::new(0);
        let panics = Mutex::new(Vec::new());
        for_each(
            2,
            &[1, 2, 3, 4],
            &Stop::default(),
            |i| {
                assert!(*i != 2, "two is bad");
                done.fetch_add(1, Ordering::Relaxed);
            },
            |i, text| panics.lock().unwrap().push((*i, text)),
        )
        .unwrap();
        assert_eq!(done.into_inner(), 3);
        assert_eq!(panics.into_inner().unwrap(), [(2, "two is bad".to_owned())]);
    }

    #[test]
    fn items_do_not_nest_when_a_worker_waits_in_another_pool() {
        thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });
        let other = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let items: Vec<u32> = (0..200).collect();
        let deepest = AtomicUsize::new(0);
        for_each(
            4,
            &items,
            &Stop::default(),
            |_| {
                let depth = DEPTH.with(|d| {
                    d.set(d.get() + 1);
                    d.get()
                });
                deepest.fetch_max(depth as usize, Ordering::Relaxed);
                other.install(|| rayon::join(std::thread::yield_now, std::thread::yield_now));
                DEPTH.with(|d| d.set(d.get() - 1));
            },
            |_, text| panic!("{text}"),
        )
        .unwrap();
        assert_eq!(deepest.into_inner(), 1);
    }

    #[test]
    fn a_set_stop_takes_no_new_items() {
        let stop = Stop::default();
        stop.set(super::super::stop::Signal::Terminate);
        let done = AtomicUsize::new(0);
        for_each(
            2,
            &[1, 2, 3],
            &stop,
            |_| {
                done.fetch_add(1, Ordering::Relaxed);
            },
            |_, _| (),
        )
        .unwrap();
        assert_eq!(done.into_inner(), 0);
    }
}
