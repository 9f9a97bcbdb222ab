//! `verify`: checks packages and chains of them, and says what it could not check.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Console;
use super::args::VerifyArgs;
use super::read_keys::read_keys;
use crate::audit::verify::{self, VerifyOptions};
use crate::error::Exit;
use crate::signature::AllowedSigners;
use crate::small_file;
use crate::store::{Location, StoreOptions};

/// Larger than any realistic list of keys.
const LARGEST_LIST_BYTES: u64 = 1 << 20;

/// Verifies every package and the chain; any finding sets the exit code.
pub(super) fn verify(args: &VerifyArgs, console: &Console) -> Exit {
    match try_verify(args, console) {
        Ok(exit) => exit,
        Err(why) => {
            console.error(&format!("error: {why}"));
            Exit::Usage
        }
    }
}

fn try_verify(args: &VerifyArgs, console: &Console) -> Result<Exit, String> {
    let place = |text: &String| Location::parse(text, &StoreOptions::default()).map_err(|error| error.to_string());
    let named = args.packages.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    let chain = args.chain.as_ref().map(place).transpose()?;
    let options = VerifyOptions {
        now: args.now.unwrap_or_else(Timestamp::now),
        rows: args.rows,
        keys: read_keys(&args.keys)?,
        allowed_signers: args.allowed_signers.as_deref().map(allowed_signers).transpose()?.map(Arc::new),
        signer: args.signer.clone(),
        require_signature: args.require_signature,
        caller_checks_chain: chain.is_some(),
    };
    let mut packages = Vec::new();
    for at in named {
        if chain.is_none() {
            packages.push(at);
            continue;
        }
        let found = verify::packages_below(&at);
        packages.extend(found.map_err(|error| format!("cannot look for packages: {}", crate::failure::chain(&error)))?);
    }
    let reports: Vec<_> = packages.iter().map(|at| verify::verify(at, &options)).collect();
    let chain = chain.map(|chain| verify::verify_chain(&chain, &packages, args.expect_head.as_ref(), options.now));
    let verified = reports.iter().all(|r| r.intact) && chain.as_ref().is_none_or(|chain| chain.intact);
    if console.json {
        let mut object = serde_json::json!({"version": 1, "verified": verified, "packages": reports});
        if let Some(chain) = &chain {
            object["chain"] = serde_json::json!(chain);
        }
        console.print_json(&object);
    }
    let texts = reports.iter().map(|report| (report.to_string(), report.intact));
    for (text, is_intact) in texts.chain(chain.iter().map(|chain| (chain.to_string(), chain.intact))) {
        if is_intact {
            console.show_info(&text);
        } else {
            console.show(&text);
        }
    }
    Ok(if verified { Exit::Complete } else { Exit::VerifyFailed })
}

/// Reads an allowed signers file. Times without a zone are local times, as for ssh-keygen.
fn allowed_signers(path: &std::path::Path) -> Result<AllowedSigners, String> {
    let unreadable = |why: String| format!("cannot read the allowed signers in {}: {why}", path.display());
    let bytes = small_file::read_any(path, LARGEST_LIST_BYTES).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".to_owned()))?;
    AllowedSigners::parse(&text, &TimeZone::system()).map_err(|error| format!("{}: {error}", path.display()))
}
