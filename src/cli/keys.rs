//! `keys`: API keys of the service.

use std::path::Path;

use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::args::{KeysArgs, KeysCommand, KeysFileArgs, KeysNewArgs, KeysRevokeArgs};
use super::{Console, print, repeated};
use crate::diagnostic::{render_text, shown};
use crate::error::Exit;
use crate::service::keys::{self, ApiKey, EditError, Keys, KeysError};

/// Dispatches.
pub(super) fn keys(args: &KeysArgs, console: &Console) -> Exit {
    let done = match &args.command {
        KeysCommand::New(args) => new(args, console),
        KeysCommand::List(args) => list(args, console),
        KeysCommand::Revoke(args) => revoke(args, console),
    };
    done.unwrap_or_else(|exit| exit)
}

fn new(args: &KeysNewArgs, console: &Console) -> Result<Exit, Exit> {
    let now = Timestamp::now();
    let mistake = |why: &str| {
        console.error(&format!("error: {why}"));
        Exit::Usage
    };
    let expires_at = args.expires.map(|expires| now.checked_add(expires)).transpose();
    let expires_at =
        expires_at.map_err(|_| mistake("--expires is too long: the key would expire after the year 9999"))?;
    let (text, key) = ApiKey::generate(keys::NewKey {
        id: args.id.clone(),
        types: args.types.clone(),
        may: args.may.iter().copied().collect(),
        tenant: args.tenant.clone(),
        encrypt_to: args.encrypt_to.clone(),
        expires_at,
        rate: args.rate,
    })
    .map_err(|error| mistake(&error.to_string()))?;
    match &args.keys {
        Some(path) => {
            keys::add(path, &key).map_err(|error| failed(&error, console))?;
            console.info(&format!("{} has the key `{}` now; its text is shown once, here", path.display(), key.id));
        }
        None if !console.json => console.info("the key is shown once; add the entry below it to the keys file"),
        None => {}
    }
    if console.json {
        return Ok(console.print_json(&json!({"version": 1, "key": *text, "entry": entry(&key, now)})));
    }
    let entry = if args.keys.is_none() { format!("\n\n{key}") } else { String::new() };
    Ok(print(&format!("{}{entry}", *text)))
}

fn list(args: &KeysFileArgs, console: &Console) -> Result<Exit, Exit> {
    let found = Keys::read(&args.keys).map_err(|error| failed(&error.into(), console))?;
    let now = Timestamp::now();
    if console.json {
        let entries: Vec<_> = found.keys.iter().map(|key| entry(key, now)).collect();
        return Ok(console.print_json(&json!({"version": 1, "keys": entries})));
    }
    if found.keys.is_empty() {
        console.info(&format!("{} has no keys; make one with `keys new`", args.keys.display()));
        return Ok(Exit::Complete);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["id", "state", "tenant", "types", "may", "expires", "rate"]);
    for key in &found.keys {
        let types = key
            .types
            .as_ref()
            .map_or_else(|| "*".to_owned(), |types| types.iter().map(|t| shown(t)).collect::<Vec<_>>().join(","));
        let may: Vec<_> = key.may.iter().map(|right| crate::yaml::decode::Word::word(*right)).collect();
        table.add_row([
            key.id.to_string(),
            state(key, now).to_owned(),
            key.tenant.as_ref().map_or("-".to_owned(), ToString::to_string),
            types,
            may.join(","),
            key.expires_at.map_or("-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()),
            key.rate.map_or("-".to_owned(), |rate| rate.to_string()),
        ]);
    }
    Ok(print(&table.trim_fmt()))
}

fn revoke(args: &KeysRevokeArgs, console: &Console) -> Result<Exit, Exit> {
    let path: &Path = &args.file.keys;
    let now = Timestamp::now();
    let key = keys::revoke(path, &args.id, now).map_err(|error| failed(&error, console))?;
    console.info(&format!("the key `{}` is revoked; a running service reads {} again", key.id, path.display()));
    if console.json {
        console.print_json(&json!({"version": 1, "file": repeated(path), "entry": entry(&key, now)}));
    }
    Ok(Exit::Complete)
}

fn failed(error: &EditError, console: &Console) -> Exit {
    match error {
        EditError::Keys(KeysError::Mistakes(mistakes)) => console.show(&render_text(mistakes, console.color)),
        // The entry that is to be added by hand has lines of its own.
        EditError::Layout { .. } => console.show(&format!("error: {error}")),
        _ => console.error(&format!("error: {error}")),
    }
    Exit::Usage
}

fn state(key: &ApiKey, now: Timestamp) -> &'static str {
    match (key.revoked_at, key.is_valid(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "valid",
        (None, false) => "expired",
    }
}

/// A key for programs.
fn entry(key: &ApiKey, now: Timestamp) -> Value {
    json!({
        "id": key.id, "state": state(key, now), "sha256": key.sha256_hex(), "types": key.types, "may": key.may,
        "tenant": key.tenant, "encrypt_to": key.encrypt_to, "expires_at": key.expires_at, "revoked_at": key.revoked_at,
        "rate": key.rate.map(|rate| rate.to_string()),
    })
}
