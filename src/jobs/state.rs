//! The state of a job, derived from the files in the store.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::heartbeat::{ABANDONED_AFTER, RunEnd, RunState};
use crate::package::manifest::JobStatus;

/// The states of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = Status)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// No run has started, or the job waits for another run.
    Queued,
    /// A run is in progress.
    Running,
    /// Every partition is complete.
    Complete,
    /// Some partitions failed, or rows were rejected.
    Partial,
    /// No partition is usable, or the run as a whole failed.
    Failed,
    /// A user cancelled it.
    Cancelled,
    /// Its last run has stopped sending heartbeats.
    Abandoned,
    /// Its shards were deleted after its retention period.
    Expired,
}

impl State {
    /// All states.
    pub(crate) const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Complete,
        Self::Partial,
        Self::Failed,
        Self::Cancelled,
        Self::Abandoned,
        Self::Expired,
    ];

    /// The name in JSON and on the terminal.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
            Self::Expired => "expired",
        }
    }

    /// Whether the state stays the same until a user acts.
    pub(crate) fn is_settled(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether a worker may take it up.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Abandoned)
    }

    /// Derives the state from the manifest's status, the presence of a tombstone and of `cancel.json`, and all runs.
    pub(super) fn derive(
        manifest: Option<JobStatus>,
        has_tombstone: bool,
        is_cancelled: bool,
        runs: &[RunState],
        now: Timestamp,
    ) -> Self {
        if manifest == Some(JobStatus::Complete) {
            return if has_tombstone { Self::Expired } else { Self::Complete };
        }
        if runs.iter().any(|run| run.end.is_none() && is_fresh(run, now)) {
            return Self::Running;
        }
        match manifest {
            Some(_) if has_tombstone => return Self::Expired,
            Some(JobStatus::Partial) => return Self::Partial,
            Some(JobStatus::Failed) => return Self::Failed,
            Some(JobStatus::Cancelled) => return Self::Cancelled,
            Some(JobStatus::Complete) | None => {}
        }
        if is_cancelled {
            return Self::Cancelled;
        }
        match runs.iter().max_by_key(|run| run.started_at).map(|run| &run.end) {
            None | Some(Some(RunEnd::Later { .. } | RunEnd::Stopped)) => Self::Queued,
            Some(None) => Self::Abandoned,
            Some(Some(RunEnd::Failed { .. } | RunEnd::Ended)) => Self::Failed,
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether a run's last heartbeat is recent. A remote clock that is ahead only makes a run look fresher.
fn is_fresh(run: &RunState, now: Timestamp) -> bool {
    now.duration_since(run.beat_at) <= SignedDuration::try_from(ABANDONED_AFTER).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(started: i64, beat: i64, end: Option<RunEnd>) -> RunState {
        let at = |s| Timestamp::from_second(s).unwrap();
        RunState { started_at: at(started), beat_at: at(beat), end, ..RunState::default() }
    }

    #[test]
    fn the_package_decides_and_the_rest_informs() {
        let now = Timestamp::from_second(1000).unwrap();
        let state = |manifest, cancelled, runs: Vec<RunState>| State::derive(manifest, false, cancelled, &runs, now);
        let (alive, dead) = (run(900, 990, None), run(900, 940, None));
        let failed = Some(RunEnd::Failed { exit_code: 4, error_code: None, error: String::new() });
        let later = Some(RunEnd::Later { error_code: None, error: String::new() });
        assert_eq!(state(None, false, vec![]), State::Queued);
        assert_eq!(state(None, false, vec![alive.clone()]), State::Running);
        assert_eq!(state(None, false, vec![dead.clone()]), State::Abandoned);
        assert_eq!(state(None, false, vec![dead.clone(), alive.clone()]), State::Running);
        assert_eq!(state(None, false, vec![run(950, 960, failed.clone()), dead.clone()]), State::Failed);
        assert_eq!(state(None, false, vec![run(950, 960, later)]), State::Queued);
        assert_eq!(state(None, false, vec![run(950, 960, Some(RunEnd::Stopped))]), State::Queued);
        assert_eq!(state(None, true, vec![]), State::Cancelled);
        assert_eq!(state(None, true, vec![alive.clone()]), State::Running);
        assert_eq!(state(Some(JobStatus::Partial), false, vec![alive.clone()]), State::Running);
        assert_eq!(state(Some(JobStatus::Partial), false, vec![dead.clone()]), State::Partial);
        assert_eq!(state(Some(JobStatus::Cancelled), true, vec![dead]), State::Cancelled);
        assert_eq!(state(Some(JobStatus::Complete), true, vec![alive]), State::Complete);
        assert_eq!(State::derive(Some(JobStatus::Complete), true, false, &[], now), State::Expired);
    }

    #[test]
    fn words_are_those_of_json() {
        for state in State::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
    }
}
