//! `jobs prune`: what retention and dead runs leave to delete.

use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;

use super::{Trouble, existing};
use crate::cli::Talk;
use crate::cli::args::JobsPruneArgs;
use crate::diagnostic::{escaped, shown};
use crate::error::Exit;
use crate::jobs;

/// Prunes, or shows what would go.
pub(super) fn prune(args: &JobsPruneArgs, talk: &Talk) -> Result<Exit, Trouble> {
    let store = existing(&args.store)?;
    let now = args.now.unwrap_or_else(Timestamp::now);
    let pruned = jobs::prune(&store, now, !args.yes)?;
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
    if pruned.expired.is_empty() && pruned.uploads.is_empty() {
        talk.say("nothing to prune");
    } else if !args.yes {
        talk.say("nothing was changed; `--yes` does it");
    }
    if talk.json {
        talk.print_json(&serde_json::json!({
            "version": 1, "done": args.yes, "expired": pruned.expired, "uploads": pruned.uploads,
        }));
    }
    Ok(Exit::Complete)
}
