//! Schedules the plan's tasks on the worker threads, and commits their results.
//!
//! Committed partitions are skipped. A failure affects only the partitions that it may concern.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::adopt;
use super::commit::{self, Commit, commit};
use super::conservation::filter_counts;
use super::memory::Quota;
use super::open_package::OpenPackage;
use super::partition_sink::FinishedPartition;
use super::prepare::Prepared;
use super::redacted::Redacting;
use super::route::bounds;
use super::shard::Layout;
use super::task::{ResultHandler, RunningTask, TaskContext, TaskOutcome};
use super::{RunError, RunOptions, workers};
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::{Job, OnPartitionError};
use crate::package::layout::{Origin, task_record};
use crate::package::manifest::Manifest;
use crate::package::state::{
    MissingSource, Pinned, STATE_VERSION, TOOL_VERSION, TaskRecord, Unplaced, bytes, is_proven, load, sign,
};
use crate::plan::{Plan, Read, Task};
use crate::progress::Progress;
use crate::redact::Keys;
use crate::run::inputs::task_key;
use crate::signature::Signer;
use crate::source::Source;
use crate::stop::Stop;
use crate::store::{Created, Folder, StoreError};

/// Capacity of the commit queue, in partitions and task records. It bounds the open files: each partition in the queue
/// keeps its drafts open.
const COMMIT_QUEUE_CAPACITY: usize = 64;

/// The combined results of the tasks.
#[derive(Debug, Default)]
pub struct Tally {
    /// Failed partitions, by index.
    pub failures: BTreeMap<u32, Failure>,
    /// Records of tasks whose rows are accounted for, by index.
    pub records: BTreeMap<usize, TaskRecord>,
    /// Tasks that read all their rows but could not write their record, by index.
    pub unrecorded: BTreeMap<usize, Failure>,
}

/// A task to run.
struct PendingTask<'a> {
    index: usize,
    key: String,
    task: &'a Task,
    bytes: u64,
}

struct Shared<'a> {
    job: &'a Job,
    options: &'a RunOptions,
    plan: &'a Plan,
    folder: &'a Folder,
    /// The generation that this run commits in.
    generation: u32,
    /// Signs records, if the job signs.
    signer: Option<Arc<Signer>>,
    /// The manifest of a package under repair.
    repaired: Option<Manifest>,
    missing: &'a [MissingSource],
    /// The tasks to run, by index in the plan.
    pending: BTreeMap<usize, &'a PendingTask<'a>>,
    /// Stops taking tasks: a signal, or the first failure under `on_partition_error: stop`.
    stop: Stop,
    package: Mutex<&'a mut OpenPackage>,
    tally: Mutex<Tally>,
    /// Rows found by tasks without partitions, which may belong to any other task's partitions. Kept here because their
    /// records are written later.
    unassigned: Mutex<Vec<Unplaced>>,
}

/// Runs every unfinished task.
///
/// # Errors
/// [`RunError::Failed`] if a record cannot be read or threads cannot be started. Failed partitions are in the [`Tally`].
pub fn run(
    source: &dyn Source,
    job: &Job,
    options: &RunOptions,
    package: &mut OpenPackage,
    prepared: &Prepared,
    keys: &Keys,
) -> Result<Tally, RunError> {
    let pinned = package.pinned.clone();
    let folder = package.folder.clone();
    let plan = &pinned.plan;
    let mut tally = Tally::default();
    for (index, failure) in (0u32..).zip(&pinned.failures) {
        if let Some(failure) = failure.as_ref().filter(|_| !package.committed.contains_key(&index)) {
            tally.failures.insert(index, failure.clone());
        }
    }
    let mut pending = Vec::new();
    for (index, task) in plan.tasks.iter().enumerate() {
        let key = task_key(task, plan);
        let done = |p: &u32| package.committed.contains_key(p) || tally.failures.contains_key(p);
        match package.tasks.get(&index) {
            Some(record) if task.partitions.clone().all(|p| done(&p)) => {
                tally.records.insert(index, record.clone());
            }
            _ => pending.push(PendingTask { index, key, task, bytes: task_bytes(&pinned, task) }),
        }
    }
    let progress = &options.progress;
    progress.planned_bytes.store(pending.iter().map(|t| t.bytes).sum(), Ordering::Relaxed);
    progress.partitions.store(plan.partitions.len() as u64, Ordering::Relaxed);
    progress.committed_partitions.store(package.committed.len() as u64, Ordering::Relaxed);
    progress.failed_partitions.store(tally.failures.len() as u64, Ordering::Relaxed);
    // Tasks that write no partition come first, because the rows they find may belong to partitions of other tasks. The
    // rest are ordered by size, largest first, so that the run does not end with one worker on the largest task.
    pending.sort_by_key(|t| (!t.task.partitions.is_empty(), std::cmp::Reverse(t.bytes), t.index));
    let first_writing = pending.partition_point(|t| t.task.partitions.is_empty());
    let stop = options.stop.part();
    // Two runs must not write the same name if the store cannot create names exclusively, or if their bytes differ.
    let named_by_run = !folder.has_exclusive_names() || prepared.sealing.is_random();
    let run = named_by_run.then(|| options.run_id.clone());
    let layout = Layout::new(job, prepared, options.clock.clone(), Origin { generation: package.generation(), run });
    let reading = Quota::new(options.memory.for_reading());
    let sorting = Quota::new(options.memory.for_partitions());
    let context = TaskContext {
        job,
        plan,
        source,
        constants: &pinned.constants,
        folder: &folder,
        predicate: prepared.predicate.as_ref(),
        read_schema: prepared.read_schema.clone(),
        projection: prepared.projection.clone(),
        layout: Arc::new(layout),
        shard_schema: prepared.output_schema.clone(),
        redacting: prepared.redactor.as_ref().map(|redactor| Redacting { redactor, keys }),
        bounds: bounds(&plan.partitions, prepared.unit),
        times: prepared.times.clone(),
        reading: &reading,
        sorting: &sorting,
        memory: options.memory,
        waiting_bytes: usize::try_from(options.memory.for_waiting()).unwrap_or(usize::MAX),
        stop: &stop,
        progress,
    };
    let shared = Shared {
        job,
        options,
        plan,
        folder: &folder,
        generation: package.generation(),
        signer: package.attestor.shared_signer(),
        repaired: package.previous_manifest().filter(|_| package.is_repair).cloned(),
        missing: &pinned.missing,
        pending: pending.iter().map(|t| (t.index, t)).collect(),
        stop: stop.clone(),
        package: Mutex::new(package),
        unassigned: Mutex::new(unassigned_rows(plan, &tally)),
        tally: Mutex::new(tally),
    };
    // Recorded tasks do not run again, so apply their unplaced rows here.
    let recorded = lock(&shared.tally).records.values().flat_map(|record| record.unplaced.clone()).collect::<Vec<_>>();
    shared.fail_affected(&recorded);
    let (commits, queue) = sync_channel(COMMIT_QUEUE_CAPACITY);
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        for i in 0..options.committers {
            let committer = std::thread::Builder::new().name(format!("commit-{i}"));
            committer.spawn_scoped(scope, || shared.commit_all(&queue)).map_err(|e| Failure::internal(&e))?;
        }
        // Dropped at the end of the scope, which closes the queue.
        let commits = (options.committers > 0).then_some(commits);
        let results = CommitQueue { shared: &shared, commits };
        for phase in [&pending[..first_writing], &pending[first_writing..]] {
            let tasks: Vec<_> = phase.iter().map(|pending| results.start(&context, pending)).collect();
            workers::for_each_item(options.threads, &tasks, &shared.stop).map_err(|e| Failure::internal(&e))?;
        }
        Ok::<(), Failure>(())
    })?;
    let Shared { package, tally, .. } = shared;
    let package = package.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    adopt(job, package, &options.run_id, &pending, &mut tally)?;
    Ok(tally)
}

/// Adopts what other runs have committed in the meantime and this run could not. A partition is adopted only together with
/// the records of all tasks that account for its rows, because its shards do not show how many source rows they were made
/// from.
fn adopt(
    job: &Job,
    package: &mut OpenPackage,
    run: &str,
    pending: &[PendingTask<'_>],
    tally: &mut Tally,
) -> Result<(), RunError> {
    if package.is_repair {
        return Ok(());
    }
    for pending in pending.iter().filter(|pending| !tally.records.contains_key(&pending.index)).collect::<Vec<_>>() {
        let name = task_record(&pending.key, package.generation());
        let record: Option<TaskRecord> = load(&package.folder, &name)?;
        let record = record.filter(|r| r.job == job.id && r.run != run);
        if let Some(record) = record.filter(|r| is_proven(&name, r, package.attestor.signer()))
            && has_rejects(&package.folder, &record)?
        {
            tally.records.insert(pending.index, record);
            tally.unrecorded.remove(&pending.index);
        }
    }
    let unrecorded = pending.iter().filter(|pending| !tally.records.contains_key(&pending.index));
    let unaccounted: BTreeSet<u32> =
        unrecorded.flat_map(|pending| affected_partitions(&package.pinned.plan, pending.task)).collect();
    for index in tally.failures.keys().copied().filter(|p| !unaccounted.contains(p)).collect::<Vec<_>>() {
        if let Some(record) = adopt::of_another_run(package, run, index)? {
            package.committed.insert(index, record);
            tally.failures.remove(&index);
        }
    }
    Ok(())
}

/// The partitions that a task writes, or, if it writes none, those that its rows may belong to.
fn affected_partitions(plan: &Plan, task: &Task) -> BTreeSet<u32> {
    if task.partitions.is_empty() {
        task.reads.iter().flat_map(|read| plan.affected_partitions(read.input, read.unit)).collect()
    } else {
        task.partitions.clone().collect()
    }
}

/// Encoded bytes that a task reads.
fn task_bytes(pinned: &Pinned, task: &Task) -> u64 {
    task.reads.iter().filter_map(|read| pinned.plan.unit(read)).map(|unit| unit.bytes).sum()
}

/// Whether the rejects file of a record is intact. If not, the record does not count.
fn has_rejects(folder: &Folder, record: &TaskRecord) -> Result<bool, StoreError> {
    let Some(rejects) = &record.rejects else { return Ok(true) };
    Ok(folder.sha256(&rejects.path)?.as_deref() == Some(&rejects.sha256))
}

/// Hands results to the committer threads, so that workers wait for the store only while the queue is full.
struct CommitQueue<'s, 'a> {
    shared: &'s Shared<'a>,
    /// `None` if workers commit.
    commits: Option<SyncSender<CommitRequest>>,
}

/// A result to be made durable.
enum CommitRequest {
    /// A partition of a task, and why it is partial, if it is.
    Partition(usize, FinishedPartition, Option<Failure>),
    /// The record of a task.
    Task(usize, TaskOutcome),
}

impl CommitQueue<'_, '_> {
    fn start<'t>(&'t self, context: &'t TaskContext<'t>, pending: &'t PendingTask<'t>) -> RunningTask<'t, Self> {
        RunningTask::new(context, pending.index, pending.task, &pending.key, self, |p| self.shared.is_done(p))
    }
}

impl CommitQueue<'_, '_> {
    fn hand_over(&self, request: CommitRequest) {
        match &self.commits {
            // Committers outlive the workers, so sending cannot fail.
            Some(commits) => drop(commits.send(request)),
            None => self.shared.handle(request),
        }
    }
}

impl ResultHandler for CommitQueue<'_, '_> {
    fn partition(&self, task: usize, finished: FinishedPartition, left_out: Option<Failure>) {
        self.hand_over(CommitRequest::Partition(task, finished, left_out));
    }

    fn task(&self, task: usize, outcome: TaskOutcome) {
        if self.shared.pending[&task].task.partitions.is_empty() {
            // Before the record is written: the next phase's tasks need it.
            self.shared.fail_affected(&outcome.unplaced);
            lock(&self.shared.unassigned).extend(outcome.unplaced.iter().cloned());
        }
        if outcome.is_complete {
            self.hand_over(CommitRequest::Task(task, outcome));
        }
    }

    fn count_failed(&self, partition: u32, failure: &Failure) {
        lock(&self.shared.package).committed.remove(&partition);
        self.shared.fail_one(partition, failure);
    }

    fn read_failed(&self, read: &Read, failure: Failure) {
        tracing::warn!("{}: {}", failure.code(), failure);
        for partition in self.shared.plan.affected_partitions(read.input, read.unit) {
            self.shared.fail_one(partition, &failure);
        }
    }

    fn failed(&self, task: usize, failure: Failure) {
        tracing::warn!("{}: {}", failure.code(), failure);
        self.shared.fail(self.shared.pending[&task].task, &failure);
    }
}

impl Shared<'_> {
    fn is_done(&self, partition: u32) -> bool {
        lock(&self.package).committed.contains_key(&partition) || lock(&self.tally).failures.contains_key(&partition)
    }

    /// Handles requests until the queue is closed.
    fn commit_all(&self, queue: &Mutex<std::sync::mpsc::Receiver<CommitRequest>>) {
        loop {
            let next = lock(queue).recv();
            let Ok(request) = next else { break };
            self.handle(request);
        }
    }

    fn handle(&self, request: CommitRequest) {
        let (task, partition) = match &request {
            CommitRequest::Partition(task, finished, _) => (*task, Some(finished.partition)),
            CommitRequest::Task(task, _) => (*task, None),
        };
        let done = workers::catch_panic(|| match request {
            CommitRequest::Partition(task, finished, left_out) => self.commit(task, finished, left_out),
            CommitRequest::Task(task, outcome) => self.record(task, outcome),
        });
        if let Err(panic) = done {
            let message = format!("a committing thread panicked: {panic}; this is a bug");
            let failure = Failure::new(ErrorCode::Internal, message);
            match partition {
                Some(partition) => self.fail_one(partition, &failure),
                None => self.fail(self.pending[&task].task, &failure),
            }
        }
    }

    /// Writes the record of a task.
    fn record(&self, task: usize, outcome: TaskOutcome) {
        match self.try_record(task, outcome) {
            Ok(record) => {
                lock(&self.tally).records.insert(task, record);
            }
            Err(failure) => {
                tracing::warn!("{}: {}", failure.code(), failure);
                lock(&self.tally).unrecorded.insert(task, failure);
            }
        }
    }

    fn try_record(&self, task: usize, outcome: TaskOutcome) -> Result<TaskRecord, Failure> {
        let TaskOutcome { counts, unplaced, rejects, .. } = outcome;
        let name = task_record(&self.pending[&task].key, self.generation);
        let run = &self.options.run_id;
        let mut record = TaskRecord {
            state_version: STATE_VERSION,
            job: self.job.id.clone(),
            run: run.clone(),
            tool_version: TOOL_VERSION.to_owned(),
            counts,
            unplaced,
            rejects: None,
            signature: None,
        };
        if let Some(manifest) = &self.repaired {
            rejects.map_or(Ok(()), |part| commit::restore_rejects(self.folder, manifest, part))?;
            return Ok(record);
        }
        let rejects = rejects.map(|part| commit::rejects(self.folder, part, run)).transpose()?;
        record.rejects = rejects.as_ref().map(|(entry, _)| entry.clone());
        sign(&name, &mut record, self.signer.as_deref())?;
        if self.folder.create_bytes(&name, &bytes(&name, &record)?)? == Created::Created {
            return Ok(record);
        }
        // Another run was first. Its rejects count; this run's are removed unless they are the same file.
        let theirs: Option<TaskRecord> = load(self.folder, &name)?;
        let Some(theirs) = theirs.filter(|theirs| theirs.job == record.job) else {
            let message = format!("{name} was written for another job; run again");
            return Err(Failure::new(ErrorCode::PackageOccupied, message));
        };
        if let Some((ours, true)) = rejects
            && theirs.rejects.as_ref().is_none_or(|theirs| theirs.path != ours.path)
        {
            self.folder.remove(&ours.path)?;
        }
        if theirs.counts != record.counts || !is_proven(&name, &theirs, self.signer.as_deref()) {
            let message = format!(
                "{name}, written by another run, does not match this run's row counts or is not signed by its key"
            );
            return Err(Failure::new(ErrorCode::PackageDamaged, message));
        }
        if !has_rejects(self.folder, &theirs)? {
            let message = format!("{name}, written by another run, names a rejects file that is missing or changed");
            return Err(Failure::new(ErrorCode::PackageDamaged, message));
        }
        Ok(theirs)
    }

    fn commit(&self, task: usize, finished: FinishedPartition, left_out: Option<Failure>) {
        let FinishedPartition { partition: index, filtered, redacted, parts } = finished;
        // Its task may have failed as a whole in the meantime.
        if self.is_done(index) {
            return;
        }
        let partition = &self.plan.partitions[index as usize];
        let (attempts, inputs) = {
            let package = lock(&self.package);
            (package.earlier_attempts(&partition.label) + 1, package.pinned.inputs[index as usize].clone())
        };
        if let Some(manifest) = &self.repaired {
            let restored = parts.and_then(|parts| commit::restore(self.folder, manifest, &partition.label, parts));
            match restored {
                Ok(()) => Progress::add(&self.options.progress.committed_partitions, 1),
                Err(failure) => self.fail_one(index, &failure),
            }
            return;
        }
        let left_out = left_out.or_else(|| self.left_out_elsewhere(index));
        let committed = parts.and_then(|parts| {
            let record = Commit {
                job: &self.job.id,
                run: &self.options.run_id,
                generation: self.generation,
                partition,
                inputs: &inputs,
                filter_counts: filter_counts(self.job, &filtered),
                redacted: &redacted,
                attempts,
                left_out: left_out.as_ref(),
                signer: self.signer.as_deref(),
                at: (self.options.clock)(),
            };
            commit(self.folder, &record, parts)
        });
        match committed {
            Ok(record) => {
                lock(&self.package).committed.insert(index, record);
                Progress::add(&self.options.progress.committed_partitions, 1);
            }
            Err(failure) => {
                tracing::warn!(task, "{}: {}", failure.code(), failure);
                self.fail_one(index, &failure);
            }
        }
    }

    /// Fails every partition that unplaced rows may belong to, unless the spec allows rejecting them.
    fn fail_affected(&self, unplaced: &[Unplaced]) {
        for rows in unplaced.iter().filter(|u| !u.allowed) {
            for partition in rows.partitions.clone() {
                if let Some(failure) = rows.of(partition) {
                    self.fail_one(partition, &failure);
                }
            }
        }
    }

    /// Why a partition is partial for a reason outside its own task: rows that a task without partitions rejected, or a
    /// missing source file.
    fn left_out_elsewhere(&self, partition: u32) -> Option<Failure> {
        let rejected = lock(&self.unassigned).iter().filter(|u| u.allowed).find_map(|u| u.of(partition));
        let missing = || self.missing.iter().find(|missing| missing.partitions.contains(&partition));
        rejected.or_else(|| missing().map(|missing| missing.failure.clone()))
    }

    /// Fails a task: the partitions that it writes, or, if it writes none, those that its rows may belong to.
    fn fail(&self, task: &Task, failure: &Failure) {
        for partition in affected_partitions(self.plan, task) {
            self.fail_one(partition, failure);
        }
    }

    fn fail_one(&self, partition: u32, failure: &Failure) {
        if lock(&self.package).committed.contains_key(&partition) {
            return;
        }
        let first = lock(&self.tally).failures.insert(partition, failure.clone()).is_none();
        if first {
            Progress::add(&self.options.progress.failed_partitions, 1);
        }
        if self.job.on_partition_error == OnPartitionError::Stop {
            self.stop.halt();
        }
    }
}

/// Rows found by recorded tasks without partitions.
fn unassigned_rows(plan: &Plan, tally: &Tally) -> Vec<Unplaced> {
    let scans = tally.records.iter().filter(|(index, _)| plan.tasks[**index].partitions.is_empty());
    scans.flat_map(|(_, record)| record.unplaced.clone()).collect()
}

/// Locks a mutex even after a panic. No code that can panic halfway through a change runs under any of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
