//! `serve`: the exports API over HTTP.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::args::{ServeArgs, SpecArgs};
use super::environment::{environment, location, run_options};
use super::{Console, signals};
use crate::diagnostic::{Located, render_text};
use crate::error::Exit;
use crate::failure::{Failure, chain};
use crate::jobs::Jobs;
use crate::resolve::{Environment, check_file};
use crate::secret::SecretName;
use crate::service::keys::{KeysError, KeysFile};
use crate::service::{MAX_DOWNLOADS, OptionsOf, Rates, Service, TokenKeys, serve as serve_requests};

/// Serves until a signal.
pub(super) fn serve(args: &ServeArgs, console: &Console) -> Exit {
    match start(args, console) {
        Ok(exit) => exit,
        Err(Refused::Said(exit)) => exit,
        Err(Refused::Why(exit, why)) => {
            console.error(&format!("error: {why}"));
            exit
        }
    }
}

/// Why nothing is served.
enum Refused {
    /// The message is on the terminal.
    Said(Exit),
    Why(Exit, String),
}

fn usage(why: impl Into<String>) -> Refused {
    Refused::Why(Exit::Usage, why.into())
}

fn start(args: &ServeArgs, console: &Console) -> Result<Exit, Refused> {
    if !args.listen.ip().is_loopback() && !args.behind_proxy {
        return Err(usage(format!(
            "--listen {}: other machines would send their keys in the clear; listen on 127.0.0.1, or give `--behind-proxy` \
             if a proxy in front speaks TLS",
            args.listen
        )));
    }
    let given = SpecArgs { now: None, vars: Vec::new(), output: None };
    let environment = environment(&given).map_err(usage)?;
    let mistakes = check_file(&args.catalog, &environment);
    if !mistakes.is_empty() {
        console.show(&render_text(&mistakes, console.color));
        return Err(Refused::Said(Exit::Usage));
    }
    let keys = KeysFile::open(&args.keys.keys).map_err(|error| match error {
        KeysError::Mistakes(mistakes) => {
            console.show(&render_text(&mistakes, console.color));
            Refused::Said(Exit::Usage)
        }
        error @ KeysError::Unreadable { .. } => usage(error.to_string()),
    })?;
    let tokens = token_keys(args, &environment)?;
    if args.token_key_env.is_empty() && args.token_key_file.is_empty() {
        console.info(
            "download tokens end with this process: give `--token-key-file` to keep them, and for several replicas",
        );
    }
    let store = location(&args.store.store, &environment.current_dir);
    let store = store.map_err(|error| usage(format!("--store: {error}")))?;
    let jobs = Jobs::open(&store).map_err(|error| {
        let failure = Failure::from(error);
        let exit = if failure.code().is_retryable() { Exit::TryLater } else { Exit::Failed };
        Refused::Why(exit, failure.to_string())
    })?;
    let failed = |what: &str, error: &std::io::Error| Refused::Why(Exit::Failed, format!("{what}: {}", chain(error)));
    let listener = TcpListener::bind(args.listen);
    let listener = listener.map_err(|error| failed(&format!("cannot listen on {}", args.listen), &error))?;
    let address = listener.local_addr().map_err(|error| failed("cannot tell the address", &error))?;
    let stop = signals::listen().map_err(|why| Refused::Why(Exit::Failed, why))?;
    let service = Service {
        jobs,
        catalog: environment.current_dir.join(&args.catalog),
        keys,
        tokens,
        rates: Rates::default(),
        downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
        encrypt_to: args.encrypt_to.clone(),
        environment,
    };
    console.info(&format!("listening on http://{address}"));
    if console.json {
        console.print_json(&serde_json::json!({"version": 1, "address": address.to_string()}));
    }
    let resources = args.resources.clone();
    let options: Arc<OptionsOf> =
        Arc::new(move |record, stop| run_options(&record.spec.path, &resources, &record.environment(), stop));
    let served = serve_requests(Arc::new(service), listener, args.workers.into(), options, &stop, args.grace);
    served.map_err(|error| failed("the service failed", &error))?;
    Ok(stop.exit().unwrap_or(Exit::Complete))
}

fn token_keys(args: &ServeArgs, environment: &Environment) -> Result<TokenKeys, Refused> {
    let written = |text: &str| Located { value: text.to_owned(), span: None };
    let file = |path: &Path| SecretName::File {
        written: written(&path.display().to_string()),
        path: environment.current_dir.join(path),
    };
    let files = args.token_key_file.iter().map(|path| file(path));
    let names = files.chain(args.token_key_env.iter().map(|name| SecretName::Env(written(name))));
    let read = |name: SecretName| -> Result<Zeroizing<Vec<u8>>, Refused> {
        name.read(&environment.env).map_err(|error| usage(chain(&error)))
    };
    let keys = names.map(read).collect::<Result<Vec<_>, _>>()?;
    TokenKeys::new(keys).map_err(|error| usage(format!("the secret of download tokens: {error}")))
}
