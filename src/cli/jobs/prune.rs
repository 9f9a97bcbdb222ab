//! `jobs prune`: what retention and dead runs leave to delete.

use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;

use super::{Trouble, existing, tell_passed_over};
use crate::cli::Talk;
use crate::cli::args::JobsPruneArgs;
use crate::cli::environment::variables;
use crate::diagnostic::{escaped, shown};
use crate::error::Exit;
use crate::jobs::{self, Prune};

/// Prunes, or shows what would go.
pub(super) fn prune(args: &JobsPruneArgs, talk: &Talk) -> Result<Exit, Trouble> {
    let store = existing(&args.store)?;
    let now = Timestamp::now();
    if let Some(until) = args.now.filter(|until| args.yes && *until > now) {
        return Err(Trouble::usage(format!(
            "--now {until} is in the future, and retention that is not over is not cut short: leave out --yes to see what \
             would be deleted then, or --now to delete what has expired"
        )));
    }
    let how = Prune { until: args.now.unwrap_or(now), now, env: &variables(), is_dry: !args.yes };
    let pruned = jobs::prune(&store, &how)?;
    tell_passed_over(&pruned.passed_over, talk);
    let verb = if args.yes { "deleted" } else { "would delete" };
    for job in &pruned.expired {
        talk.say(&format!(
            "{} {} expired {}: {verb} {} shards, {}",
            job.id,
            shown(&job.name),
            job.expires_at,
            HumanCount(job.files as u64),
            HumanBytes(job.bytes)
        ));
        for (name, why) in &job.kept {
            talk.say(&format!("  kept {}: {}", escaped(name), escaped(why)));
        }
    }
    for (id, name) in &pruned.uploads {
        let verb = if args.yes { "aborted" } else { "would abort" };
        talk.say(&format!("{id} {verb} the unfinished upload of {}", escaped(name)));
    }
    for job in &pruned.refused {
        talk.complain(&format!("error: {} is not pruned: {}", job.id, escaped(&job.why)));
    }
    if pruned.expired.is_empty() && pruned.uploads.is_empty() && pruned.refused.is_empty() {
        talk.say("nothing to prune");
    } else if !args.yes {
        talk.say("nothing was changed; `--yes` does it");
    }
    if talk.json {
        talk.print_json(&serde_json::json!({
            "version": 1, "done": args.yes, "expired": pruned.expired, "uploads": pruned.uploads,
            "refused": pruned.refused, "passed_over": pruned.passed_over, "exit_code": pruned.exit().code(),
        }));
    }
    Ok(pruned.exit())
}
