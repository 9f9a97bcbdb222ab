//! What a package needs of a store, as functions over [`Folder`] that each store has to pass: a local folder, S3, S3
//! without conditional writes, Cloud Storage.
//!
//! Clients take their credentials from the environment, as users give them, and a test cannot set variables beside
//! other threads. So each test of an object store runs in a process of its own: the test binary again, told to run
//! that one test, with constant credentials in its environment and the server inside it; the endpoint, which is only
//! known there, goes by [`StoreOptions`].

mod faults;
mod promises;
mod web;

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use kt_export::store::{Folder, Location, StoreOptions};

use crate::gcs_server::GcsServer;
use crate::project::files_below;
use crate::s3_server::{Fault, Request, S3Server};

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

/// A test for each promise and each store that keeps it.
macro_rules! kept {
    ($($promise:ident: $($store:ident)+),+ $(,)?) => {
        $(mod $promise {
            $(#[test]
            fn $store() {
                let test = concat!(module_path!(), "::", stringify!($store));
                $crate::store_contract::in_child(test, || {
                    super::$promise(&$crate::store_contract::Rig::$store());
                });
            })+
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
