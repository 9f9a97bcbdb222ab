//! A small job in its own folder, for unit tests of the parts of a run.
//!
//! The source has one file for each of two days, with three rows each; a package has one CSV shard for each day.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::record_batch::RecordBatch;
use jiff::Timestamp;

use super::attempt::{Attempt, Secrets};
use super::attestor::Attestor;
use super::memory::{Memory, Quota};
use super::open_package::OpenPackage;
use super::output_state::{self, OutputState};
use super::prepare::Prepared;
use super::route::bounds;
use super::shard::{Layout, Part};
use super::task::TaskContext;
use super::{RunError, RunOptions, plan_job};
use crate::diagnostic::SourceText;
use crate::digest::sha256;
use crate::job::Job;
use crate::package::layout::Origin;
use crate::package::manifest::FileEntry;
use crate::package::manifest::tests::entry;
use crate::package::state::Pinned;
use crate::resolve::{CatalogText, Destination, Environment, resolve_text};
use crate::signature::Signer;
use crate::source;
use crate::stop::Stop;
use crate::store::simulated::{Odds, World, mount};
use crate::store::{Folder, Location};

pub(super) const DAYS: [&str; 2] = ["2026-03-01", "2026-03-02"];

/// A recipient whose key no test needs.
pub(super) const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

const KEY: &str = include_str!("../../tests/signatures/ed25519");

/// Lines of a spec that sign with the key of [`signer`].
pub(super) const SIGN: &str = "sign: {ssh_key_env: KEY, identity: test@example.com}\n";

pub(super) struct Example {
    pub root: tempfile::TempDir,
    pub job: Job,
}

pub(super) fn now() -> Timestamp {
    "2026-04-01T00:00:00Z".parse().unwrap()
}

pub(super) fn env() -> BTreeMap<String, String> {
    BTreeMap::from([("KEY".to_owned(), KEY.to_owned())])
}

/// Options of a run on one thread, with a clock that stands still.
pub(super) fn options(run: &str) -> RunOptions {
    RunOptions {
        run_id: run.to_owned(),
        threads: 1,
        committers: 0,
        memory: Memory::new(1 << 30),
        repair: false,
        replace: None,
        now: now(),
        clock: Arc::new(now),
        stop: Stop::default(),
        progress: Arc::default(),
        env: Arc::new(env()),
        spec_path: "spec.yaml".to_owned(),
        git: Arc::new(LazyLock::new(Box::new(|| None))),
        supersedes: None,
    }
}

/// The signer of a job with [`SIGN`].
pub(super) fn signer() -> Arc<Signer> {
    let example = Example::new(SIGN);
    Attestor::load(&example.job, &options("run")).unwrap().shared_signer().unwrap()
}

impl Example {
    /// `more` is added to the spec.
    pub(super) fn new(more: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("source")).unwrap();
        let path = |name: &str| root.path().join(name).display().to_string();
        let text = format!(
            "version: 1\nname: example\ntype: ev\nsource: {{uri: {}, format: ndjson}}\ntime: {{column: t}}\n\
             window: {{date_from: {}, date_to: {}}}\npartition: {{by: day}}\nformat: csv\ncompression: none\n\
             output: {{uri: {}}}\n{more}",
            path("source"),
            DAYS[0],
            DAYS[1],
            path("package"),
        );
        let environment = Environment {
            now: now(),
            vars: BTreeMap::new(),
            env: env(),
            current_dir: root.path().to_owned(),
            output_base: Location::from(root.path().to_owned()),
        };
        let source = Arc::new(SourceText { path: root.path().join("spec.yaml"), text });
        let job =
            resolve_text(&source, &CatalogText::Recorded(None), &Destination::OfSpec { revision: 0 }, &environment);
        let example = Self { root, job: job.unwrap() };
        for (index, day) in DAYS.iter().enumerate() {
            let row = |row: usize| format!("{{\"id\":\"{index}{row}\",\"t\":\"{day}T0{row}:00:00Z\"}}\n");
            example.write(day, &(0..3).map(row).collect::<String>());
        }
        example
    }

    /// Writes the source file of a day.
    pub(super) fn write(&self, day: &str, rows: &str) {
        std::fs::write(self.root.path().join("source").join(format!("{day}.ndjson")), rows).unwrap();
    }

    pub(super) fn folder(&self) -> Folder {
        Folder::open(&self.job.output).unwrap()
    }

    /// Opens the package as a run does: pins the plan, or follows the pinned one.
    ///
    /// # Errors
    /// Why a run would refuse it.
    pub(super) fn try_open(&self, options: &RunOptions) -> Result<Option<OpenPackage>, RunError> {
        let attestor = Attestor::load(&self.job, options)?;
        let snapshot = output_state::recover(&self.job, options, attestor.signer())?;
        let pinned = match &snapshot.state {
            OutputState::Pinned(pinned) | OutputState::Repairable(pinned) => pinned.as_ref().clone(),
            _ => self.planned().0,
        };
        OpenPackage::pin(&self.job, self.folder(), &snapshot, &pinned, options, attestor)
    }

    pub(super) fn open(&self, run: &str) -> OpenPackage {
        self.try_open(&options(run)).unwrap().unwrap()
    }

    pub(super) fn planned(&self) -> (Pinned, Prepared) {
        plan_job(&*source::of_job(&self.job), &self.job, &options("run"), now()).unwrap()
    }

    /// Passes the context of a task to `test`, with a quota of `sorting_bytes` for rows to be sorted.
    pub(super) fn with_context<T>(&self, sorting_bytes: u64, test: impl FnOnce(&TaskContext<'_>) -> T) -> T {
        let source = source::of_job(&self.job);
        let secrets = Secrets::read(&self.job, &env()).unwrap();
        let attempt = Attempt::resumed(&self.job, secrets, self.planned().0).unwrap();
        let Attempt { plan: pinned, prepared, .. } = &attempt;
        let options = options("run");
        let (reading, sorting) = (Quota::new(1 << 20), Quota::new(sorting_bytes));
        let origin = Origin { generation: 1, run: None };
        let layout = Layout::new(&self.job, &attempt, options.clock.clone(), origin);
        let folder = self.folder();
        test(&TaskContext {
            job: &self.job,
            plan: &pinned.plan,
            source: &*source,
            constants: &pinned.constants,
            folder: &folder,
            predicate: prepared.predicate.as_ref(),
            read_schema: prepared.read_schema.clone(),
            projection: prepared.projection.clone(),
            layout: Arc::new(layout),
            shard_schema: prepared.output_schema.clone(),
            redacting: None,
            bounds: bounds(&pinned.plan.partitions, prepared.unit),
            times: prepared.times.clone(),
            read_quota: &reading,
            sort_quota: &sorting,
            memory: options.memory,
            max_backlog_bytes: 1 << 20,
            stop: &options.stop,
            progress: &options.progress,
        })
    }
}

/// A batch as the source's reader yields it, from ids and hours of the first day.
pub(super) fn batch(ctx: &TaskContext<'_>, rows: &[(&str, i64)]) -> RecordBatch {
    let columns = ctx.read_schema.fields().iter().map(|field| -> ArrayRef {
        let text: Vec<String> = match field.name().as_str() {
            "id" => rows.iter().map(|(id, _)| (*id).to_owned()).collect(),
            _ => rows.iter().map(|(_, hour)| format!("{}T{hour:02}:00:00Z", DAYS[0])).collect(),
        };
        cast(&StringArray::from(text), field.data_type()).unwrap()
    });
    RecordBatch::try_new(ctx.read_schema.clone(), columns.collect()).unwrap()
}

/// A finished part that has not been published.
pub(super) fn part(folder: &Folder, name: &str, bytes: &[u8]) -> Part {
    let mut draft = folder.begin(name).unwrap();
    std::io::Write::write_all(&mut draft, bytes).unwrap();
    Part {
        name: name.to_owned(),
        draft,
        rows: 3,
        bytes: bytes.len() as u64,
        sha256: sha256(bytes),
        rows_digest: None,
        plain: None,
        sealed: None,
        min_time: None,
        max_time: None,
        started_at: now(),
    }
}

/// Writes a shard of the first day and returns its entry.
pub(super) fn shard(folder: &Folder, name: &str, bytes: &[u8]) -> FileEntry {
    folder.replace_bytes(name, bytes).unwrap();
    let entry = entry(name, DAYS[0], "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
    FileEntry { rows: 3, bytes: bytes.len() as u64, sha256: Some(sha256(bytes)), ..entry }
}

/// Names of all files outside of `_state/`.
pub(super) fn content(folder: &Folder) -> Vec<String> {
    let all = folder.list("").unwrap().into_iter().map(|found| found.name);
    all.filter(|name| !name.starts_with(crate::package::layout::STATE)).collect()
}

/// Number of drafts in a local folder that are neither published nor dropped.
pub(super) fn drafts(folder: &Folder) -> usize {
    let drafts = folder.location().local().unwrap().join(crate::package::layout::DRAFTS);
    std::fs::read_dir(drafts).map_or(0, Iterator::count)
}

/// An empty local folder.
pub(super) fn empty_folder() -> (tempfile::TempDir, Folder) {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::open(root.path().join("package")).unwrap();
    (root, folder)
}

/// An empty folder in memory: `has_exclusive_names` is true for local disks and false for object stores.
pub(super) fn simulated_folder(has_exclusive_names: bool) -> (tempfile::TempDir, Arc<World>, Folder) {
    let root = tempfile::tempdir().unwrap();
    let world = World::new(0, Odds::default(), 1, has_exclusive_names, |_, _| None, false);
    world.revive(0, Stop::default());
    mount(root.path(), &world, 0);
    let folder = Folder::open(root.path().join("package")).unwrap();
    (root, world, folder)
}
