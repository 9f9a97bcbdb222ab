//! Schedules the plan's tasks on the worker threads, and commits their results.
//!
//! Workers read and encode; committers publish and record, behind a bounded queue. Tasks without partitions run first,
//! because the rows that they find may belong to partitions of other tasks. A failure fails only the partitions that may
//! need what failed; with `on_partition_error: stop`, it also ends the run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::adopt;
use super::attempt::Attempt;
use super::commit::{self, PartitionCommit};
use super::conservation::filter_counts;
use super::memory::Quota;
use super::open_package::OpenPackage;
use super::partition_sink::FinishedPartition;
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
pub(super) struct Tally {
    /// Why partitions failed, by partition index.
    pub failures: BTreeMap<u32, Failure>,
    /// Records of tasks whose rows are accounted for, by task index.
    pub records: BTreeMap<usize, TaskRecord>,
    /// Why the record of a task that read all its rows could not be created, by task index.
    pub record_failures: BTreeMap<usize, Failure>,
}

/// A task with unresolved partitions or without a record.
struct PendingTask<'a> {
    /// Index in the plan.
    index: usize,
    /// See [`task_key`].
    key: String,
    task: &'a Task,
    /// Encoded bytes that the task reads.
    encoded_bytes: u64,
}

/// State shared by the committer threads and the result handler.
struct Committer<'a> {
    job: &'a Job,
    options: &'a RunOptions,
    plan: &'a Plan,
    folder: &'a Folder,
    /// The generation that this run commits in.
    generation: u32,
    /// Signs records, if the job signs.
    signer: Option<Arc<Signer>>,
    /// In a repair, the manifest whose files are restored; nothing is committed then.
    repair_manifest: Option<Manifest>,
    /// Inputs that were expected and are missing.
    missing_sources: &'a [MissingSource],
    /// The tasks to run, by index in the plan.
    pending: BTreeMap<usize, &'a PendingTask<'a>>,
    /// Set by a signal, or by the first failure under `on_partition_error: stop`; workers then take no more items.
    stop: Stop,
    package: Mutex<&'a mut OpenPackage>,
    tally: Mutex<Tally>,
    /// Unplaced rows of tasks without partitions. Kept here because the second phase needs them before the committers have
    /// recorded those tasks.
    unplaced: Mutex<Vec<Unplaced>>,
}

/// Runs every unfinished task.
///
/// # Errors
/// [`RunError::Failed`] if a record cannot be read or threads cannot be started. Failed partitions are in the [`Tally`].
pub(super) fn run(
    source: &dyn Source,
    job: &Job,
    options: &RunOptions,
    package: &mut OpenPackage,
    attempt: &Attempt,
) -> Result<Tally, RunError> {
    let Attempt { prepared, secrets, .. } = attempt;
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
        let is_resolved = |p: u32| package.committed.contains_key(&p) || tally.failures.contains_key(&p);
        match package.tasks.get(&index) {
            Some(record) if task.partitions.clone().all(is_resolved) => {
                tally.records.insert(index, record.clone());
            }
            // A recorded task with unresolved partitions runs again; its counts must match its record.
            _ => pending.push(PendingTask { index, key, task, encoded_bytes: encoded_bytes(&pinned, task) }),
        }
    }
    let progress = &options.progress;
    progress.planned_bytes.store(pending.iter().map(|t| t.encoded_bytes).sum(), Ordering::Relaxed);
    progress.partitions.store(plan.partitions.len() as u64, Ordering::Relaxed);
    progress.committed_partitions.store(package.committed.len() as u64, Ordering::Relaxed);
    progress.failed_partitions.store(tally.failures.len() as u64, Ordering::Relaxed);
    // Tasks that write no partition come first, because the rows they find may belong to partitions of other tasks. The
    // rest are ordered by size, largest first, so that the run does not end with one worker on the largest task.
    pending.sort_by_key(|t| (!t.task.partitions.is_empty(), std::cmp::Reverse(t.encoded_bytes), t.index));
    let (without_partitions, writing) = pending.split_at(pending.partition_point(|t| t.task.partitions.is_empty()));
    let stop = options.stop.part();
    // Put the run's id into names if the store cannot create names exclusively, or if encryption is randomized, so that two
    // runs never have the same bytes.
    let is_run_in_names = !folder.has_exclusive_names() || secrets.sealing.is_random();
    let origin = Origin { generation: package.generation(), run: is_run_in_names.then(|| options.run_id.clone()) };
    let layout = Layout::new(job, attempt, options.clock.clone(), origin);
    let read_quota = Quota::new(options.memory.for_reading());
    let sort_quota = Quota::new(options.memory.for_partitions());
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
        redacting: prepared.redactor.as_ref().map(|redactor| Redacting { redactor, keys: &secrets.keys }),
        bounds: bounds(&plan.partitions, prepared.unit),
        times: prepared.times.clone(),
        read_quota: &read_quota,
        sort_quota: &sort_quota,
        memory: options.memory,
        max_backlog_bytes: usize::try_from(options.memory.for_waiting()).unwrap_or(usize::MAX),
        stop: &stop,
        progress,
    };
    let committer = Committer {
        job,
        options,
        plan,
        folder: &folder,
        generation: package.generation(),
        signer: package.attestor.shared_signer(),
        repair_manifest: package.previous_manifest().filter(|_| package.is_repair).cloned(),
        missing_sources: &pinned.missing,
        pending: pending.iter().map(|t| (t.index, t)).collect(),
        stop: stop.clone(),
        package: Mutex::new(package),
        unplaced: Mutex::new(recorded_unplaced(plan, &tally)),
        tally: Mutex::new(tally),
    };
    // Recorded tasks do not run again, so apply their unplaced rows here.
    let recorded: Vec<_> = lock(&committer.tally).records.values().flat_map(|record| record.unplaced.clone()).collect();
    committer.fail_affected(&recorded);
    let (sender, queue) = sync_channel(COMMIT_QUEUE_CAPACITY);
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        for i in 0..options.committers {
            let thread = std::thread::Builder::new().name(format!("commit-{i}"));
            thread.spawn_scoped(scope, || committer.commit_all(&queue)).map_err(|e| Failure::internal(&e))?;
        }
        // Dropped when this closure returns: the committers then drain the queue and exit, and the scope joins them.
        let sender = (options.committers > 0).then_some(sender);
        let results = CommitQueue { committer: &committer, sender };
        for phase in [without_partitions, writing] {
            let tasks: Vec<_> = phase.iter().map(|pending| results.prepare(&context, pending)).collect();
            workers::for_each_item(options.threads, &tasks, &committer.stop).map_err(|e| Failure::internal(&e))?;
        }
        Ok::<(), Failure>(())
    })?;
    let Committer { package, tally, .. } = committer;
    let package = package.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    adopt_concurrent(job, package, &options.run_id, &pending, &mut tally)?;
    Ok(tally)
}

/// Adopts records that concurrent runs created where this run failed. A partition is adopted only if every task that
/// accounts for its rows has a record; without one, the manifest could not balance.
fn adopt_concurrent(
    job: &Job,
    package: &mut OpenPackage,
    run: &str,
    pending: &[PendingTask<'_>],
    tally: &mut Tally,
) -> Result<(), RunError> {
    if package.is_repair {
        return Ok(());
    }
    for task in pending {
        if tally.records.contains_key(&task.index) {
            continue;
        }
        let name = task_record(&task.key, package.generation());
        let record: Option<TaskRecord> = load(&package.folder, &name)?;
        // A record of this run, whose write failed, may not be durable.
        let record = record.filter(|r| r.job == job.id && r.run != run);
        if let Some(record) = record.filter(|r| is_proven(&name, r, package.attestor.signer()))
            && rejects_are_intact(&package.folder, &record)?
        {
            tally.records.insert(task.index, record);
            tally.record_failures.remove(&task.index);
        }
    }
    let unrecorded = pending.iter().filter(|task| !tally.records.contains_key(&task.index));
    let without_record: BTreeSet<u32> =
        unrecorded.flat_map(|task| affected_partitions(&package.pinned.plan, task.task)).collect();
    for index in tally.failures.keys().copied().filter(|p| !without_record.contains(p)).collect::<Vec<_>>() {
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
fn encoded_bytes(pinned: &Pinned, task: &Task) -> u64 {
    task.reads.iter().filter_map(|read| pinned.plan.unit(read)).map(|unit| unit.bytes).sum()
}

/// Whether the rejects file that a record names is unchanged; true if it names none. If not, the record does not count.
fn rejects_are_intact(folder: &Folder, record: &TaskRecord) -> Result<bool, StoreError> {
    let Some(rejects) = &record.rejects else { return Ok(true) };
    Ok(folder.sha256(&rejects.path)?.as_deref() == Some(&rejects.sha256))
}

/// Checks the task record of the run that was first against this run's.
fn check_winner(
    folder: &Folder,
    name: &str,
    winner: &TaskRecord,
    ours: &TaskRecord,
    signer: Option<&Signer>,
) -> Result<(), Failure> {
    let reject = |code, what: &str| Err(Failure::new(code, format!("{name}, written by another run, {what}")));
    if !is_proven(name, winner, signer) {
        return reject(ErrorCode::KeyUnusable, "is not signed by this job's key; run again to count its rows again");
    }
    if winner.counts != ours.counts {
        return reject(ErrorCode::PackageDamaged, "has other row counts than this run");
    }
    if !rejects_are_intact(folder, winner)? {
        return reject(ErrorCode::PackageDamaged, "names a rejects file that is missing or changed");
    }
    Ok(())
}

/// Hands results to the committer threads, so that workers wait for the store only while the queue is full.
struct CommitQueue<'s, 'a> {
    committer: &'s Committer<'a>,
    /// `None` if workers commit.
    sender: Option<SyncSender<CommitRequest>>,
}

/// A result to be made durable.
enum CommitRequest {
    /// Commits a partition.
    Partition {
        /// Index of its task.
        task: usize,
        finished: FinishedPartition,
        /// Why it is partial; `None` if it is complete.
        partial_reason: Option<Failure>,
    },
    /// Creates the record of a task, by index.
    Task(usize, TaskOutcome),
}

impl CommitQueue<'_, '_> {
    fn prepare<'t>(&'t self, context: &'t TaskContext<'t>, pending: &'t PendingTask<'t>) -> RunningTask<'t, Self> {
        RunningTask::new(context, pending.index, pending.task, &pending.key, self, |p| self.committer.is_resolved(p))
    }

    fn hand_over(&self, request: CommitRequest) {
        match &self.sender {
            Some(sender) => {
                #[expect(clippy::let_underscore_must_use, reason = "committers outlive the workers")]
                let _ = sender.send(request);
            }
            None => self.committer.handle(request),
        }
    }
}

impl ResultHandler for CommitQueue<'_, '_> {
    fn partition(&self, task: usize, finished: FinishedPartition, partial_reason: Option<Failure>) {
        self.hand_over(CommitRequest::Partition { task, finished, partial_reason });
    }

    fn task(&self, task: usize, outcome: TaskOutcome) {
        if self.committer.pending[&task].task.partitions.is_empty() {
            // Apply these now and not in the committer, which may still be busy when the next phase starts.
            self.committer.fail_affected(&outcome.unplaced);
            lock(&self.committer.unplaced).extend(outcome.unplaced.iter().cloned());
        }
        // Otherwise the failures are already in the tally, and the task stays without a record.
        if outcome.is_complete {
            self.hand_over(CommitRequest::Task(task, outcome));
        }
    }

    fn count_failed(&self, partition: u32, failure: &Failure) {
        lock(&self.committer.package).committed.remove(&partition);
        self.committer.fail_one(partition, failure);
    }

    fn read_failed(&self, read: &Read, failure: Failure) {
        tracing::warn!("{}: {}", failure.code(), failure);
        for partition in self.committer.plan.affected_partitions(read.input, read.unit) {
            self.committer.fail_one(partition, &failure);
        }
    }

    fn failed(&self, task: usize, failure: Failure) {
        tracing::warn!("{}: {}", failure.code(), failure);
        self.committer.fail(self.committer.pending[&task].task, &failure);
    }
}

impl Committer<'_> {
    /// Whether a partition is committed or failed.
    fn is_resolved(&self, partition: u32) -> bool {
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

    /// Carries out a request. A panic fails its partition, or the partitions of its task.
    fn handle(&self, request: CommitRequest) {
        let (task, partition) = match &request {
            CommitRequest::Partition { task, finished, .. } => (*task, Some(finished.partition)),
            CommitRequest::Task(task, _) => (*task, None),
        };
        let result = workers::catch_panic(|| match request {
            CommitRequest::Partition { task, finished, partial_reason } => self.commit(task, finished, partial_reason),
            CommitRequest::Task(task, outcome) => self.record(task, outcome),
        });
        if let Err(panic) = result {
            let failure = Failure::internal(&panic);
            match partition {
                Some(partition) => self.fail_one(partition, &failure),
                None => self.fail(self.pending[&task].task, &failure),
            }
        }
    }

    /// Creates the record of a task.
    fn record(&self, task: usize, outcome: TaskOutcome) {
        match self.try_record(task, outcome) {
            Ok(record) => {
                lock(&self.tally).records.insert(task, record);
            }
            Err(failure) => {
                tracing::warn!("{}: {}", failure.code(), failure);
                lock(&self.tally).record_failures.insert(task, failure);
            }
        }
    }

    fn try_record(&self, task: usize, outcome: TaskOutcome) -> Result<TaskRecord, Failure> {
        let TaskOutcome { counts, unplaced, rejects, .. } = outcome;
        let name = task_record(&self.pending[&task].key, self.generation);
        let run = &self.options.run_id;
        let record = |rejects| TaskRecord {
            state_version: STATE_VERSION,
            job: self.job.id.clone(),
            run: run.clone(),
            tool_version: TOOL_VERSION.to_owned(),
            counts,
            unplaced,
            rejects,
            signature: None,
        };
        if let Some(manifest) = &self.repair_manifest {
            rejects.map_or(Ok(()), |part| commit::restore_rejects(self.folder, manifest, part))?;
            // A repair creates no record; the tally only needs the counts.
            return Ok(record(None));
        }
        let rejects = rejects.map(|part| commit::publish_rejects(self.folder, part, run)).transpose()?;
        let mut record = record(rejects.as_ref().map(|rejects| rejects.entry.clone()));
        sign(&name, &mut record, self.signer.as_deref())?;
        if self.folder.create_bytes(&name, &bytes(&name, &record)?)? == Created::Created {
            return Ok(record);
        }
        // Another run was first. Its rejects count; this run's are removed unless they are the same file.
        let winner: Option<TaskRecord> = load(self.folder, &name)?;
        let Some(winner) = winner.filter(|winner| winner.job == record.job) else {
            let message = format!("{name} was written for another job; run again");
            return Err(Failure::new(ErrorCode::PackageOccupied, message));
        };
        if let Some(ours) = rejects.filter(|ours| ours.is_new)
            && winner.rejects.as_ref().is_none_or(|rejects| rejects.path != ours.entry.path)
        {
            self.folder.remove(&ours.entry.path)?;
        }
        check_winner(self.folder, &name, &winner, &record, self.signer.as_deref())?;
        Ok(winner)
    }

    fn commit(&self, task: usize, finished: FinishedPartition, partial_reason: Option<Failure>) {
        let FinishedPartition { partition: index, filtered, redacted, parts } = finished;
        // The whole task may have failed while this partition was in the queue.
        if self.is_resolved(index) {
            return;
        }
        let partition = &self.plan.partitions[index as usize];
        let (attempts, inputs) = {
            let package = lock(&self.package);
            (package.earlier_attempts(&partition.label) + 1, package.pinned.inputs[index as usize].clone())
        };
        if let Some(manifest) = &self.repair_manifest {
            let restored = parts.and_then(|parts| commit::restore(self.folder, manifest, &partition.label, parts));
            match restored {
                // The partition is committed already; this only moves the progress display.
                Ok(()) => Progress::add(&self.options.progress.committed_partitions, 1),
                Err(failure) => self.fail_one(index, &failure),
            }
            return;
        }
        let partial_reason = partial_reason.or_else(|| self.partial_reason_elsewhere(index));
        let committed = parts.and_then(|parts| {
            let request = PartitionCommit {
                job: &self.job.id,
                run: &self.options.run_id,
                generation: self.generation,
                partition,
                inputs: &inputs,
                filter_counts: filter_counts(self.job, &filtered),
                redacted: &redacted,
                attempts,
                partial_reason: partial_reason.as_ref(),
                signer: self.signer.as_deref(),
                at: (self.options.clock)(),
            };
            commit::commit_partition(self.folder, &request, parts)
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
    fn partial_reason_elsewhere(&self, partition: u32) -> Option<Failure> {
        let rejected = lock(&self.unplaced).iter().filter(|u| u.allowed).find_map(|u| u.of(partition));
        rejected.or_else(|| {
            let missing = self.missing_sources.iter().find(|source| source.partitions.contains(&partition))?;
            Some(missing.failure.clone())
        })
    }

    /// Fails a task: the partitions that it writes, or, if it writes none, those that its rows may belong to.
    fn fail(&self, task: &Task, failure: &Failure) {
        for partition in affected_partitions(self.plan, task) {
            self.fail_one(partition, failure);
        }
    }

    /// Fails a partition unless it is committed; a later failure replaces an earlier one. Ends the run under
    /// `on_partition_error: stop`.
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

/// Unplaced rows of the recorded tasks without partitions.
fn recorded_unplaced(plan: &Plan, tally: &Tally) -> Vec<Unplaced> {
    let records = tally.records.iter().filter(|(index, _)| plan.tasks[**index].partitions.is_empty());
    records.flat_map(|(_, record)| record.unplaced.clone()).collect()
}

/// Locks a mutex even after a panic. No code that can panic halfway through a change runs under any of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::diagnostic::Located;
    use crate::package::manifest::RejectsEntry;
    use crate::package::state::TaskCounts;
    use crate::secret::SecretName;

    #[test]
    fn a_task_record_of_another_run_must_be_signed_and_have_the_same_counts_and_rejects() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path().join("package")).unwrap();
        let ours = TaskRecord {
            state_version: STATE_VERSION,
            job: "job_a".to_owned(),
            run: "run".to_owned(),
            tool_version: TOOL_VERSION.to_owned(),
            counts: TaskCounts { source_rows: 2, ..TaskCounts::default() },
            unplaced: Vec::new(),
            rejects: None,
            signature: None,
        };
        let refused = |winner: &TaskRecord, signer: Option<&Signer>| {
            let failure = check_winner(&folder, "record.json", winner, &ours, signer).unwrap_err();
            (failure.code(), failure.to_string())
        };
        let text = |what: &str| format!("record.json, written by another run, {what}");

        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signatures/ed25519");
        let key = SecretName::File { written: Located::default_value("key".to_owned()), path };
        let signer = Signer::load(&key, "evidence@example.com", &BTreeMap::new()).unwrap();
        let unsigned = text("is not signed by this job's key; run again to count its rows again");
        assert_eq!(refused(&ours, Some(&signer)), (ErrorCode::KeyUnusable, unsigned));

        let other_counts = TaskRecord { counts: TaskCounts::default(), ..ours.clone() };
        let counts = text("has other row counts than this run");
        assert_eq!(refused(&other_counts, None), (ErrorCode::PackageDamaged, counts));

        let rejects = RejectsEntry {
            path: "rejects/a.ndjson".to_owned(),
            rows: 1,
            bytes: 1,
            sha256: "0".repeat(64),
            plain_bytes: None,
            plain_sha256: None,
            sealed: None,
        };
        let lost_rejects = TaskRecord { rejects: Some(rejects), ..ours.clone() };
        let rejects = text("names a rejects file that is missing or changed");
        assert_eq!(refused(&lost_rejects, None), (ErrorCode::PackageDamaged, rejects));
        assert!(check_winner(&folder, "record.json", &ours, &ours, None).is_ok());
    }
}
