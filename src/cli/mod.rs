//! The command line: probes the environment once, calls the library, tells people on stderr and programs on stdout.
//!
//! One file a command. Clock, environment variables, processors and terminal are looked at here and nowhere below.

mod args;
mod completions;
mod coverage;
mod decrypt;
mod doctor;
mod environment;
mod explain;
mod init;
mod jobs;
mod keys;
mod pack;
mod plan;
mod progress;
mod report;
mod reproduce;
mod run;
mod sample;
mod schema;
mod signals;
mod specs;
mod validate;
mod verify;

use std::io::{IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::args::{Cli, Command, LogFormat, OutputArgs, When};
use crate::error::Exit;

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not mistakes. A closed pipe is nobody's.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Complete.code() });
        }
    };
    let talk = Talk::new(&cli.output);
    talk.start_log();
    // A panic is a bug; its message is on stderr by now, and the scheduler is told in its own way.
    let exit = catch_unwind(AssertUnwindSafe(|| run(&cli.command, &talk))).unwrap_or(Exit::Internal);
    ExitCode::from(exit.code())
}

fn run(command: &Command, talk: &Talk) -> Exit {
    match command {
        Command::Init(args) => init::init(args, talk),
        Command::Validate(args) => validate::validate(args, talk),
        Command::Doctor(args) => doctor::doctor(args, talk),
        Command::Plan(args) => plan::plan(args, talk),
        Command::Run(args) => run::run(args, talk),
        Command::Verify(args) => verify::verify(args, talk),
        Command::Report(args) => report::report(args, talk),
        Command::Decrypt(args) => decrypt::decrypt(args, talk),
        Command::Reproduce(args) => reproduce::reproduce(args, talk),
        Command::Coverage(args) => coverage::coverage(args, talk),
        Command::Sample(args) => sample::sample(args, talk),
        Command::Pack(args) => pack::pack(args, talk),
        Command::Jobs(args) => jobs::jobs(args, talk),
        Command::Explain(args) => explain::explain(args, talk),
        Command::Schema(args) => schema::schema(args, talk),
        Command::Completions(args) => completions::completions(args),
    }
}

/// How this process talks.
struct Talk {
    json: bool,
    quiet: bool,
    verbose: u8,
    log_format: LogFormat,
    color: bool,
    terminal: bool,
}

impl Talk {
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

    /// Log lines go to stderr, beside what people read there.
    fn start_log(&self) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => tracing::Level::ERROR,
            (false, 0) => tracing::Level::WARN,
            (false, 1) => tracing::Level::INFO,
            (false, _) => tracing::Level::DEBUG,
        };
        // Of the libraries only what goes wrong: an HTTP client's lines are many, and may hold what is signed.
        let lines =
            Targets::new().with_target(env!("CARGO_CRATE_NAME"), level).with_default(level.min(tracing::Level::WARN));
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(self.color);
        match self.log_format {
            LogFormat::Text => tracing_subscriber::registry().with(log.with_target(false).with_filter(lines)).init(),
            LogFormat::Json => tracing_subscriber::registry().with(log.json().with_filter(lines)).init(),
        }
    }

    /// Something for people, unless they asked for silence.
    fn say(&self, text: &str) {
        if !self.quiet && !text.is_empty() {
            anstream::eprintln!("{}", text.trim_end_matches('\n'));
        }
    }

    /// Something that went wrong, for people, always.
    fn complain(&self, text: &str) {
        anstream::eprintln!("{}", text.trim_end_matches('\n'));
    }

    /// The one JSON object of this command.
    fn print_json<T: Serialize>(&self, value: &T) -> Exit {
        match serde_json::to_string_pretty(value) {
            Ok(text) => print(&text),
            Err(error) => {
                self.complain(&format!("error: cannot write JSON: {error}"));
                Exit::Internal
            }
        }
    }
}

/// Prints to stdout; a reader that went away is not a mistake.
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
