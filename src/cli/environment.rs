//! Probes the environment once and passes it to the library: clock, variables, folders, processors.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;

use super::Console;
use super::args::{ResourceArgs, SpecArgs};
use crate::resolve::Environment;
use crate::run::memory::Memory;
use crate::run::{GitState, Later, RunOptions};
use crate::stop::Stop;
use crate::store::{Location, LocationError, StoreOptions};

/// The environment of this process and command line.
///
/// # Errors
/// A message for users: the current folder cannot be determined, or `--output` is not a location.
pub(super) fn environment(args: &SpecArgs) -> Result<Environment, String> {
    let current_dir = std::env::current_dir()
        .map_err(|e| format!("cannot determine the current folder: {e}; change to one that exists"))?;
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

/// The environment variables of this process. Specs name variables in UTF-8, so others are left out.
pub(super) fn variables() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// A location as given on a command line.
///
/// # Errors
/// [`LocationError`].
pub(super) fn location(text: &str, current_dir: &Path) -> Result<Location, LocationError> {
    Ok(match Location::parse(text, &StoreOptions::default())? {
        Location::Local(path) => Location::Local(current_dir.join(path)),
        object => object,
    })
}

/// Width of stderr's terminal in columns, if it is a terminal.
#[cfg(unix)]
pub(super) fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Other platforms have no way to ask.
#[cfg(not(unix))]
pub fn terminal_columns() -> Option<usize> {
    None
}

/// As [`environment`], and prints the error.
pub(super) fn environment_or_complain(args: &SpecArgs, console: &Console) -> Option<Environment> {
    environment(args).map_err(|why| console.error(&format!("error: {why}"))).ok()
}

/// Number of worker threads.
pub(super) fn threads(args: &ResourceArgs) -> usize {
    args.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get), usize::from)
}

/// Number of threads that commit partitions, in addition to those that encode.
const COMMITTERS: usize = 8;

/// Default options of a run: no repair, no replacement, progress shown nowhere.
pub(super) fn run_options(spec: &Path, resources: &ResourceArgs, environment: &Environment, stop: Stop) -> RunOptions {
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
        // Keys come from the process that runs the job; a job record contains none.
        env: Arc::new(variables()),
        spec_path: spec.display().to_string(),
        git: Arc::new(LazyLock::new(Box::new(|| None))),
        supersedes: None,
    }
}

/// A unique run id: start time, process id and a random number.
pub(super) fn run_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    // Processes in containers often share a process id, hence the random number.
    let random = RandomState::new().hash_one(0) & 0xffff_ffff;
    format!("{}-{:x}-{random:08x}", Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ"), std::process::id())
}

/// Git state of a spec, read on another thread.
pub(super) fn git_state(spec: &Path) -> Arc<Later<Option<GitState>>> {
    let spec = spec.to_owned();
    let state: Arc<Later<Option<GitState>>> = Arc::new(LazyLock::new(Box::new(move || find_git_state(&spec))));
    let found = state.clone();
    #[expect(clippy::let_underscore_must_use, reason = "without the thread, the state is read on first use")]
    let _ = std::thread::Builder::new().name("git".to_owned()).spawn(move || {
        LazyLock::force(&found);
    });
    state
}

/// Git state of a spec; `None` outside a repository or without git. Safe in an untrusted repository: git refuses one
/// with another owner, and these commands run neither its hooks nor its file system monitor.
pub(super) fn find_git_state(spec: &Path) -> Option<GitState> {
    let folder = spec.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["--no-optional-locks", "-c", "core.fsmonitor=false", "-C"]).arg(folder).args(args);
        let output = command.arg("--").arg(spec.file_name()?).output().ok()?;
        output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
    };
    let dirty = !git(&["status", "--porcelain", "--ignored"])?.trim().is_empty();
    // A new repository has no commit.
    let commit = git(&["log", "-1", "--format=%H"]).map(|commit| commit.trim().to_owned());
    Some(GitState { commit: commit.filter(|commit| !commit.is_empty()), dirty })
}
