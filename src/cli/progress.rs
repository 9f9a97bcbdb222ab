//! Draws a run's [`Progress`]: a bar on a terminal, a plain line every few seconds elsewhere.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::Progress;

/// Smooth to look at, at negligible cost.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// Keeps the log of a nightly run short.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A bar that redraws itself.
    Bar,
    /// Lines.
    Lines,
    /// Nothing.
    Hidden,
}

/// Draws progress until dropped.
pub(super) struct Drawing {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drawing {
    /// Starts drawing `progress` of the spec called `name` to stderr.
    pub(super) fn start(style: Style, name: &str, progress: Arc<Progress>) -> Self {
        let (end, ended) = channel();
        let interval = match style {
            Style::Hidden => return Self { end: None, thread: None },
            Style::Bar => BAR_INTERVAL,
            Style::Lines => LINE_INTERVAL,
        };
        let name = name.to_owned();
        let draw = move || {
            let bar = match style {
                Style::Bar => Some(new_bar(&name)),
                Style::Lines | Style::Hidden => None,
            };
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                match &bar {
                    Some(bar) => update(bar, &progress),
                    None => anstream::eprintln!("{name}: {}", line(&progress)),
                }
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        };
        // If no thread can be started, the run continues without progress.
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(draw).ok();
        Self { end: Some(end), thread }
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            #[expect(
                clippy::let_underscore_must_use,
                reason = "a panic while drawing must not change the outcome of a run"
            )]
            let _ = thread.join();
        }
    }
}

fn new_bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("━╸─"));
    bar.set_prefix(name.to_owned());
    bar
}

fn update(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(Progress::get(&progress.planned_bytes));
    bar.set_position(Progress::get(&progress.read_bytes));
    bar.set_message(state(progress));
}

/// Rows and partitions.
fn state(progress: &Progress) -> String {
    let failed = match Progress::get(&progress.failed_partitions) {
        0 => String::new(),
        n => format!(", {} failed", HumanCount(n)),
    };
    format!(
        "{} rows in, {} out, {}/{} partitions{failed}",
        HumanCount(Progress::get(&progress.read_rows)),
        HumanCount(Progress::get(&progress.written_rows)),
        HumanCount(Progress::get(&progress.committed_partitions)),
        HumanCount(Progress::get(&progress.partitions)),
    )
}

/// One line of a log.
fn line(progress: &Progress) -> String {
    match Progress::get(&progress.planned_bytes) {
        0 => format!(
            "inspecting, {}/{} files",
            HumanCount(Progress::get(&progress.inspected_files)),
            HumanCount(Progress::get(&progress.listed_files))
        ),
        planned => format!(
            "{} of {} read, {}",
            HumanBytes(Progress::get(&progress.read_bytes)),
            HumanBytes(planned),
            state(progress)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_line_shows_bytes_rows_and_partitions() {
        let progress = Progress::default();
        progress.listed_files.store(12, Ordering::Relaxed);
        progress.inspected_files.store(3, Ordering::Relaxed);
        assert_eq!(line(&progress), "inspecting, 3/12 files");
        progress.planned_bytes.store(2048, Ordering::Relaxed);
        progress.read_bytes.store(1024, Ordering::Relaxed);
        progress.read_rows.store(12_345, Ordering::Relaxed);
        progress.written_rows.store(12_000, Ordering::Relaxed);
        progress.partitions.store(31, Ordering::Relaxed);
        progress.committed_partitions.store(4, Ordering::Relaxed);
        assert_eq!(line(&progress), "1.00 KiB of 2.00 KiB read, 12,345 rows in, 12,000 out, 4/31 partitions");
        progress.failed_partitions.store(1, Ordering::Relaxed);
        assert_eq!(line(&progress), "1.00 KiB of 2.00 KiB read, 12,345 rows in, 12,000 out, 4/31 partitions, 1 failed");
    }
}
