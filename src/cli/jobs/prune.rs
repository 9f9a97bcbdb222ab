//! `jobs prune`: deletes expired shards and the remains of dead runs.

use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;

use super::{CommandError, existing, warn_skipped};
use crate::cli::Console;
use crate::cli::args::JobsPruneArgs;
use crate::cli::environment::variables;
use crate::diagnostic::shown;
use crate::error::Exit;
use crate::jobs::{self, Prune};

/// Prunes, or lists what would be deleted.
pub(super) fn prune(args: &JobsPruneArgs, console: &Console) -> Result<Exit, CommandError> {
    let store = existing(&args.store)?;
    let now = Timestamp::now();
    if let Some(until) = args.now.filter(|until| args.yes && *until > now) {
        return Err(CommandError::usage(format!(
            "--now {until} is in the future, and prune never shortens retention: leave out --yes to see what would be \
             deleted then, or leave out --now to delete what has expired"
        )));
    }
    let how = Prune { until: args.now.unwrap_or(now), now, env: &variables(), is_dry: !args.yes };
    let pruned = jobs::prune(&store, &how)?;
    warn_skipped(&pruned.passed_over, console);
    let verb = if args.yes { "deleted" } else { "would delete" };
    for job in &pruned.expired {
        console.info(&format!(
            "{} {} expired {}: {verb} {} shards, {}",
            job.id,
            shown(&job.name),
            job.expires_at,
            HumanCount(job.files as u64),
            HumanBytes(job.bytes)
        ));
        for (name, why) in &job.kept {
            console.info(&format!("  kept {name}: {why}"));
        }
    }
    for (id, name) in &pruned.uploads {
        let verb = if args.yes { "aborted" } else { "would abort" };
        console.info(&format!("{id} {verb} the unfinished upload of {name}"));
    }
    for job in &pruned.refused {
        console.error(&format!("error: {} is not pruned: {}", job.id, job.why));
    }
    if pruned.expired.is_empty() && pruned.uploads.is_empty() && pruned.refused.is_empty() {
        console.info("nothing to prune");
    } else if !args.yes {
        console.info("nothing was deleted; use `--yes` to delete");
    }
    if console.json {
        console.print_json(&serde_json::json!({
            "version": 1, "done": args.yes, "expired": pruned.expired, "uploads": pruned.uploads,
            "refused": pruned.refused, "passed_over": pruned.passed_over, "exit_code": pruned.exit().code(),
        }));
    }
    Ok(pruned.exit())
}
