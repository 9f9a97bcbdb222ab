//! `jobs download`: a job's rows as one file, its shards as a package, or links to them.

use jiff::Timestamp;

use super::{Trouble, existing, no_job, record_of};
use crate::cli::Talk;
use crate::cli::args::JobsDownloadArgs;
use crate::error::Exit;

/// Downloads.
pub(super) fn download(args: &JobsDownloadArgs, talk: &Talk) -> Result<Exit, Trouble> {
    let jobs = existing(&args.store)?;
    let record = record_of(&jobs, &args.id)?;
    let now = Timestamp::now();
    let Some(view) = jobs.view(&args.id, now)? else { return Err(no_job(&jobs, &args.id)) };
    let package = jobs.package(&record)?;
    let (Some(package), Some(manifest)) = (package, jobs.manifest(&args.id)?) else {
        let why = format!(
            "{} is {} and has no package yet; `jobs get --id {} --watch` waits for it",
            view.id, view.status, view.id
        );
        return Err(Trouble { exit: super::exit_of(&view), why });
    };
    if args.url {
        return links(args, &package, &manifest, talk);
    }
    let _ = (package, manifest, talk);
    Err(Trouble::usage("rows are not joined yet: `--url` prints links to the shards"))
}

/// Prints a link to each shard.
fn links(
    args: &JobsDownloadArgs,
    package: &crate::store::Folder,
    manifest: &crate::manifest::Manifest,
    talk: &Talk,
) -> Result<Exit, Trouble> {
    let mut links = Vec::new();
    let mut limited = None;
    for (path, sha256) in manifest.digests() {
        let link = package.presign(path, args.expires)?;
        limited = limited.or(link.limited_by);
        links.push(serde_json::json!({
            "path": path, "sha256": sha256, "url": link.url.as_str(), "expires_at": link.expires_at,
        }));
        if !talk.json {
            crate::cli::print(link.url.as_str());
        }
    }
    if let Some(why) = limited {
        talk.say(&format!("the links end sooner than asked for: {why}"));
    }
    let until = links.first().and_then(|link| link["expires_at"].as_str());
    talk.say(&until.map_or("the links have no end".to_owned(), |until| format!("the links work until {until}")));
    if talk.json {
        talk.print_json(&serde_json::json!({"version": 1, "links": links}));
    }
    Ok(Exit::Complete)
}
