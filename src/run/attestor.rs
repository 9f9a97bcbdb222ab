//! Signs a run's manifest and links it to the chain, before the manifest is published.
//!
//! Only the run that makes a manifest signs it, so that a changed package is never signed by a later run. A manifest is
//! stored in `_state/manifests/` before the link with its digest is created. Every link's manifest therefore exists, and
//! any run that finds the link can publish exactly these bytes, unless another manifest has ended their generation: then
//! their files may be gone, and the package gets another link.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::install::published_manifest;
use super::{RunError, RunOptions};
use crate::chain::{Chain, Link, Linked};
use crate::digest::sha256;
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::Job;
use crate::package::layout::{self, MANIFEST, SIGNATURE, generation_of, kept_manifest, kept_signature};
use crate::package::manifest::{LinkRecord, Manifest, PackageRef, SignerRecord};
use crate::package::state::log::{self, Entry};
use crate::package::state::sign;
use crate::signature::{self, SignError, Signer};
use crate::store::{Folder, StoreError};

/// The signer and the chain that a job's spec names.
pub(crate) struct Attestor {
    signer: Option<Arc<Signer>>,
    chain: Option<Folder>,
}

/// Whether a manifest got its link, and may be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a manifest without its link must not be published"]
pub(crate) enum LinkOutcome {
    /// The manifest is linked, or the job has no chain.
    Won,
    /// Another run took the number; try again.
    Lost,
}

impl From<SignError> for Failure {
    fn from(error: SignError) -> Self {
        Self::of(ErrorCode::KeyUnusable, &error)
    }
}

impl Attestor {
    /// Loads the key and makes a test signature. Writes nothing.
    ///
    /// # Errors
    /// `key_unusable`.
    pub(crate) fn load(job: &Job, options: &RunOptions) -> Result<Self, Failure> {
        let load = |signing: &crate::job::Signing| Signer::load(&signing.key, &signing.identity.value, &options.env);
        Ok(Self { signer: job.signing.as_ref().map(load).transpose()?.map(Arc::new), chain: None })
    }

    /// Opens the chain for writing.
    ///
    /// # Errors
    /// `chain_broken`, or errors of the store.
    pub(crate) fn open_chain(&mut self, job: &Job) -> Result<(), Failure> {
        if let Some(chain) = &job.chain {
            let folder = Folder::open(&chain.location)?;
            read_chain(&folder)?;
            self.chain = Some(folder);
        }
        Ok(())
    }

    /// The signer, if the job signs.
    pub(crate) fn signer(&self) -> Option<&Signer> {
        self.signer.as_deref()
    }

    /// The signer, shared with other threads.
    pub(crate) fn shared_signer(&self) -> Option<Arc<Signer>> {
        self.signer.clone()
    }

    /// The manifest's `signer` field.
    pub(crate) fn signer_record(&self) -> Option<SignerRecord> {
        self.signer().map(Signer::record)
    }

    /// Signs and links a manifest that follows the log entry `last`, and writes the link's number into it.
    ///
    /// # Errors
    /// `key_unusable`, `chain_broken`, or errors of the store.
    pub(crate) fn attest(
        &self,
        package: &Folder,
        last: &Entry,
        manifest: &mut Manifest,
    ) -> Result<LinkOutcome, RunError> {
        let Some(folder) = &self.chain else {
            self.sign(package, &manifest.to_json_bytes().map_err(Failure::from)?)?;
            return Ok(LinkOutcome::Won);
        };
        let chain = read_chain(folder)?;
        if unpublished_link(&chain, package, &manifest.id, Some(last))?.is_some() {
            return Ok(LinkOutcome::Lost);
        }
        let before = chain.head();
        manifest.previous =
            before.map(|b| PackageRef { id: b.link.id.clone(), sha256: b.link.manifest_sha256.clone() });
        let number = before.map_or(1, |before| before.link.number + 1);
        manifest.link = Some(LinkRecord { number, previous_sha256: before.map(|before| before.sha256.clone()) });
        let bytes = manifest.to_json_bytes().map_err(Failure::from)?;
        let digest = sha256(&bytes);
        self.sign(package, &bytes)?;
        #[expect(
            clippy::let_underscore_must_use,
            reason = "a file under the name of its digest is the same whoever wrote it"
        )]
        let _ = package.create_bytes(&kept_manifest(&digest), &bytes)?;
        let Some(link) = Link::of(manifest, &digest).map_err(Failure::from)? else { return Ok(LinkOutcome::Lost) };
        Ok(if claim_link(folder, &link)? { LinkOutcome::Won } else { LinkOutcome::Lost })
    }

    /// Whether the last link of the job names this manifest; also without a chain. A later link of a run that lost needs
    /// another one after it, because a package has the manifest that its last link names.
    ///
    /// # Errors
    /// `chain_broken`, or errors of the store.
    pub(crate) fn is_last_linked(&self, manifest: &Manifest, bytes: &[u8]) -> Result<bool, Failure> {
        let Some(folder) = &self.chain else { return Ok(true) };
        let chain = read_chain(folder)?;
        Ok(chain.last_of(&manifest.id).is_none_or(|linked| linked.link.manifest_sha256 == sha256(bytes)))
    }

    /// Stores the signature of a manifest that is about to be published.
    fn sign(&self, package: &Folder, bytes: &[u8]) -> Result<(), Failure> {
        let Some(signer) = &self.signer else { return Ok(()) };
        let signature = signer.sign(bytes)?;
        package.replace_bytes(&kept_signature(&sha256(bytes)), signature.as_bytes())?;
        Ok(())
    }
}

/// A description of the key that would sign.
///
/// # Errors
/// As [`Attestor::load`].
pub(crate) fn describe_signer(job: &Job, options: &RunOptions) -> Result<String, Failure> {
    let signer = Attestor::load(job, options)?.signer;
    let in_agent = |signer: &Signer| if signer.is_in_agent() { " in the ssh-agent" } else { "" };
    Ok(signer.map_or_else(String::new, |signer| format!("{signer}{}", in_agent(&signer))))
}

/// The number of links in the job's chain.
///
/// # Errors
/// As [`Attestor::open_chain`]; nothing is written.
pub(crate) fn chain_length(job: &Job) -> Result<usize, Failure> {
    let folder = job.chain.as_ref().map(|chain| Folder::existing(&chain.location)).transpose()?.flatten();
    folder.map_or(Ok(0), |folder| Ok(read_chain(&folder)?.links().count()))
}

/// Creates a link, and returns whether it got its number.
///
/// # Errors
/// Errors of the store; [`JsonError`](crate::json::JsonError).
pub(crate) fn claim_link(folder: &Folder, link: &Link) -> Result<bool, Failure> {
    Ok(folder.claim(&layout::link(link.number), &link.to_json_bytes()?)?)
}

/// Reads a chain and checks that it is intact.
///
/// # Errors
/// `chain_broken`, or errors of the store.
pub(crate) fn read_chain(folder: &Folder) -> Result<Chain, Failure> {
    let chain = Chain::read(folder)?;
    match chain.flaws().as_slice() {
        [] => Ok(chain),
        [flaw, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            let at = folder.location();
            Err(Failure::new(
                ErrorCode::ChainBroken,
                format!(
                    "{at}: {} {}{more}; packages are not linked to a broken chain; inspect it with `kt-export verify --chain {at}`",
                    flaw.name, flaw.message
                ),
            ))
        }
    }
}

/// The last link of a job and its manifest, if that manifest was never published and still can be.
fn unpublished_link(
    chain: &Chain,
    package: &Folder,
    job: &str,
    last: Option<&Entry>,
) -> Result<Option<(Linked, Manifest)>, RunError> {
    let Some(linked) = chain.last_of(job) else { return Ok(None) };
    let digest = &linked.link.manifest_sha256;
    let published = last.and_then(|last| last.manifest.as_ref());
    if published.is_some_and(|published| published.sha256 == *digest) {
        return Ok(None);
    }
    if let Some(last) = last
        && log::was_published(package, last, digest)?
    {
        return Ok(None);
    }
    let kept = package.read(&kept_manifest(digest))?.filter(|bytes| sha256(bytes) == *digest);
    match (kept, published) {
        (Some(bytes), _) => {
            let unreadable = |error| Failure::of(ErrorCode::PackageDamaged, &error);
            let manifest = Manifest::from_json(&bytes).map_err(unreadable)?;
            if names_garbage(package, last, &manifest)? {
                tracing::warn!(
                    "link {} of the chain belongs to this job, but another run's manifest ended its generation; the \
                     package gets another link",
                    linked.link.number
                );
                return Ok(None);
            }
            Ok(Some((linked.clone(), manifest)))
        }
        (None, None) => {
            tracing::warn!(
                "link {} of the chain belongs to this job, but its manifest is gone; the new package gets \
                 another link",
                linked.link.number
            );
            Ok(None)
        }
        (None, Some(_)) => Err(RunError::Failed(Failure::new(
            ErrorCode::ChainBroken,
            format!(
                "{MANIFEST} in {} is not the one that link {} names, and there is no copy of that one: it was replaced; \
                 restore the manifest with the SHA-256 {digest}",
                package.location(),
                linked.link.number
            ),
        ))),
    }
}

/// Whether a manifest that is not in the log names files that other runs may remove: the published manifest ended their
/// generation and does not name them, or they belong to a job that was replaced.
fn names_garbage(package: &Folder, last: Option<&Entry>, manifest: &Manifest) -> Result<bool, RunError> {
    let Some(last) = last else { return Ok(false) };
    let published = published_manifest(package, last)?;
    let listed: BTreeSet<&str> =
        published.iter().flat_map(|published| published.manifest.digests()).map(|(name, _)| name).collect();
    let ended = last.manifest.as_ref().map_or(0, |published| published.generation);
    Ok(manifest.digests().any(|(name, _)| {
        let generation = generation_of(name);
        generation < last.first_generation || (generation <= ended && !listed.contains(name))
    }))
}

/// Publishes a manifest of this job that is linked but not yet in the log, because its run crashed or is slow. Does not
/// read the chain if the job is complete.
///
/// # Errors
/// `chain_broken`, or errors of the store.
pub(crate) fn publish_linked(
    job: &Job,
    options: &RunOptions,
    package: &Folder,
    signer: Option<&Signer>,
) -> Result<(), RunError> {
    let Some(folder) = job.chain.as_ref().map(|chain| Folder::existing(&chain.location)).transpose()?.flatten() else {
        return Ok(());
    };
    let Some(last) = log::read(package)? else { return Ok(()) };
    if last.job != job.id || !last.is_open() {
        return Ok(());
    }
    let Some((linked, manifest)) = unpublished_link(&read_chain(&folder)?, package, &job.id, Some(&last))? else {
        return Ok(());
    };
    tracing::info!("publishing the manifest of link {}", linked.link.number);
    let digest = linked.link.manifest_sha256.clone();
    let mut entry = last.manifest(&options.run_id, (options.clock)(), digest, manifest.status);
    sign(&entry.name(), &mut entry, signer)?;
    #[expect(clippy::let_underscore_must_use, reason = "if another run was faster, it published the same bytes")]
    let _ = log::append(package, &entry)?;
    Ok(())
}

/// Copies the stored signature of the published manifest beside it. It replaces a signature by another key or of another
/// manifest. If none is stored, an existing signature stays.
///
/// # Errors
/// Errors of the store.
pub(crate) fn update_signature(package: &Folder, manifest: &Manifest, bytes: &[u8]) -> Result<(), StoreError> {
    let Some(signer) = &manifest.signer else { return Ok(()) };
    let is_good = |signature: &[u8]| {
        signature::check(signature, bytes).is_ok_and(|key| signature::is_named(&signer.public_key, &key))
    };
    let existing = package.read(SIGNATURE)?;
    if existing.as_deref().is_some_and(is_good) {
        return Ok(());
    }
    match package.read(&kept_signature(&sha256(bytes)))? {
        Some(kept) if is_good(&kept) => package.replace_bytes(SIGNATURE, &kept),
        _ => {
            let state = if existing.is_some() { "is not that of the manifest" } else { "is not there" };
            tracing::warn!(
                "{SIGNATURE} {state}, and only the run that makes a manifest signs it: restore it from a copy, or \
                 check the package and sign it by hand with `ssh-keygen -Y sign -n {} -f KEY {MANIFEST}`",
                signature::NAMESPACE
            );
            Ok(())
        }
    }
}
