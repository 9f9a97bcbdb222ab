//! `jobs create`: records a job and starts a background worker for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::get::follow;
use super::{CommandError, store_location};
use crate::cli::Console;
use crate::cli::args::{JobsCreateArgs, ResourceArgs, SpecArgs};
use crate::cli::environment::{environment, find_git_state, run_id};
use crate::diagnostic::{Diagnostic, SourceText, render_text, shown};
use crate::error::Exit;
use crate::jobs::{JobRequest, JobView, Jobs, Request, State, TimeSpan, Which, announce};
use crate::resolve::{CatalogText, Destination, Environment, read_spec, resolve_text};
use crate::store::{Created, Location};

/// File name in diagnostics about flags.
const FLAGS: &str = "jobs create";

/// Creates a job, or requeues an existing one.
pub(super) fn create(args: &JobsCreateArgs, console: &Console) -> Result<Exit, CommandError> {
    let store = store_location(&args.store)?;
    let given = SpecArgs { now: args.now, vars: args.vars.clone(), output: None };
    let environment = environment(&given).map_err(CommandError::usage)?;
    let source = source(args, &environment).map_err(|mistakes| mistaken(&mistakes, console))?;
    let job = |revision| {
        let place = Destination::Store { store: store.clone(), revision, tenant: None };
        resolve_text(&source, &CatalogText::OfFile, &place, &environment)
            .map_err(|mistakes| mistaken(&mistakes, console))
    };
    let first = job(0)?;
    if let Some((unknown, _)) = args.vars.iter().find(|(name, _)| !first.vars.contains_key(name)) {
        return Err(CommandError::usage(format!("the spec declares no variable `{}` in `vars`", shown(unknown))));
    }
    let jobs = Jobs::open(&store)?;
    let git = args.spec.as_deref().and_then(find_git_state);
    let which = if args.new { Which::New } else { Which::First };
    let how = JobRequest { environment: &environment, git, requester: None, which };
    let requested = jobs.request(&how, job)?;
    let is_wanted = requested.is_wanted();
    let (JobView { id, .. }, status, created) = (requested.view, requested.found, requested.created);
    let starts = is_wanted && !args.queue_only;
    if starts {
        start(&jobs, &id, &args.resources)?;
    }
    print_result(&id, created, status, starts, console);
    if args.wait && status != State::Complete { follow(&jobs, &id, console) } else { Ok(Exit::Complete) }
}

fn mistaken(mistakes: &[Diagnostic], console: &Console) -> CommandError {
    let text = render_text(mistakes, console.color);
    CommandError { is_rendered: true, ..CommandError::usage(text.trim_start_matches("error: ").trim_end()) }
}

/// The spec's text, from its file or from flags.
fn source(args: &JobsCreateArgs, environment: &Environment) -> Result<Arc<SourceText>, Vec<Diagnostic>> {
    if let Some(path) = &args.spec {
        return read_spec(path, environment);
    }
    let span = match (&args.date_from, &args.date_to, &args.start, &args.end) {
        (Some(from), Some(to), ..) => Some(TimeSpan::Dates { from: from.clone(), to: to.clone() }),
        (_, _, Some(start), Some(end)) => Some(TimeSpan::Instants { start: start.clone(), end: end.clone() }),
        _ => {
            let mistake = Diagnostic::at(None, "the export has no window");
            return Err(vec![mistake.help("give `--date-from` and `--date-to`, or `--start` and `--end`")]);
        }
    };
    let one =
        |name: &str, value: &Option<String>| value.iter().map(|v| (name.to_owned(), v.clone())).collect::<Vec<_>>();
    let many = |name: &str, values: &[String]| values.iter().map(|v| (name.to_owned(), v.clone())).collect::<Vec<_>>();
    let filters = [
        many("kb_ids", &args.kb_ids),
        many("statuses", &args.statuses),
        one("actor_user_id", &args.actor_user_id),
        one("session_id", &args.session_id),
        args.filter.clone(),
    ];
    let request = Request {
        type_name: args.type_name.clone().unwrap_or_default(),
        name: args.name.clone(),
        format: args.format.clone(),
        compression: args.compression.clone(),
        span,
        timezone: args.timezone.clone(),
        allow_open: args.allow_open,
        partition_by: args.partition_by.clone(),
        catalog: args.catalog.clone(),
        filters: filters.concat(),
        where_sql: args.where_sql.clone(),
        retention: args.retention.clone(),
        encrypt_to: args.encrypt_to.clone(),
    };
    Ok(Arc::new(SourceText { path: PathBuf::from(FLAGS), text: request.spec() }))
}

/// Starts a worker that outlives this process and its terminal.
fn start(jobs: &Jobs, id: &str, resources: &ResourceArgs) -> Result<(), CommandError> {
    let store = jobs.location();
    let run_id = run_id();
    announce(&jobs.job_folder(id)?, &run_id);
    let failed = |what: &str, error: std::io::Error| {
        CommandError::failed(format!(
            "job {id} is queued, but {what}: {error}; run it with `kt-export jobs work --id {id}`"
        ))
    };
    let program = std::env::current_exe().map_err(|e| failed("the path of this program cannot be determined", e))?;
    let mut command = Command::new(program);
    command.args(["jobs", "work", "--detached", &run_id, "--id", id, "--store"]).arg(store.to_string());
    if let Some(threads) = resources.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    if let Some(memory) = resources.memory {
        command.args(["--memory", &memory.bytes().to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(log(store, id).map_or_else(Stdio::null, Stdio::from));
    // The parent process does not wait for the worker.
    command.spawn().map(drop).map_err(|e| failed("no worker process could be started", e))
}

/// The worker's log file, if the store is local.
fn log(store: &Location, id: &str) -> Option<std::fs::File> {
    let folder: &Path = store.local()?;
    let path = folder.join("jobs").join(id).join("worker.log");
    std::fs::OpenOptions::new().append(true).create(true).open(path).ok()
}

fn print_result(id: &str, created: Created, status: State, starts: bool, console: &Console) {
    let text = match (created, starts) {
        (Created::Created, true) => "created, exporting in the background".to_owned(),
        (Created::Created, false) => "created, queued for `jobs work`".to_owned(),
        (Created::Exists, true) => format!("already exists ({status}), resumed in the background"),
        (Created::Exists, false) => format!("already exists ({status}); use `--new` to create another"),
    };
    console.info(&format!("{id} {text}"));
    if console.json {
        let created = created == Created::Created;
        console.print_json(&serde_json::json!({"version": 1, "id": id, "created": created, "started": starts}));
    } else {
        crate::cli::print(id);
    }
}
