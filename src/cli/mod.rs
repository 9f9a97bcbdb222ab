//! The command line: probes the environment once, calls the library, and reports to people on stderr and to programs on
//! stdout.
//!
//! One file per command. Only this module reads the clock, environment variables, the terminal and the number of
//! processors.

mod args;
mod completions;
mod coverage;
mod decrypt;
mod doctor;
mod environment;
mod explain;
mod init;
mod inspect;
mod jobs;
mod keys;
mod pack;
mod plan;
mod progress;
mod read_keys;
mod report;
mod reproduce;
mod run;
mod sample;
mod schema;
mod serve;
mod signals;
mod specs;
mod validate;
mod verify;

use std::io::{IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use tracing::field::Field;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::args::{Cli, Command, LogFormat, OutputArgs, When};
use crate::diagnostic::{escaped, masked};
use crate::error::Exit;

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                anstream::eprint!("{}", masked(&error.render().ansi().to_string()));
                return ExitCode::from(Exit::Usage.code());
            }
            #[expect(
                clippy::let_underscore_must_use,
                reason = "help and version are not errors; neither is a closed pipe"
            )]
            let _ = error.print();
            return ExitCode::from(Exit::Complete.code());
        }
    };
    let console = Console::new(&cli.output);
    console.start_log();
    // A panic is a bug. Its message is already on stderr; the exit code reports it to the scheduler.
    let exit = catch_unwind(AssertUnwindSafe(|| run(&cli.command, &console))).unwrap_or(Exit::Internal);
    ExitCode::from(exit.code())
}

fn run(command: &Command, console: &Console) -> Exit {
    match command {
        Command::Init(args) => init::init(args, console),
        Command::Inspect(args) => inspect::inspect(args, console),
        Command::Validate(args) => validate::validate(args, console),
        Command::Doctor(args) => doctor::doctor(args, console),
        Command::Plan(args) => plan::plan(args, console),
        Command::Run(args) => run::run(args, console),
        Command::Verify(args) => verify::verify(args, console),
        Command::Report(args) => report::report(args, console),
        Command::Decrypt(args) => decrypt::decrypt(args, console),
        Command::Reproduce(args) => reproduce::reproduce(args, console),
        Command::Coverage(args) => coverage::coverage(args, console),
        Command::Sample(args) => sample::sample(args, console),
        Command::Pack(args) => pack::pack(args, console),
        Command::Jobs(args) => jobs::jobs(args, console),
        Command::Serve(args) => serve::serve(args, console),
        Command::Keys(args) => keys::keys(args, console),
        Command::Explain(args) => explain::explain(args, console),
        Command::Schema(args) => schema::schema(args, console),
        Command::Completions(args) => completions::completions(args),
    }
}

/// Where and how messages are printed.
struct Console {
    json: bool,
    quiet: bool,
    verbose: u8,
    log_format: LogFormat,
    color: bool,
    terminal: bool,
}

impl Console {
    fn new(args: &OutputArgs) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let choice = match args.color {
            When::Auto => anstream::AutoStream::choice(&std::io::stderr()),
            When::Always => anstream::ColorChoice::Always,
            When::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
        Self {
            json: args.json,
            quiet: args.quiet,
            verbose: args.verbose,
            log_format: args.log_format,
            color: choice != anstream::ColorChoice::Never,
            terminal,
        }
    }

    /// Starts logging to stderr.
    fn start_log(&self) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => tracing::Level::ERROR,
            (false, 0) => tracing::Level::WARN,
            (false, 1) => tracing::Level::INFO,
            (false, _) => tracing::Level::DEBUG,
        };
        // Libraries log warnings only: an HTTP client logs a lot, and its lines may contain signed requests.
        let lines =
            Targets::new().with_target(env!("CARGO_CRATE_NAME"), level).with_default(level.min(tracing::Level::WARN));
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(self.color);
        match self.log_format {
            LogFormat::Text => {
                let log = log.with_target(false).fmt_fields(debug_fn(write_field));
                tracing_subscriber::registry().with(log.with_filter(lines)).init();
            }
            LogFormat::Json => tracing_subscriber::registry().with(log.json().with_filter(lines)).init(),
        }
    }

    /// Prints a message of one line to stderr unless `--quiet` is set. What a terminal would obey is escaped.
    fn info(&self, line: &str) {
        if !self.quiet && !line.is_empty() {
            self.error(line);
        }
    }

    /// Prints an error or a warning of one line to stderr, even with `--quiet`. Causes, names and values come from files,
    /// stores and arguments, so what a terminal would obey is escaped, and secrets in URIs are masked.
    fn error(&self, line: &str) {
        self.show(&escaped(&masked(line.trim_end_matches('\n'))));
    }

    /// Prints lines to stderr, even with `--quiet`. They may have colors, so their renderer has escaped the values.
    fn show(&self, lines: &str) {
        anstream::eprintln!("{}", lines.trim_end_matches('\n'));
    }

    /// As [`Console::show`], unless `--quiet` is set.
    fn show_info(&self, lines: &str) {
        if !self.quiet && !lines.is_empty() {
            self.show(lines);
        }
    }

    /// Prints the single JSON object of this command.
    fn print_json<T: Serialize>(&self, value: &T) -> Exit {
        match serde_json::to_string_pretty(value) {
            Ok(text) => print(&text),
            Err(error) => {
                self.error(&format!("error: cannot write JSON: {error}"));
                Exit::Internal
            }
        }
    }
}

/// An argument as JSON repeats it: secrets in URIs are masked.
fn repeated(argument: &Path) -> String {
    masked(&argument.display().to_string()).into_owned()
}

/// Writes a field of a log line. What a terminal would obey is escaped.
fn write_field(out: &mut Writer<'_>, field: &Field, value: &dyn std::fmt::Debug) -> std::fmt::Result {
    let value = escaped(&format!("{value:?}"));
    match field.name() {
        "message" => write!(out, "{value}"),
        // Where the `log` crate's records come from.
        name if name.starts_with("log.") => Ok(()),
        name => write!(out, " {name}={value}"),
    }
}

/// Prints to stdout; a broken pipe is not an error.
fn print(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Ok(()) => Exit::Complete,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Complete,
        Err(error) => {
            anstream::eprintln!("error: cannot write to stdout: {error}");
            Exit::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn names_in_log_lines_cannot_act_on_a_terminal() {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt::layer()
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .fmt_fields(debug_fn(write_field));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
            tracing::warn!(task = 3, "{}", "a\u{1b}[31m\nb\u{202e}.csv: truncated");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, " WARN a\\u{1b}[31m\\u{a}b\\u{202e}.csv: truncated task=3\n");
    }
}
