//! What the library is told of the world: clock, variables, folders, processors. Looked at once.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;

use super::Talk;
use super::args::{ResourceArgs, SpecArgs};
use crate::resolve::Environment;
use crate::run::memory::Memory;
use crate::run::stop::Stop;
use crate::run::{Later, RunOptions};
use crate::store::{Location, LocationError, StoreOptions};

/// The environment of this process and command line.
///
/// # Errors
/// A sentence for people: the current folder cannot be told, or the output is not on this machine.
pub fn environment(args: &SpecArgs) -> Result<Environment, String> {
    let current_dir = std::env::current_dir()
        .map_err(|e| format!("the current folder cannot be found: {e}; change to one that exists"))?;
    let output_base = location(args.output.as_deref().unwrap_or_default(), &current_dir);
    let output_base = output_base.map_err(|error| format!("--output: {error}"))?;
    Ok(Environment {
        now: args.now.unwrap_or_else(Timestamp::now),
        vars: args.vars.iter().cloned().collect(),
        env: variables(),
        current_dir,
        output_base,
    })
}

/// The variables of this process. One that is not UTF-8 cannot be meant by a spec, which names variables in UTF-8.
pub fn variables() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// A place as named on a command line.
///
/// # Errors
/// [`LocationError`].
pub fn location(text: &str, current_dir: &Path) -> Result<Location, LocationError> {
    Ok(match Location::parse(text, &StoreOptions::default())? {
        Location::Local(path) => Location::Local(current_dir.join(path)),
        object => object,
    })
}

/// As [`environment`], and complains.
pub fn environment_or_complain(args: &SpecArgs, talk: &Talk) -> Option<Environment> {
    environment(args).map_err(|why| talk.complain(&format!("error: {why}"))).ok()
}

/// Worker threads.
fn threads(args: &ResourceArgs) -> usize {
    args.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get), usize::from)
}

/// How to run a spec: nothing repaired, nothing replaced, all told to nobody.
pub fn run_options(spec: &Path, resources: &ResourceArgs, environment: &Environment, stop: Stop) -> RunOptions {
    RunOptions {
        run_id: run_id(),
        threads: threads(resources),
        memory: resources.memory.unwrap_or_else(Memory::of_machine),
        repair: false,
        replace: None,
        now: environment.now,
        clock: Arc::new(Timestamp::now),
        stop,
        progress: Arc::default(),
        env: Arc::new(environment.env.clone()),
        spec_path: spec.display().to_string(),
        git_commit: Arc::new(LazyLock::new(Box::new(|| None))),
    }
}

/// Names a run: when it started and which process it was, so that two runs never share a name.
pub fn run_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    // Containers have all the same process number, so there is something random as well.
    let random = RandomState::new().hash_one(0) & 0xffff_ffff;
    format!("{}-{:x}-{random:08x}", Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ"), std::process::id())
}

/// The commit that a spec was read at, looked for while other things go on.
pub fn git_commit(spec: &Path) -> Arc<Later<Option<String>>> {
    let spec = spec.to_owned();
    let commit: Arc<Later<Option<String>>> = Arc::new(LazyLock::new(Box::new(move || find_git_commit(&spec))));
    let found = commit.clone();
    // Where no thread can be had it is looked for when it is needed.
    let _ = std::thread::Builder::new().name("git".to_owned()).spawn(move || {
        LazyLock::force(&found);
    });
    commit
}

/// The commit that a spec was read at: only if it is in git and unchanged since. Without git there is none to tell.
pub fn find_git_commit(spec: &Path) -> Option<String> {
    let folder = spec.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(args).arg(spec.file_name()?).output().ok()?;
        output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
    };
    let clean = git(&["status", "--porcelain", "--ignored", "--"])?.trim().is_empty();
    let commit = git(&["log", "-1", "--format=%H", "--"])?.trim().to_owned();
    (clean && !commit.is_empty()).then_some(commit)
}
