//! Preflight checks: the same checks as a run, with the same messages, but nothing is exported.
//!
//! A [`Report`] predicts a run: if the run would refuse or fail, a check fails with the run's exit code. Anything a run
//! would survive, or that may change by then (an open window), is a warning. Invariant: nothing is left behind, in the
//! output folder or next to it.

mod evidence;
mod output;
mod sample;
mod source;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use crate::diagnostic::{Diagnostic, records};
use crate::error::Exit;
use crate::job::{Encryption, Job};
use crate::redact::Keys;
use crate::run::{self, RunError, RunOptions, Sealing};
use crate::time::zone;
use crate::units::counted;

/// Options of the checks.
pub(crate) struct DoctorOptions {
    /// The run's options.
    pub run: RunOptions,
    /// Inspect every row of every source file, as a run does, instead of a sample.
    pub full: bool,
    /// The zone of this machine's clock, for people.
    pub clock_zone: TimeZone,
}

/// All checks of one spec.
#[derive(Debug)]
pub(crate) struct Report {
    /// In the order of a run.
    pub checks: Vec<Check>,
    /// A signal stopped the checks.
    pub stopped: Option<Exit>,
}

/// The result of one check.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    /// What.
    #[serde(rename = "check")]
    pub subject: Subject,
    /// Result of a check.
    pub status: Status,
    /// What was found.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Mistakes in the spec, each with its place.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_records")]
    pub diagnostics: Vec<Diagnostic>,
    /// Exit code of a run with this failure; `Complete` if not a failure.
    #[serde(skip)]
    pub exit: Exit,
}

/// Subject of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Subject {
    /// The spec and its catalog.
    Spec,
    /// Whether the recipients and keys that the spec names are there.
    Keys,
    /// Whether the window is over and its data settled.
    Window,
    /// Whether the source can be reached and listed.
    Source,
    /// Whether its files can be read.
    Files,
    /// Whether files and rows are as `path_time` says.
    Claims,
    /// Whether the spec fits the source's columns.
    Columns,
    /// Whether the largest row group fits in memory.
    Memory,
    /// Whether the key signs.
    Key,
    /// Whether the chain can go on.
    Chain,
    /// Whether the output can be written, by one writer at a time.
    Output,
    /// What the output folder holds.
    Package,
    /// Whether there is room.
    Disk,
    /// Whether this machine's clock is right.
    Clock,
}

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Passed.
    Ok,
    /// A run would survive it, or it may change by then.
    Warning,
    /// A run would refuse or fail.
    Failure,
}

impl Subject {
    /// Characters of the longest name.
    pub(crate) const LONGEST: usize = 7;

    /// As in JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Keys => "keys",
            Self::Window => "window",
            Self::Source => "source",
            Self::Files => "files",
            Self::Claims => "claims",
            Self::Columns => "columns",
            Self::Memory => "memory",
            Self::Key => "key",
            Self::Chain => "chain",
            Self::Output => "output",
            Self::Package => "package",
            Self::Disk => "disk",
            Self::Clock => "clock",
        }
    }
}

impl Check {
    fn ok(subject: Subject, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { subject, status: Status::Ok, message, help: None, diagnostics: Vec::new(), exit: Exit::Complete }
    }

    fn warning(subject: Subject, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { status: Status::Warning, help: Some(help.into()), ..Self::ok(subject, message) }
    }

    fn failure(subject: Subject, message: impl Into<String>, exit: Exit) -> Self {
        Self { status: Status::Failure, exit, ..Self::ok(subject, message) }
    }

    /// What would end a run.
    fn of_error(subject: Subject, error: RunError) -> Self {
        let exit = error.exit();
        match error {
            RunError::Spec(diagnostics) => Self::of_mistakes(subject, diagnostics),
            RunError::Occupied { folder, holds, way_out } => {
                Self::failure(subject, format!("{folder} holds {holds}"), exit).help(way_out)
            }
            RunError::Damaged { folder, damage } => {
                Self::failure(subject, format!("{folder} is damaged: {}", damage.join("; ")), exit)
                    .help("restore it from a copy, or re-export the damaged files with `kt-export run --repair`")
            }
            error => Self::failure(subject, crate::failure::chain(&error), exit),
        }
    }

    /// Mistakes in the spec or its catalog.
    fn of_mistakes(subject: Subject, diagnostics: Vec<Diagnostic>) -> Self {
        let message = counted(diagnostics.len(), "mistake");
        Self { diagnostics, ..Self::failure(subject, message, Exit::Usage) }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Adds what could not be checked because of this.
    fn and_so(self, skipped: &str) -> Self {
        let help = self.help.as_ref().map_or_else(|| skipped.to_owned(), |help| format!("{help}; {skipped}"));
        self.help(help)
    }
}

impl Report {
    /// The report on an invalid spec: nothing else can be checked.
    pub(crate) fn of_mistakes(diagnostics: Vec<Diagnostic>) -> Self {
        let check = Check::of_mistakes(Subject::Spec, diagnostics).and_so("the other checks need a valid spec");
        Self { checks: vec![check], stopped: None }
    }

    /// The exit code that a run would have, as far as can be predicted.
    pub(crate) fn exit(&self) -> Exit {
        let failed = self.checks.iter().fold(Exit::Complete, |worst, check| worst.worst(check.exit));
        self.stopped.map_or(failed, |stopped| failed.worst(stopped))
    }

    /// The worst of all checks.
    pub(crate) fn status(&self) -> Status {
        let any = |status| self.checks.iter().any(|check| check.status == status);
        match (any(Status::Failure), any(Status::Warning)) {
            (true, _) => Status::Failure,
            (false, true) => Status::Warning,
            (false, false) => Status::Ok,
        }
    }
}

/// Makes all checks of a job, until a signal comes.
pub(crate) fn examine(job: &Job, options: &DoctorOptions) -> Report {
    let mut checks = vec![Check::ok(Subject::Spec, format!("{}, {}", job.name, job.id))];
    checks.extend(pseudonyms(job, &options.run));
    checks.extend(encryption(job, &options.run));
    checks.push(window(job, &options.run));
    let mut estimate = None;
    if options.run.stop.exit().is_none() {
        let source = source::examine(job, options);
        checks.extend(source.checks);
        estimate = source.window_bytes;
    }
    if options.run.stop.exit().is_none() {
        checks.extend(evidence::examine(job, options));
        let output = output::examine(job, options, estimate);
        if output.is_complete {
            // This run would not reach them; the next run of a relative window would.
            checks.iter_mut().filter(|check| check.status == Status::Failure).for_each(forgive);
        }
        checks.extend(output.checks);
    }
    Report { checks, stopped: options.run.stop.exit() }
}

fn forgive(check: &mut Check) {
    check.status = Status::Warning;
    check.exit = Exit::Complete;
}

/// The keys of pseudonyms, where the spec wants any.
fn pseudonyms(job: &Job, options: &RunOptions) -> Option<Check> {
    let keys = Keys::read(&job.redactions, &options.env);
    match keys.map(|keys| keys.ids(&job.redactions)) {
        Ok(ids) if ids.is_empty() => None,
        Ok(ids) => {
            let of_each = ids.iter().map(|(path, id)| format!("`{path}` has {id}")).collect::<Vec<_>>().join(", ");
            Some(Check::ok(Subject::Keys, format!("ids of the pseudonym keys: {of_each}")))
        }
        Err(error) => Some(Check::failure(Subject::Keys, crate::failure::chain(&error), Exit::Failed)),
    }
}

/// What encrypts; nothing where nothing is encrypted.
fn encryption(job: &Job, options: &RunOptions) -> Option<Check> {
    let message = match (&job.encryption, Sealing::read(job, &options.env)) {
        (None, _) => return None,
        (Some(_), Err(error)) => return Some(Check::of_error(Subject::Keys, error)),
        (Some(_), Ok(sealing)) => match (&sealing.recipients, &job.encryption) {
            (Some(recipients), _) => {
                format!("{} can decrypt the files", counted(recipients.names().len(), "recipient"))
            }
            (None, Some(Encryption::Parquet { columns, .. })) if !columns.is_empty() => {
                format!("the footer key and {} can be read", counted(columns.len(), "column key"))
            }
            (None, _) => "the footer key can be read".to_owned(),
        },
    };
    Some(Check::ok(Subject::Keys, message))
}

fn window(job: &Job, options: &RunOptions) -> Check {
    let window = &job.window;
    let at = |instant: Timestamp| instant.to_zoned(window.timezone.clone()).strftime("%F %T%:z").to_string();
    let which =
        format!("{}, {} to {} ({})", window.label, at(window.start), at(window.end), zone::name(&window.timezone));
    match run::check_settled(job, options.now) {
        Err(RunError::NotSettled { end, settled }) => {
            let what = if end > options.now { "is not over" } else { "has ended but not settled" };
            Check::warning(
                Subject::Window,
                format!("{which}, {what}: a run before {} ends with exit code 6", at(settled)),
                format!(
                    "run it in {}; or set `allow_open: true` in the window, or check a later time with `--now`",
                    rough(settled.duration_since(options.now))
                ),
            )
        }
        _ if window.end > options.now => {
            Check::ok(Subject::Window, format!("{which}, still open, which `allow_open` permits"))
        }
        _ => Check::ok(Subject::Window, format!("{which}, ended and settled")),
    }
}

/// A duration as people say it, rounded up.
fn rough(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0) + i64::from(duration.subsec_nanos() > 0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", (seconds + 59) / 60),
        7_200..172_800 => format!("{} h", (seconds + 3_599) / 3_600),
        _ => format!("{} days", (seconds + 86_399) / 86_400),
    }
}

/// A size as people say it.
fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

fn as_records<S: Serializer>(diagnostics: &[Diagnostic], serializer: S) -> Result<S::Ok, S::Error> {
    records(diagnostics).serialize(serializer)
}
