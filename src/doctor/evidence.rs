//! Checks of signing key and chain.

use super::{Check, DoctorOptions, Subject};
use crate::job::Job;
use crate::run::{self, RunError};
use crate::store::{self, Probed};

/// Lets the key sign something, and looks whether the chain can go on.
pub(super) fn examine(job: &Job, options: &DoctorOptions) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(signing) = &job.signing {
        checks.push(match run::describe_signer(job, &options.run) {
            Ok(key) => Check::ok(Subject::Key, format!("{key} signs as {}", signing.identity.value)),
            Err(failure) => Check::of_error(Subject::Key, RunError::Failed(failure)),
        });
    }
    checks.extend(job.chain.as_ref().map(|chain| {
        let written = store::probe(&chain.location).map_err(RunError::from);
        let linked = written.and_then(|probed| Ok((probed, run::chain_length(job)?)));
        match linked {
            Err(error) => Check::of_error(Subject::Chain, error),
            Ok((Probed { is_exclusive: false, .. }, links)) => Check::warning(
                Subject::Chain,
                format!("{links} links; the store of {} ignores conditional writes (If-None-Match)", chain.location),
                "run only one job with this chain at a time, or one may overwrite the other's link",
            ),
            Ok((_, links)) => Check::ok(Subject::Chain, format!("{links} links, {} is writable", chain.location)),
        }
    }));
    checks
}
