//! `completions`: shell completions.

use clap::CommandFactory;

use super::args::{Cli, CompletionsArgs};
use super::print;
use crate::error::Exit;

/// Prints the completions of one shell.
pub(super) fn completions(args: &CompletionsArgs) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kt-export", &mut text);
    print(&String::from_utf8_lossy(&text))
}
