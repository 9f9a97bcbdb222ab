//! `inspect`: proposes a catalog entry for files.

use super::args::{InspectArgs, ResourceArgs, SpecArgs};
use super::environment::{environment_or_complain, threads};
use super::{Console, print, signals};
use crate::diagnostic::masked;
use crate::error::Exit;
use crate::proposal::{Options, Proposal, ProposalRecord, catalog_text, propose, type_name_of};
use crate::run::memory::Memory;

/// Prints a catalog with the entry.
pub(super) fn inspect(args: &InspectArgs, console: &Console) -> Exit {
    let found = proposed(&args.source, args.type_name.as_deref(), &args.resources, console);
    match found {
        Err(exit) => exit,
        Ok(proposal) if console.json => console.print_json(&ProposalRecord::new(&proposal)),
        Ok(proposal) => {
            let exit = print(&catalog_text(&proposal));
            for what in &proposal.to_do {
                console.error(&format!("to do: {what}"));
            }
            exit
        }
    }
}

/// Proposes an entry whose `uri` is `source`, and prints warnings about it, or the error.
///
/// # Errors
/// The exit code.
pub(super) fn proposed(
    source: &str,
    type_name: Option<&str>,
    resources: &ResourceArgs,
    console: &Console,
) -> Result<Proposal, Exit> {
    let stop = signals::listen().map_err(|why| {
        console.error(&format!("error: {why}"));
        Exit::Failed
    })?;
    let given = SpecArgs { now: None, vars: Vec::new(), output: None };
    let environment = environment_or_complain(&given, console).ok_or(Exit::Usage)?;
    let options = Options {
        environment,
        threads: threads(resources),
        memory: resources.memory.unwrap_or_else(Memory::of_machine),
        stop,
    };
    let type_name = type_name.map_or_else(|| type_name_of(source), str::to_owned);
    match propose(source, type_name, &options) {
        Ok(proposal) => {
            for warning in proposal.warnings() {
                console.error(&format!("warning: {warning}"));
            }
            Ok(proposal)
        }
        Err(error) => {
            let text = error.to_string();
            console.error(&format!("error: {source}: {text}"));
            if console.json {
                console.print_json(&serde_json::json!({"version": 1, "error": masked(&text)}));
            }
            Err(error.exit())
        }
    }
}
