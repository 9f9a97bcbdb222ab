//! Heartbeats of runs, for display only: no commit and no decision about a package depends on them.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::diagnostic::render_text;
use crate::error::{ErrorCode, Exit};
use crate::progress::Progress;
use crate::run::{RunError, RunOutcome};
use crate::stop::Stop;
use crate::store::Folder;

/// Interval between heartbeats.
const BEAT: Duration = Duration::from_secs(10);

/// A run without a heartbeat for this long counts as dead: four intervals, and time for a slow store.
pub(crate) const ABANDONED_AFTER: Duration = Duration::from_secs(45);

/// How often a run checks whether its job was cancelled.
const LOOK: Duration = Duration::from_secs(2);

/// `jobs/<id>/runs/<run>.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RunState {
    pub(super) run_id: String,
    pub(super) host: String,
    pub(super) process: u32,
    pub(super) started_at: Timestamp,
    pub(super) beat_at: Timestamp,
    pub(super) progress: Counts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<RunEnd>,
}

/// Progress of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Rows read.
    pub read_rows: u64,
    /// Rows written.
    pub written_rows: u64,
    /// Encoded bytes read.
    pub read_bytes: u64,
    /// Encoded bytes to read.
    pub planned_bytes: u64,
    /// Partitions committed.
    pub committed_partitions: u64,
    /// Partitions in total.
    pub partitions: u64,
    /// Partitions that failed.
    pub failed_partitions: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RunEnd {
    /// With a manifest.
    Ended,
    /// With an error.
    Failed {
        /// Exit code of the process.
        exit_code: u8,
        /// Machine-readable code.
        error_code: Option<ErrorCode>,
        /// Message for users.
        error: String,
    },
    /// With an error that a later run may not have.
    Later {
        /// Machine-readable code.
        error_code: Option<ErrorCode>,
        /// Message for users.
        error: String,
    },
    /// By a signal.
    Stopped,
}

impl RunState {
    fn begun(run_id: &str, process: u32) -> Self {
        Self {
            run_id: run_id.to_owned(),
            host: sysinfo::System::host_name().unwrap_or_default(),
            process,
            started_at: Timestamp::now(),
            ..Self::default()
        }
    }
}

fn name_of(run_id: &str) -> String {
    format!("runs/{run_id}.json")
}

impl RunEnd {
    /// The end of a run with this result.
    pub(crate) fn of(ran: &Result<RunOutcome, RunError>) -> Self {
        let error = match ran {
            Ok(_) => return Self::Ended,
            Err(error) => error,
        };
        let text = match error {
            RunError::Spec(mistakes) => render_text(mistakes, false),
            error => crate::failure::chain(error),
        };
        match error.exit() {
            Exit::Interrupted | Exit::Terminated => Self::Stopped,
            Exit::TryLater => Self::Later { error_code: error.code(), error: text },
            exit => Self::Failed { exit_code: exit.code(), error_code: error.code(), error: text },
        }
    }
}

/// Writes a first heartbeat on behalf of a process that is being started, so that it is noticed if the process dies before
/// its own first heartbeat.
pub(crate) fn announce(job: &Folder, run_id: &str) {
    write_state(job, &name_of(run_id), &mut RunState::begun(run_id, 0), &Progress::default());
}

/// Writes heartbeats until it is ended or dropped.
pub(crate) struct Heartbeat {
    end: Option<Sender<RunEnd>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts writing heartbeats into the job's folder and checking whether the job was cancelled. Store errors are logged
    /// and do not affect the run.
    pub(crate) fn start(job: Folder, run_id: &str, progress: Arc<Progress>, stop: Stop) -> Self {
        let mut state = RunState::begun(run_id, std::process::id());
        let name = name_of(run_id);
        let (end, ended) = channel();
        // Before the work begins, so that the job is immediately shown as running.
        write_state(&job, &name, &mut state, &progress);
        let beat = move || {
            let mut silent = Duration::ZERO;
            loop {
                match ended.recv_timeout(LOOK) {
                    Ok(end) => {
                        state.end = Some(end);
                        write_state(&job, &name, &mut state, &progress);
                        return;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                if matches!(job.size(super::record::CANCEL), Ok(Some(_))) {
                    stop.cancel();
                }
                silent += LOOK;
                if silent >= BEAT {
                    silent = Duration::ZERO;
                    write_state(&job, &name, &mut state, &progress);
                }
            }
        };
        // If the thread cannot start, there are no heartbeats; the run does not depend on them.
        let thread = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(beat).ok();
        Self { end: Some(end), thread }
    }

    /// Records how the run ended.
    pub(crate) fn end(mut self, how: RunEnd) {
        if let Some(end) = self.end.take() {
            #[expect(clippy::let_underscore_must_use, reason = "a run does not depend on its heartbeats")]
            let _ = end.send(how);
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            #[expect(clippy::let_underscore_must_use, reason = "a run does not depend on its heartbeats")]
            let _ = thread.join();
        }
    }
}

fn write_state(job: &Folder, name: &str, state: &mut RunState, progress: &Progress) {
    state.beat_at = Timestamp::now();
    state.progress = Counts {
        read_rows: Progress::get(&progress.read_rows),
        written_rows: Progress::get(&progress.written_rows),
        read_bytes: Progress::get(&progress.read_bytes),
        planned_bytes: Progress::get(&progress.planned_bytes),
        committed_partitions: Progress::get(&progress.committed_partitions),
        partitions: Progress::get(&progress.partitions),
        failed_partitions: Progress::get(&progress.failed_partitions),
    };
    let written = serde_json::to_vec_pretty(state).map_err(|e| e.to_string());
    let written = written.and_then(|bytes| job.replace_bytes(name, &bytes).map_err(|e| e.to_string()));
    if let Err(error) = written {
        tracing::warn!("cannot record the run's progress in the job store: {error}");
    }
}
