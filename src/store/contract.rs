//! The simulated in-memory store passes the contract in `tests/suite/store_contract`, so that results of the simulation apply
//! to the other stores. Only unit tests can reach this store, so they compile the contract again.
//!
//! The store has no retry layer. A failed operation, whether it fails before or after its effect, returns an error and has
//! its whole effect or none; a stale listing affects no other operation.

#[path = "../../tests/suite/store_contract/promises.rs"]
mod promises;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Folder;
use super::simulated::{Odds, World, mount};
use crate::stop::Stop;

const PACKAGE: &str = "evidence/package";

/// A package in memory, and the memory itself.
struct Rig {
    folder: Folder,
    world: Arc<World>,
    /// An empty folder whose path names the store.
    root: tempfile::TempDir,
    odds: Odds,
}

impl Rig {
    fn memory() -> Self {
        Self::with_odds(Odds::default())
    }

    fn memory_with_faults() -> Self {
        Self::with_odds(Odds { fail: 4, ..Odds::default() })
    }

    fn memory_with_stale_lists() -> Self {
        Self::with_odds(Odds { stale: 2, ..Odds::default() })
    }

    fn with_odds(odds: Odds) -> Self {
        let root = tempfile::tempdir().unwrap();
        let world = World::new(1, odds, 1, true, |_, _| None, false);
        world.revive(0, Stop::default());
        mount(root.path(), &world, 0);
        let folder = Folder::open(root.path().join(PACKAGE)).unwrap();
        Self { folder, world, root, odds }
    }

    fn folder_at(&self, key: &str) -> Folder {
        Folder::open(self.root.path().join(key)).unwrap()
    }

    fn is_local(&self) -> bool {
        false
    }

    fn may_fail(&self) -> bool {
        self.odds.fail > 0
    }

    fn has_stale_lists(&self) -> bool {
        self.odds.stale > 0
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.world.tamper(key, Some(bytes));
    }

    fn keys(&self) -> Vec<String> {
        self.world.names("")
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let below = format!("{PACKAGE}/");
        let file = |key: &String| Some((key.strip_prefix(&below)?.to_owned(), self.world.file(key)?.to_vec()));
        self.keys().iter().filter_map(file).collect()
    }

    /// Drafts are in the memory of their run only.
    fn unfinished(&self) -> Vec<String> {
        Vec::new()
    }

    fn begin_upload(&self, _key: &str) {}

    fn set_page_size(&self, _entries: usize) {}
}

/// A test for each promise of the in-memory store; the integration tests have those of the other stores.
macro_rules! kept {
    (@ $promise:ident memory) => {
        $crate::store::contract::kept! { @ test $promise memory }
    };
    (@ $promise:ident memory_with_faults) => {
        $crate::store::contract::kept! { @ test $promise memory_with_faults }
    };
    (@ $promise:ident memory_with_stale_lists) => {
        $crate::store::contract::kept! { @ test $promise memory_with_stale_lists }
    };
    (@ $promise:ident $store:ident) => {
        const _: fn(&$crate::store::contract::Rig) = super::$promise;
    };
    (@ test $promise:ident $store:ident) => {
        #[test]
        fn $store() {
            super::$promise(&$crate::store::contract::Rig::$store());
        }
    };
    ($($promise:ident: $($store:ident)+),+ $(,)?) => {
        $(mod $promise {
            $($crate::store::contract::kept! { @ $promise $store })+
        })+
    };
}

use kept;

/// `length` bytes without repeated blocks.
fn bytes_of(length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length.div_ceil(8) as u64).flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    bytes
}
