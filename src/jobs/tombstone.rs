//! Writes a package's tombstone, before any shard is deleted.
//!
//! A tombstone has the same proof as the package: a signature by the key that the job's spec names now if the package is
//! signed, and a link if it is chained. If that is impossible nothing is deleted, because a package whose shards are missing
//! without proof never verifies again. As with a manifest, the link is binding: the tombstone is stored in
//! `_state/tombstones/` before the link with its digest is created, so that any run that finds the link can publish exactly
//! these bytes.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::chain::{Chain, Link};
use crate::digest::sha256;
use crate::error::ErrorCode;
use crate::failure::{Failure, chain};
use crate::job::Job;
use crate::package::layout::{MANIFEST, TOMBSTONE, TOMBSTONE_SIGNATURE, kept_signature, kept_tombstone};
use crate::package::manifest::{LinkRecord, Manifest, TOMBSTONE_VERSION, Tombstone};
use crate::package::tombstone;
use crate::run::attestor::{claim_link, read_chain};
use crate::signature::Signer;
use crate::store::{Folder, StoreError};

/// Attempts to get a number in the chain before giving up.
const LINK_TRIES: usize = 100;

/// A package whose shards are to be deleted.
pub(crate) struct Deletion<'a> {
    pub package: &'a Folder,
    pub manifest: &'a Manifest,
    pub manifest_sha256: &'a str,
    /// The job, for the keys and the chain that its spec names.
    pub job: &'a dyn Fn() -> Result<Job, Failure>,
    /// The current time.
    pub now: Timestamp,
    /// Environment variables; the spec may name some that hold keys.
    pub env: &'a BTreeMap<String, String>,
}

impl Deletion<'_> {
    /// Writes the tombstone, unless there is a valid one.
    ///
    /// # Errors
    /// `key_unusable` or `chain_broken` if the tombstone cannot be signed or linked, or the store's.
    pub(super) fn announce(&self, files: u64, bytes: u64) -> Result<(), Failure> {
        let there = tombstone::read(self.package, self.manifest, self.manifest_sha256, self.now)?;
        if there.is_some_and(|there| there.believed().is_some()) {
            return Ok(());
        }
        let expires_at = self.manifest.expires_at.ok_or_else(|| {
            Failure::new(ErrorCode::Internal, format!("{MANIFEST} in {} has no `expires_at`", self.package.location()))
        })?;
        let job = match (&self.manifest.signer, &self.manifest.link) {
            (None, None) => None,
            _ => Some((self.job)()?),
        };
        let signer = job.as_ref().map(|job| self.signer(job)).transpose()?.flatten();
        let tombstone = Tombstone {
            tombstone_version: TOMBSTONE_VERSION,
            id: self.manifest.id.clone(),
            manifest_sha256: self.manifest_sha256.to_owned(),
            expires_at,
            pruned_at: self.now,
            files,
            bytes,
            link: None,
            signer: signer.as_ref().map(Signer::record),
        };
        match job.zip(self.manifest.link.as_ref()) {
            Some((job, own)) => self.link(&job, own, tombstone, signer.as_ref()),
            None => {
                let bytes = tombstone.to_json_bytes()?;
                let signature = signer.map(|signer| signer.sign(&bytes)).transpose().map_err(Failure::from)?;
                self.publish(&bytes, signature.as_deref().map(str::as_bytes))?;
                Ok(())
            }
        }
    }

    /// Checks that the tombstone can be signed and linked. Writes nothing.
    ///
    /// # Errors
    /// As [`Deletion::announce`].
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.manifest.signer.is_some() || self.manifest.link.is_some() {
            let job = (self.job)()?;
            self.signer(&job)?;
            if let Some(own) = &self.manifest.link {
                read_chain(&self.chain(&job, own)?)?;
            }
        }
        Ok(())
    }

    fn signer(&self, job: &Job) -> Result<Option<Signer>, Failure> {
        let Some(of_package) = &self.manifest.signer else { return Ok(None) };
        let unusable = |message| Failure::new(ErrorCode::KeyUnusable, message);
        let signing = job.signing.as_ref().filter(|signing| signing.identity.value == of_package.identity);
        let signing = signing.ok_or_else(|| {
            unusable(format!(
                "the package is signed by {}, and the spec in the job's record names no key of that identity: create the job \
                 from the spec that signs",
                of_package.identity
            ))
        })?;
        let signer = Signer::load(&signing.key, &signing.identity.value, self.env).map_err(|error| {
            let why = chain(&error);
            unusable(format!(
                "the package is signed, so its deletion has to be signed as well, and the key cannot be used: {why}; you may \
                 replace it with another key"
            ))
        })?;
        Ok(Some(signer))
    }

    fn chain(&self, job: &Job, own: &LinkRecord) -> Result<Folder, Failure> {
        let folder = job.chain.as_ref().map(|chain| Folder::existing(&chain.location)).transpose()?.flatten();
        folder.ok_or_else(|| {
            let message = format!(
                "the package is link {} of a chain, so its deletion has to be linked as well, and the chain is not where \
                 the spec in the job's record says: restore it",
                own.number
            );
            Failure::new(ErrorCode::ChainBroken, message)
        })
    }

    /// Links and publishes the tombstone, or publishes one that an earlier, crashed attempt has linked.
    fn link(
        &self,
        job: &Job,
        own: &LinkRecord,
        mut tombstone: Tombstone,
        signer: Option<&Signer>,
    ) -> Result<(), Failure> {
        let broken = |message| Failure::new(ErrorCode::ChainBroken, message);
        let folder = self.chain(job, own)?;
        for _ in 0..LINK_TRIES {
            let chain = read_chain(&folder)?;
            let own = chain.last_of(&self.manifest.id);
            if own.is_none_or(|own| own.link.manifest_sha256 != self.manifest_sha256) {
                return Err(broken(format!(
                    "{MANIFEST} is not the one that the last link of the job in {} names: inspect it with `kt-export verify \
                     --chain {}`",
                    folder.location(),
                    folder.location()
                )));
            }
            if self.publish_linked(&chain)? {
                return Ok(());
            }
            let head = chain.head();
            let number = head.map_or(1, |head| head.link.number.saturating_add(1));
            tombstone.link = Some(LinkRecord { number, previous_sha256: head.map(|head| head.sha256.clone()) });
            let bytes = tombstone.to_json_bytes()?;
            let digest = sha256(&bytes);
            let signature = signer.map(|signer| signer.sign(&bytes)).transpose().map_err(Failure::from)?;
            if let Some(signature) = &signature {
                self.package.replace_bytes(&kept_signature(&digest), signature.as_bytes())?;
            }
            self.package.replace_bytes(&kept_tombstone(&digest), &bytes)?;
            let Some(link) = Link::of_tombstone(self.manifest, &tombstone, &digest)? else { break };
            if claim_link(&folder, &link)? {
                self.publish(&bytes, signature.as_deref().map(str::as_bytes))?;
                return Ok(());
            }
        }
        Err(broken(format!(
            "another job took the next number of the chain in {} {LINK_TRIES} times: prune again when fewer jobs are running",
            folder.location()
        )))
    }

    /// Publishes a tombstone that is linked but, after a crash, not yet in the package.
    fn publish_linked(&self, chain: &Chain) -> Result<bool, Failure> {
        for linked in chain.deletions_of(self.manifest_sha256) {
            let Some(digest) = &linked.link.tombstone_sha256 else { continue };
            let bytes = self.package.read(&kept_tombstone(digest))?.filter(|bytes| sha256(bytes) == *digest);
            let Some(bytes) = bytes else { continue };
            let signature = self.package.read(&kept_signature(digest))?;
            self.publish(&bytes, signature.as_deref())?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Publishes the signature first, so that there is never a tombstone without it.
    fn publish(&self, bytes: &[u8], signature: Option<&[u8]>) -> Result<(), StoreError> {
        match signature {
            Some(signature) => self.package.replace_bytes(TOMBSTONE_SIGNATURE, signature)?,
            None => self.package.remove(TOMBSTONE_SIGNATURE)?,
        }
        self.package.replace_bytes(TOMBSTONE, bytes)
    }
}
