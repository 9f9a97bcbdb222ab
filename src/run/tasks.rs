//! The plan's tasks on the workers: what is committed is skipped, what fails fails alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::adopt;
use super::commit::{self, Commit, commit};
use super::conservation::filter_counts;
use super::lane::Finished;
use super::memory::Quota;
use super::pin::Package;
use super::prepare::Prepared;
use super::redacted::Redacting;
use super::route::bounds;
use super::shard::Layout;
use super::task::{Receiver, RunningTask, TaskContext, TaskOutcome};
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
use crate::stop::Stop;
use crate::store::{Created, Folder, StoreError};

/// Finished partitions that wait for one of them; each is an open file.
const QUEUED: usize = 64;

/// What became of the tasks.
#[derive(Debug, Default)]
pub struct Tally {
    /// Why partitions of this run have no shard.
    pub failures: BTreeMap<u32, Failure>,
    /// Tasks whose rows are accounted for, by index.
    pub records: BTreeMap<usize, TaskRecord>,
    /// Why the rows of tasks are not accounted for, though all of them were read.
    pub unrecorded: BTreeMap<usize, Failure>,
}

/// One task with what the workers need to know of it.
struct Todo<'a> {
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
    /// The plan's.
    generation: u32,
    /// Signs records, where the job signs.
    signer: Option<Arc<Signer>>,
    /// The manifest of a package under repair.
    repaired: Option<Manifest>,
    missing: &'a [MissingSource],
    /// Those that are run, by index in the plan.
    todo: BTreeMap<usize, &'a Todo<'a>>,
    /// Stops taking tasks: a signal, or the first failure under `on_partition_error: stop`.
    stop: Stop,
    package: Mutex<&'a mut Package>,
    tally: Mutex<Tally>,
    /// What tasks without partitions left out. It is here before their records are, which take their time.
    strays: Mutex<Vec<Unplaced>>,
}

/// Runs every task that is not done.
///
/// # Errors
/// The store's while looking for records; failing tasks are in the [`Tally`].
pub fn run(
    job: &Job,
    options: &RunOptions,
    package: &mut Package,
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
    let mut todo = Vec::new();
    for (index, task) in plan.tasks.iter().enumerate() {
        let key = task_key(task, &pinned.files, &plan.partitions);
        let done = |p: &u32| package.committed.contains_key(p) || tally.failures.contains_key(p);
        match package.tasks.get(&index) {
            Some(record) if task.partitions.clone().all(|p| done(&p)) => {
                tally.records.insert(index, record.clone());
            }
            _ => todo.push(Todo { index, key, task, bytes: task_bytes(&pinned, task) }),
        }
    }
    let progress = &options.progress;
    progress.planned_bytes.store(todo.iter().map(|t| t.bytes).sum(), Ordering::Relaxed);
    progress.partitions.store(plan.partitions.len() as u64, Ordering::Relaxed);
    progress.committed_partitions.store(package.committed.len() as u64, Ordering::Relaxed);
    progress.failed_partitions.store(tally.failures.len() as u64, Ordering::Relaxed);
    // Largest first, so that the last worker is not left alone with the largest; but before all the tasks that write
    // nothing, because what they find may concern partitions of others.
    todo.sort_by_key(|t| (!t.task.partitions.is_empty(), std::cmp::Reverse(t.bytes), t.index));
    let strays = todo.partition_point(|t| t.task.partitions.is_empty());
    let stop = options.stop.part();
    // Where nobody can replace a name, or bytes differ from run to run, no two runs may write the same one.
    let named_by_run = !folder.has_exclusive_names() || prepared.sealing.is_random();
    let run = named_by_run.then(|| options.run_id.clone());
    let layout = Layout::new(job, prepared, options.clock.clone(), Origin { generation: package.generation(), run });
    let reading = Quota::new(options.memory.for_reading());
    let sorting = Quota::new(options.memory.for_partitions());
    let context = TaskContext {
        job,
        plan,
        files: &pinned.files,
        hive_keys: &pinned.hive_keys,
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
        signer: package.notary.shared_signer(),
        repaired: package.previous_manifest().filter(|_| package.is_repair).cloned(),
        missing: &pinned.missing,
        todo: todo.iter().map(|t| (t.index, t)).collect(),
        stop: stop.clone(),
        package: Mutex::new(package),
        strays: Mutex::new(strays_of(plan, &tally)),
        tally: Mutex::new(tally),
    };
    let found_earlier: Vec<Unplaced> = lock(&shared.tally).records.values().flat_map(|r| r.unplaced.clone()).collect();
    shared.fail_concerned(&found_earlier);
    let (commits, queue) = sync_channel(QUEUED);
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        for i in 0..options.committers {
            let committer = std::thread::Builder::new().name(format!("commit-{i}"));
            committer.spawn_scoped(scope, || shared.commit_all(&queue)).map_err(|e| Failure::internal(&e))?;
        }
        // Dropped at the end of the scope, which ends the queue.
        let commits = (options.committers > 0).then_some(commits);
        let receiver = ToCommitters { shared: &shared, commits };
        for phase in [&todo[..strays], &todo[strays..]] {
            let tasks: Vec<_> = phase.iter().map(|todo| receiver.start(&context, todo)).collect();
            workers::for_each_part(options.threads, &tasks, &shared.stop).map_err(|e| Failure::internal(&e))?;
        }
        Ok::<(), Failure>(())
    })?;
    let Shared { package, tally, .. } = shared;
    let package = package.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    adopt(job, package, &options.run_id, &todo, &mut tally)?;
    Ok(tally)
}

/// What this run could not do, another one may have done meanwhile; then its records count. A partition is adopted with
/// the records of all tasks that its rows are accounted for by, or not at all: its shards alone do not say how many rows
/// of the source they were made from.
fn adopt(job: &Job, package: &mut Package, run: &str, todo: &[Todo<'_>], tally: &mut Tally) -> Result<(), RunError> {
    if package.is_repair {
        return Ok(());
    }
    for todo in todo.iter().filter(|todo| !tally.records.contains_key(&todo.index)).collect::<Vec<_>>() {
        let name = task_record(&todo.key, package.generation());
        let record: Option<TaskRecord> = load(&package.folder, &name)?;
        let record = record.filter(|r| r.job == job.id && r.run != run);
        if let Some(record) = record.filter(|r| is_proven(&name, r, package.notary.signer()))
            && has_rejects(&package.folder, &record)?
        {
            tally.records.insert(todo.index, record);
            tally.unrecorded.remove(&todo.index);
        }
    }
    let unrecorded = todo.iter().filter(|todo| !tally.records.contains_key(&todo.index));
    let unaccounted: BTreeSet<u32> = unrecorded.flat_map(|todo| concerned(&package.pinned.plan, todo.task)).collect();
    for index in tally.failures.keys().copied().filter(|p| !unaccounted.contains(p)).collect::<Vec<_>>() {
        if let Some(record) = adopt::of_another_run(package, run, index)? {
            package.committed.insert(index, record);
            tally.failures.remove(&index);
        }
    }
    Ok(())
}

/// The partitions that a task writes, or, if it writes none, all that its rows may belong to.
fn concerned(plan: &Plan, task: &Task) -> BTreeSet<u32> {
    if task.partitions.is_empty() {
        task.reads.iter().flat_map(|read| plan.concerned(read.file, read.unit)).collect()
    } else {
        task.partitions.clone().collect()
    }
}

/// Encoded bytes that a task reads.
fn task_bytes(pinned: &Pinned, task: &Task) -> u64 {
    task.reads.iter().map(|r| pinned.plan.files[r.file as usize].units[r.unit as usize].bytes).sum()
}

/// A record whose rejects file is gone does not stand.
fn has_rejects(folder: &Folder, record: &TaskRecord) -> Result<bool, StoreError> {
    let Some(rejects) = &record.rejects else { return Ok(true) };
    Ok(folder.sha256(&rejects.path)?.as_deref() == Some(&rejects.sha256))
}

/// Hands finished partitions to the threads that make them durable, so that no worker waits for a disk.
struct ToCommitters<'s, 'a> {
    shared: &'s Shared<'a>,
    /// None where workers commit.
    commits: Option<SyncSender<Commission>>,
}

/// What is to be made durable.
enum Commission {
    /// A partition of a task; why it is partial, if it is.
    Partition(usize, Finished, Option<Failure>),
    /// That the rows of a task are accounted for.
    Task(usize, TaskOutcome),
}

impl ToCommitters<'_, '_> {
    fn start<'t>(&'t self, context: &'t TaskContext<'t>, todo: &'t Todo<'t>) -> RunningTask<'t, Self> {
        RunningTask::new(context, todo.index, todo.task, &todo.key, self, |p| self.shared.is_done(p))
    }
}

impl ToCommitters<'_, '_> {
    fn hand_over(&self, commission: Commission) {
        match &self.commits {
            // The queue ends after the workers.
            Some(commits) => drop(commits.send(commission)),
            None => self.shared.work_on(commission),
        }
    }
}

impl Receiver for ToCommitters<'_, '_> {
    fn partition(&self, task: usize, finished: Finished, left_out: Option<Failure>) {
        self.hand_over(Commission::Partition(task, finished, left_out));
    }

    fn task(&self, task: usize, outcome: TaskOutcome) {
        if self.shared.todo[&task].task.partitions.is_empty() {
            // At once: the tasks that come next ask for it.
            self.shared.fail_concerned(&outcome.unplaced);
            lock(&self.shared.strays).extend(outcome.unplaced.iter().cloned());
        }
        if outcome.is_whole {
            self.hand_over(Commission::Task(task, outcome));
        }
    }

    fn unaccounted(&self, partition: u32, failure: &Failure) {
        lock(&self.shared.package).committed.remove(&partition);
        self.shared.fail_one(partition, failure);
    }

    fn read_failed(&self, read: &Read, failure: Failure) {
        tracing::warn!("{}: {}", failure.code, failure.message);
        for partition in self.shared.plan.concerned(read.file, read.unit) {
            self.shared.fail_one(partition, &failure);
        }
    }

    fn failed(&self, task: usize, failure: Failure) {
        tracing::warn!("{}: {}", failure.code, failure.message);
        self.shared.fail(self.shared.todo[&task].task, &failure);
    }
}

impl Shared<'_> {
    fn is_done(&self, partition: u32) -> bool {
        lock(&self.package).committed.contains_key(&partition) || lock(&self.tally).failures.contains_key(&partition)
    }

    /// Works off the queue until it ends.
    fn commit_all(&self, queue: &Mutex<std::sync::mpsc::Receiver<Commission>>) {
        loop {
            let next = lock(queue).recv();
            let Ok(commission) = next else { break };
            self.work_on(commission);
        }
    }

    fn work_on(&self, commission: Commission) {
        let (task, partition) = match &commission {
            Commission::Partition(task, finished, _) => (*task, Some(finished.partition)),
            Commission::Task(task, _) => (*task, None),
        };
        let done = workers::caught(|| match commission {
            Commission::Partition(task, finished, left_out) => self.commit(task, finished, left_out),
            Commission::Task(task, outcome) => self.record(task, outcome),
        });
        if let Err(panic) = done {
            let message = format!("a committing thread panicked: {panic}; this is a bug");
            let failure = Failure { code: ErrorCode::Internal, message };
            match partition {
                Some(partition) => self.fail_one(partition, &failure),
                None => self.fail(self.todo[&task].task, &failure),
            }
        }
    }

    /// All rows of a task are accounted for.
    fn record(&self, task: usize, outcome: TaskOutcome) {
        match self.try_record(task, outcome) {
            Ok(record) => {
                lock(&self.tally).records.insert(task, record);
            }
            Err(failure) => {
                tracing::warn!("{}: {}", failure.code, failure.message);
                lock(&self.tally).unrecorded.insert(task, failure);
            }
        }
    }

    fn try_record(&self, task: usize, outcome: TaskOutcome) -> Result<TaskRecord, Failure> {
        let TaskOutcome { counts, unplaced, rejects, .. } = outcome;
        let name = task_record(&self.todo[&task].key, self.generation);
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
        // Another run was first. Its rejects count, and this run's go unless they are the same file.
        let theirs: Option<TaskRecord> = load(self.folder, &name)?;
        let Some(theirs) = theirs.filter(|theirs| theirs.job == record.job) else {
            let message = format!("{name} was written by somebody else; run again");
            return Err(Failure { code: ErrorCode::PackageOccupied, message });
        };
        if let Some((ours, true)) = rejects
            && theirs.rejects.as_ref().is_none_or(|theirs| theirs.path != ours.path)
        {
            self.folder.remove(&ours.path)?;
        }
        if theirs.counts != record.counts || !is_proven(&name, &theirs, self.signer.as_deref()) {
            let message =
                format!("{name}, written by another run, is not what this run counted, or not signed by its key");
            return Err(Failure { code: ErrorCode::PackageDamaged, message });
        }
        if !has_rejects(self.folder, &theirs)? {
            let message = format!("{name}, written by another run, names rejects that are not there as they were");
            return Err(Failure { code: ErrorCode::PackageDamaged, message });
        }
        Ok(theirs)
    }

    fn commit(&self, task: usize, finished: Finished, left_out: Option<Failure>) {
        let Finished { partition: index, filtered, redacted, parts } = finished;
        // Its task may have failed meanwhile for a reason that concerns all of it.
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
                tracing::warn!(task, "{}: {}", failure.code, failure.message);
                self.fail_one(index, &failure);
            }
        }
    }

    /// Rows that a task without partitions met, and that may belong to the partitions of others.
    fn fail_concerned(&self, unplaced: &[Unplaced]) {
        for rows in unplaced.iter().filter(|u| !u.allowed) {
            for partition in rows.partitions.clone() {
                if let Some(failure) = rows.of(partition) {
                    self.fail_one(partition, &failure);
                }
            }
        }
    }

    /// What the tasks without partitions left out may belong to any other's, and a file that is missing is read by none.
    fn left_out_elsewhere(&self, partition: u32) -> Option<Failure> {
        let stray = lock(&self.strays).iter().filter(|u| u.allowed).find_map(|u| u.of(partition));
        let missing = || self.missing.iter().find(|missing| missing.partitions.contains(&partition));
        stray.or_else(|| missing().map(|missing| missing.failure.clone()))
    }

    /// A task fails: all partitions that it was to write, or, if it has none of its own, all that its rows concern.
    fn fail(&self, task: &Task, failure: &Failure) {
        for partition in concerned(self.plan, task) {
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

/// What the tasks without partitions that are recorded left out.
fn strays_of(plan: &Plan, tally: &Tally) -> Vec<Unplaced> {
    let strays = tally.records.iter().filter(|(index, _)| plan.tasks[**index].partitions.is_empty());
    strays.flat_map(|(_, record)| record.unplaced.clone()).collect()
}

/// A panic of another worker leaves nothing half-changed behind these locks: each holds for one insertion.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
