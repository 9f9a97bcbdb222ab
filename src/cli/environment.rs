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
use crate::run::{GitState, Later, RunOptions};
use crate::stop::Stop;
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

/// Columns of the terminal that people read on, if it is one.
#[cfg(unix)]
pub fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Elsewhere nobody is asked.
#[cfg(not(unix))]
pub fn terminal_columns() -> Option<usize> {
    None
}

/// As [`environment`], and complains.
pub fn environment_or_complain(args: &SpecArgs, talk: &Talk) -> Option<Environment> {
    environment(args).map_err(|why| talk.complain(&format!("error: {why}"))).ok()
}

/// Worker threads.
fn threads(args: &ResourceArgs) -> usize {
    args.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get), usize::from)
}

/// Threads that make partitions durable, side by side with those that encode.
const COMMITTERS: usize = 8;

/// How to run a spec: nothing repaired, nothing replaced, all told to nobody.
pub fn run_options(spec: &Path, resources: &ResourceArgs, environment: &Environment, stop: Stop) -> RunOptions {
    RunOptions {
        run_id: run_id(),
        threads: threads(resources),
        committers: COMMITTERS,
        memory: resources.memory.unwrap_or_else(Memory::of_machine),
        repair: false,
        replace: None,
        now: environment.now,
        clock: Arc::new(Timestamp::now),
        stop,
        progress: Arc::default(),
        // Those of the process that runs: what a job was asked for with says nothing of keys.
        env: Arc::new(variables()),
        spec_path: spec.display().to_string(),
        git: Arc::new(LazyLock::new(Box::new(|| None))),
        supersedes: None,
    }
}

/// Names a run: when it started and which process it was, so that two runs never share a name.
pub fn run_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    // Containers have all the same process number, so there is something random as well.
    let random = RandomState::new().hash_one(0) & 0xffff_ffff;
    format!("{}-{:x}-{random:08x}", Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ"), std::process::id())
}

/// What git knows of a spec, looked for while other things go on.
pub fn git_state(spec: &Path) -> Arc<Later<Option<GitState>>> {
    let spec = spec.to_owned();
    let state: Arc<Later<Option<GitState>>> = Arc::new(LazyLock::new(Box::new(move || find_git_state(&spec))));
    let found = state.clone();
    // Where no thread can be had it is looked for when it is needed.
    let _ = std::thread::Builder::new().name("git".to_owned()).spawn(move || {
        LazyLock::force(&found);
    });
    state
}

/// What git knows of a spec: nothing where it is in no repository, or there is no git.
///
/// Somebody else's repository is only read: git refuses it unless its owner is trusted, and runs none of its hooks or
/// monitors for these commands.
pub fn find_git_state(spec: &Path) -> Option<GitState> {
    let folder = spec.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["--no-optional-locks", "-c", "core.fsmonitor=false", "-C"]).arg(folder).args(args);
        let output = command.arg("--").arg(spec.file_name()?).output().ok()?;
        output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
    };
    let dirty = !git(&["status", "--porcelain", "--ignored"])?.trim().is_empty();
    // A repository without any commit has none to show.
    let commit = git(&["log", "-1", "--format=%H"]).map(|commit| commit.trim().to_owned());
    Some(GitState { commit: commit.filter(|commit| !commit.is_empty()), dirty })
}
