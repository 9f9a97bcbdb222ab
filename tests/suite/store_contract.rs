//! What a package needs of a store, as functions over [`Folder`] that each store has to pass: a local folder, S3, S3
//! without conditional writes, Cloud Storage; and S3 and Cloud Storage while one of four requests fails. The in-memory store
//! passes the same contract in `src/store/contract.rs`.
//!
//! Clients take their credentials from the environment, as users give them, and a test cannot set variables beside
//! other threads. So each test of an object store runs in a process of its own: the test binary again, told to run
//! that one test, with constant credentials in its environment and the server inside it; the endpoint, which is only
//! known there, goes by [`StoreOptions`].

mod faults;
mod promises;
mod web;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kt_export::store::{Folder, Location, ObjectLocation, StoreOptions};

use crate::gcs_server::GcsServer;
use crate::project::files_below;
use crate::s3_server::{Fault, Request, S3Server};
use crate::store_single_faults::FAULTS;

/// A package in a store, and the store seen from behind.
struct Rig {
    folder: Folder,
    place: Place,
}

enum Place {
    Local(tempfile::TempDir),
    S3(S3Server),
    Gcs(GcsServer),
}

const PACKAGE: &str = "evidence/package";

fn remote(scheme: &str, endpoint: String, key: &str) -> Location {
    let options = StoreOptions { endpoint: Some(endpoint), ..StoreOptions::default() };
    Location::parse(&format!("{scheme}://bucket/{key}"), &options).unwrap()
}

impl Rig {
    fn local() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path().join(PACKAGE)).unwrap();
        Self { folder, place: Place::Local(root) }
    }

    fn s3() -> Self {
        Self::of(Place::S3(S3Server::start()))
    }

    fn s3_without_conditions() -> Self {
        let server = S3Server::start();
        server.ignore_conditions(true);
        let rig = Self::of(Place::S3(server));
        assert!(!rig.folder.is_exclusive());
        rig
    }

    fn gcs() -> Self {
        Self::of(Place::Gcs(GcsServer::start()))
    }

    fn s3_with_faults() -> Self {
        Self::s3().disturbed()
    }

    fn gcs_with_faults() -> Self {
        Self::gcs().disturbed()
    }

    /// Lets one of sixteen requests fail from now on. One try of an operation makes up to three requests, and eight tries must
    /// not fail by bad luck alone: here the odds of that are below one in ten million.
    fn disturbed(self) -> Self {
        const FAULTY: u64 = 16;
        let asked = AtomicU64::new(0);
        let fault = move |request: &Request| {
            let chance = mixed(asked.fetch_add(1, Ordering::SeqCst));
            let kind = usize::try_from(chance / FAULTY).unwrap() % (FAULTS.len() + 1);
            let fault = FAULTS.get(kind).copied().unwrap_or(Fault::Status(409, "ConditionalRequestConflict"));
            (chance.is_multiple_of(FAULTY) && is_recoverable(fault, request)).then_some(fault)
        };
        match &self.place {
            Place::Local(_) => {}
            Place::S3(server) => server.on_request(fault),
            Place::Gcs(server) => server.on_request(fault),
        }
        self
    }

    /// A store of the same kind, with nothing in it.
    fn another(&self) -> Self {
        match &self.place {
            Place::Local(_) => Self::local(),
            Place::S3(_) => Self::s3(),
            Place::Gcs(_) => Self::gcs(),
        }
    }

    /// The package in a bucket without earlier requests: unused options make it a different client.
    fn unasked_location(&self, number: usize) -> Location {
        let Location::Object(at) = Self::location(&self.place, PACKAGE) else { panic!("not an object store") };
        let options = StoreOptions { account: Some(number.to_string()), ..at.options.clone() };
        Location::from(ObjectLocation { options, ..at.as_ref().clone() })
    }

    fn unasked_folder(&self, number: usize) -> Folder {
        Folder::existing(self.unasked_location(number)).unwrap().unwrap()
    }

    fn is_s3(&self) -> bool {
        matches!(self.place, Place::S3(_))
    }

    fn is_local(&self) -> bool {
        matches!(self.place, Place::Local(_))
    }

    /// Whether an operation may fail. Retries make up for the faults of these stores.
    fn may_fail(&self) -> bool {
        false
    }

    /// Whether a listing may lack the newest names.
    fn has_stale_lists(&self) -> bool {
        false
    }

    /// The files of the package, read without its store. Drafts do not count.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let bytes = |key: &str| match &self.place {
            Place::Local(root) => std::fs::read(root.path().join(key)).unwrap(),
            Place::S3(server) => server.get(key).unwrap(),
            Place::Gcs(server) => server.get(key).unwrap(),
        };
        let inside = |key: &String| Some(key.strip_prefix(PACKAGE)?.strip_prefix('/')?.to_owned());
        let inside = |key: &String| inside(key).filter(|name| !(self.is_local() && name.starts_with("_state/tmp/")));
        self.keys().iter().filter_map(|key| Some((inside(key)?, bytes(key)))).collect()
    }

    fn of(place: Place) -> Self {
        let folder = Folder::open(Self::location(&place, PACKAGE)).unwrap();
        Self { folder, place }
    }

    fn location(place: &Place, key: &str) -> Location {
        match place {
            Place::Local(root) => root.path().join(key).into(),
            Place::S3(server) => remote("s3", server.endpoint(), key),
            Place::Gcs(server) => remote("gs", server.endpoint(), key),
        }
    }

    /// Another folder of the same store.
    fn folder_at(&self, key: &str) -> Folder {
        Folder::open(Self::location(&self.place, key)).unwrap()
    }

    /// Puts bytes somewhere in the store, by a way of its own.
    fn put(&self, key: &str, bytes: &[u8]) {
        match &self.place {
            Place::Local(root) => {
                let path = root.path().join(key);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
            Place::S3(server) => server.put(key, bytes),
            Place::Gcs(server) => server.put(key, bytes),
        }
    }

    /// All keys of the store, whatever they are.
    fn keys(&self) -> Vec<String> {
        match &self.place {
            Place::Local(root) => files_below(root.path()).into_keys().collect(),
            Place::S3(server) => server.keys(""),
            Place::Gcs(server) => server.keys(),
        }
    }

    /// What was begun and neither published nor dropped; here the keys of uploads or the names of temporary files.
    fn unfinished(&self) -> Vec<String> {
        match &self.place {
            Place::Local(root) => files_below(&root.path().join(PACKAGE).join("_state/tmp")).into_keys().collect(),
            Place::S3(server) => server.uploads(),
            Place::Gcs(server) => server.uploads(),
        }
    }

    fn begin_upload(&self, key: &str) {
        match &self.place {
            Place::Local(_) => {}
            Place::S3(server) => server.begin_upload(key),
            Place::Gcs(server) => server.begin_upload(key),
        }
    }

    fn set_page_size(&self, entries: usize) {
        match &self.place {
            Place::Local(_) => {}
            Place::S3(server) => server.set_page_size(entries),
            Place::Gcs(server) => server.set_page_size(entries),
        }
    }

    /// The first so many requests that are asked for go wrong like this.
    fn fail(&self, times: usize, fault: Fault, is_asked: impl Fn(&Request) -> bool + Send + Sync + 'static) {
        let seen = AtomicUsize::new(0);
        let fault = move |request: &Request| {
            (is_asked(request) && seen.fetch_add(1, Ordering::SeqCst) < times).then_some(fault)
        };
        match &self.place {
            Place::Local(_) => {}
            Place::S3(server) => server.on_request(fault),
            Place::Gcs(server) => server.on_request(fault),
        }
    }
}

/// Says that this is the process in which the test takes place.
const CHILD: &str = "KT_EXPORT_STORE_CONTRACT";

/// Runs a test in a process of its own, with the credentials of the servers and no others.
fn in_child(test: &str, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let (_, test) = test.split_once("::").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(CHILD, "1").env("KT_EXPORT_STORE_TIMEOUT", "10");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|cloud| name.starts_with(cloud)) {
            command.env_remove(name);
        }
    }
    let output = command.envs(S3Server::credentials()).envs(GcsServer::environment()).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

/// The finalizer of splitmix64, so that neighbors have nothing in common.
fn mixed(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether a retry makes up for this fault. An upload that is begun twice leaves one behind until the job ends; a conflict is
/// an answer to a write.
fn is_recoverable(fault: Fault, request: &Request) -> bool {
    match fault {
        Fault::LoseReply | Fault::LoseBody | Fault::CutBody(_) | Fault::ShortBody(_) => {
            request.method != "POST" || request.query.contains("uploadId=")
        }
        // The answer does not show that the object still exists.
        Fault::EmptyOk | Fault::ErrorInBody => request.method != "DELETE",
        Fault::Status(409, _) => request.method == "PUT",
        _ => true,
    }
}

/// A test for each promise and each store that keeps it; unit tests have those of the in-memory store.
macro_rules! kept {
    (@ $promise:ident memory) => {};
    (@ $promise:ident memory_with_faults) => {};
    (@ $promise:ident memory_with_stale_lists) => {};
    (@ $promise:ident $store:ident) => {
        #[test]
        fn $store() {
            let test = concat!(module_path!(), "::", stringify!($store));
            $crate::store_contract::in_child(test, || {
                super::$promise(&$crate::store_contract::Rig::$store());
            });
        }
    };
    ($($promise:ident: $($store:ident)+),+ $(,)?) => {
        $(mod $promise {
            $($crate::store_contract::kept! { @ $promise $store })+
        })+
    };
}

use kept;

/// So many bytes, of which no two blocks are the same.
fn bytes_of(length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length.div_ceil(8) as u64).flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    bytes
}
