//! Simulates many concurrent runs of one job in one process, with schedules and faults chosen from a seed.
//!
//! The store, the clock, the schedule and the faults are simulated ([`crate::store::simulated`]); everything else is the
//! real program: plans, readers, encoders, encryption, signatures, chains, the log. During the runs the source changes,
//! shards are damaged, and the job is pruned, replaced, repaired and restated.
//!
//! After each schedule the faults end and the job is run again until it is complete. These invariants must hold then, and
//! during the schedule:
//!
//! - no published file below `data/`, `rejects/` or in the log changes, no file is removed while the current manifest names
//!   it, and no manifest becomes current while one of its files is missing (checked by the simulated store);
//! - the files of a complete package are exactly those that its manifest names, with the listed digests;
//! - every shard has the rows of one version of its part of the source, complete and in order;
//! - `verify` finds nothing;
//! - no run exits with an internal error.
//!
//! `KT_EXPORT_SIMULATE_SEEDS=FROM..TO` runs other seeds, `KT_EXPORT_SIMULATE_TRACE=SEED` shows one, step by
//! step, and `KT_EXPORT_SIMULATE_KEEP=FOLDER` keeps its package.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::example::{self, DAYS, RECIPIENT, env, now};
use super::restate::{self, Next};
use super::{RunError, RunOptions, RunOutcome, run};
use crate::audit::verify::{VerifyOptions, verify};
use crate::diagnostic::SourceText;
use crate::digest::sha256;
use crate::error::Exit;
use crate::job::Job;
use crate::jobs::{Deletion, prune_package};
use crate::package::layout::{LOG, MANIFEST, STATE};
use crate::package::manifest::{FileStatus, JobStatus, Manifest};
use crate::package::state::log;
use crate::resolve::{CatalogText, Destination, Environment, resolve_text};
use crate::signature::AllowedSigners;
use crate::stop::Stop;
use crate::store::simulated::{Before, Change, Dice, Killed, Odds, World, mount};
use crate::store::{Folder, Location};

/// Maximum number of concurrent processes, including one for the checks.
const PROCESSES: usize = 6;
const CHECKER: usize = PROCESSES - 1;

/// Maximum number of runs until the job is complete, after the faults end.
const RERUNS: usize = 10;

/// The settings that a seed chooses for a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Variant {
    is_encrypted: bool,
    is_signed: bool,
    rejects: bool,
    /// The name of the job.
    other: bool,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Run,
    Replace,
    Repair,
    Restate,
    Edit,
    Damage,
    Prune,
}

/// A worker's folders and the jobs that it has resolved.
struct Bench {
    root: PathBuf,
    jobs: BTreeMap<(Variant, usize), Arc<Job>>,
}

impl Bench {
    fn new(worker: usize) -> Self {
        let shared = PathBuf::from("/dev/shm");
        let base = if shared.is_dir() { shared } else { std::env::temp_dir() };
        let root = base.join(format!("kt-export-simulation-{}-{worker}", std::process::id()));
        std::fs::create_dir_all(root.join("source")).unwrap();
        Self { root, jobs: BTreeMap::new() }
    }

    fn place(&self, process: usize) -> PathBuf {
        self.root.join(format!("process-{process}"))
    }

    /// A spec says the same in every process, so that the job is the same.
    fn text(&self, variant: Variant) -> Arc<SourceText> {
        let name = if variant.other { "other" } else { "job" };
        let mut text = format!(
            "version: 1\nname: {name}\ntype: ev\nsource: {{uri: {}, format: ndjson}}\ntime: {{column: t}}\n\
             window: {{date_from: {}, date_to: {}}}\npartition: {{by: day, max_rows: 2}}\nformat: csv\ncompression: none\n\
             output: {{uri: {}, retention: 1h}}\n",
            self.root.join("source").display(),
            DAYS[0],
            DAYS[1],
            self.root.join("package/out").display(),
        );
        if variant.is_encrypted {
            text.push_str(&format!("encryption: {{age: {{recipients: [{RECIPIENT}]}}}}\n"));
        }
        if variant.is_signed {
            let chain = self.root.join("package/chain");
            text.push_str(&format!(
                "sign: {{ssh_key_env: KEY, identity: sim@example.com}}\nchain: {{uri: {}}}\n",
                chain.display()
            ));
        }
        if variant.rejects {
            text.push_str("on_bad_rows: reject\n");
        }
        Arc::new(SourceText { path: self.root.join("spec.yaml"), text })
    }

    fn job(&mut self, variant: Variant, process: usize) -> Arc<Job> {
        if let Some(job) = self.jobs.get(&(variant, process)) {
            return job.clone();
        }
        let job = Arc::new(self.resolve(variant, process, 0));
        self.jobs.insert((variant, process), job.clone());
        job
    }

    fn resolve(&self, variant: Variant, process: usize, revision: u32) -> Job {
        let environment = Environment {
            now: now(),
            vars: BTreeMap::new(),
            env: env(),
            current_dir: self.root.clone(),
            output_base: Location::from(self.root.clone()),
        };
        let text = self.text(variant);
        let place = Destination::OfSpec { revision };
        let mut job = resolve_text(&text, &CatalogText::Recorded(None), &place, &environment).unwrap();
        let seen = |at: &Location| {
            let below = at.local().and_then(|at| at.strip_prefix(self.root.join("package")).ok()).unwrap();
            Location::from(self.place(process).join(below))
        };
        job.output = seen(&job.output);
        if let Some(chain) = &mut job.chain {
            chain.location = seen(&chain.location);
        }
        job
    }

    /// Rows of a day in a version of the source, as a CSV reader sees them.
    fn rows(day: usize, version: u32) -> Vec<String> {
        (0..3 + (version as usize + day) % 3)
            .map(|row| format!("{day}-{row:02},{}T{row:02}:00:00Z,v{version}", DAYS[day]))
            .collect()
    }

    /// Writes a version of a day, always with the same time of change, so that a version that comes back is the same file.
    fn write(&self, day: usize, version: u32, is_broken: bool) {
        let mut text = String::new();
        for row in Self::rows(day, version) {
            let cells: Vec<&str> = row.split(',').collect();
            text.push_str(&format!("{{\"id\":\"{}\",\"t\":\"{}\",\"v\":\"{}\"}}\n", cells[0], cells[1], cells[2]));
        }
        if is_broken {
            text.push_str("{\"id\":\n");
        }
        let path = self.root.join("source").join(format!("{}.ndjson", DAYS[day]));
        let draft = self.root.join("draft");
        std::fs::write(&draft, text).unwrap();
        let modified = UNIX_EPOCH + Duration::from_secs(1_775_000_000 + u64::from(version) * 10 + u64::from(is_broken));
        std::fs::File::options().write(true).open(&draft).unwrap().set_modified(modified).unwrap();
        std::fs::rename(draft, path).unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// A clock that advances with every reading.
#[derive(Clone, Default)]
struct SimulatedClock(Arc<AtomicU64>);

impl SimulatedClock {
    fn now(&self) -> Timestamp {
        let seconds = self.0.fetch_add(1, Ordering::Relaxed);
        now() + SignedDuration::from_secs(i64::try_from(seconds).unwrap())
    }

    fn skip(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

/// One schedule.
struct Schedule {
    seed: u64,
    dice: Dice,
    variant: Variant,
    world: Arc<World>,
    clock: SimulatedClock,
    stops: Vec<Stop>,
}

fn options(clock: &SimulatedClock, stop: &Stop, run_id: String) -> RunOptions {
    let clock = clock.clone();
    RunOptions { clock: Arc::new(move || clock.now()), stop: stop.clone(), ..example::options(&run_id) }
}

impl Schedule {
    fn new(seed: u64, is_traced: bool) -> Self {
        let mut dice = Dice::new(seed ^ 0x5bd1_e995);
        let variant = Variant {
            is_encrypted: dice.once_in(4),
            is_signed: dice.once_in(4),
            rejects: dice.once_in(2),
            other: false,
        };
        let odds = Odds {
            switch: [0, 3, 8, 20][usize::try_from(dice.below(4)).unwrap()],
            sleep: [0, 20, 60][usize::try_from(dice.below(3)).unwrap()],
            kill: [0, 0, 60, 200][usize::try_from(dice.below(4)).unwrap()],
            stop: [0, 0, 300][usize::try_from(dice.below(3)).unwrap()],
            fail: [0, 0, 40, 150][usize::try_from(dice.below(4)).unwrap()],
            stale: [0, 10][usize::try_from(dice.below(2)).unwrap()],
        };
        let world = World::new(seed, odds, PROCESSES, dice.once_in(2), watch, is_traced);
        let stops = vec![Stop::default(); PROCESSES];
        Self { seed, dice, variant, world, clock: SimulatedClock::default(), stops }
    }

    fn parts(&mut self) -> Vec<Part> {
        let mut parts = vec![Part::Run];
        let count = 1 + self.dice.below(CHECKER as u64 - 1);
        for _ in 0..count {
            parts.push(match self.dice.below(20) {
                0..=8 => Part::Run,
                9..=13 => Part::Edit,
                14..=15 => Part::Replace,
                16 => Part::Repair,
                17 => Part::Restate,
                18 => Part::Damage,
                _ => Part::Prune,
            });
        }
        parts
    }

    /// Runs the schedule and returns the broken invariants.
    fn check(mut self, bench: &mut Bench) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        let parts = self.parts();
        for process in 0..PROCESSES {
            mount(&bench.place(process), &self.world, process);
            self.stops[process] = Stop::default();
        }
        let mut versions = [1, 1];
        for (day, version) in versions.iter().enumerate() {
            let is_broken = self.dice.once_in(4);
            bench.write(day, *version, is_broken);
        }
        let mut jobs = Vec::new();
        for (process, part) in parts.iter().enumerate() {
            let variant = Variant { other: *part == Part::Replace, ..self.variant };
            jobs.push(bench.job(variant, process));
            let step = if process == 0 { 0 } else { self.dice.below(250) };
            self.world.begin_at(process, step, self.stops[process].clone());
        }
        for process in parts.len()..PROCESSES {
            self.world.end(process);
        }
        let latest = Mutex::new(&mut versions);
        let replaced = bench.job(self.variant, 0).id.clone();
        let shared: &Bench = bench;
        let dice: Vec<Dice> = (0..parts.len()).map(|_| Dice::new(self.dice.below(u64::MAX))).collect();
        let ended: Vec<Result<(), String>> = std::thread::scope(|scope| {
            let threads: Vec<_> = parts
                .iter()
                .zip(&jobs)
                .zip(dice)
                .enumerate()
                .map(|(process, ((part, job), mut dice))| {
                    let (world, clock, stop, latest, replaced) =
                        (&self.world, &self.clock, &self.stops[process], &latest, &replaced);
                    let variant = self.variant;
                    let seed = self.seed;
                    scope.spawn(move || {
                        let act = || -> Result<(), String> {
                            world.pause(process, "begins");
                            let options = options(clock, stop, format!("run-{seed}-{process}"));
                            match part {
                                Part::Run => told(run(job, &options)),
                                Part::Repair => told(run(job, &RunOptions { repair: true, ..options })),
                                Part::Replace => {
                                    told(run(job, &RunOptions { replace: Some(replaced.clone()), ..options }))
                                }
                                Part::Restate => restated(shared, job, variant, process, &options),
                                Part::Edit => {
                                    let day = usize::try_from(dice.below(DAYS.len() as u64)).unwrap();
                                    let mut versions = latest.lock().unwrap_or_else(PoisonError::into_inner);
                                    versions[day] += u32::from(dice.once_in(2));
                                    shared.write(day, versions[day], dice.once_in(4));
                                    Ok(())
                                }
                                Part::Damage => {
                                    damage(world, &mut dice);
                                    Ok(())
                                }
                                Part::Prune => {
                                    clock.skip(7200);
                                    prune(job, clock.now())
                                }
                            }
                        };
                        let ended = catch_unwind(AssertUnwindSafe(act));
                        world.end(process);
                        match ended {
                            // Its last operation may have been inside code that catches panics.
                            _ if world.is_killed(process) => Ok(()),
                            Ok(ended) => ended,
                            Err(panic) if panic.is::<Killed>() => Ok(()),
                            Err(panic) => Err(format!("{part:?} panicked: {}", crate::panics::text(panic.as_ref()))),
                        }
                    })
                })
                .collect();
            self.world.start();
            threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(()))).collect()
        });
        wrong.extend(ended.into_iter().filter_map(Result::err));
        wrong.extend(self.world.violations());
        self.world.calm();
        self.converge(bench, versions, &mut wrong);
        wrong.extend(self.world.violations());
        wrong.dedup();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Runs whichever job has the package until it is complete, and checks what is there.
    fn converge(&self, bench: &mut Bench, latest: [u32; 2], wrong: &mut Vec<String>) {
        let mut versions = latest;
        let process = CHECKER;
        for (day, version) in versions.iter().enumerate() {
            bench.write(day, *version, false);
        }
        let mut last = String::new();
        for rerun in 0..RERUNS {
            self.world.revive(process, Stop::default());
            let out = Folder::existing(bench.place(process).join("out")).unwrap();
            let entry = out.as_ref().and_then(|out| log::read(out).unwrap());
            let other = bench.job(Variant { other: true, ..self.variant }, process);
            let planned = self.world.file("out/_state/plan.json").unwrap_or_default();
            let is_others = match &entry {
                Some(entry) => entry.job == other.id,
                None => String::from_utf8_lossy(&planned).contains(&other.id),
            };
            let job = if is_others { other } else { bench.job(self.variant, process) };
            let pruned = entry.as_ref().is_some_and(|entry| entry.pruned_at.is_some());
            let options = options(&self.clock, &Stop::default(), format!("check-{}-{rerun}", self.seed));
            match run(&job, &RunOptions { repair: true, ..options }) {
                Ok(outcome) if outcome.manifest.status == JobStatus::Complete => {
                    return self.complete(bench, &job, pruned, wrong);
                }
                Ok(outcome) => last = format!("ended {}: {:?}", outcome.manifest.status, errors(&outcome.manifest)),
                Err(error) => {
                    last = crate::failure::chain(&error);
                    if pruned && last.contains("retention was over") {
                        return;
                    }
                    if last.contains("restore the files from a copy") {
                        // Damaged for good: a file that cannot be reproduced was deleted or changed.
                        return;
                    }
                    self.bring_back(bench, &mut versions, latest, &error);
                }
            }
        }
        wrong.push(format!("does not become complete: {last}"));
    }

    /// Gives a day of the source the next of its versions, until it is the one that its shards were made from, as a user
    /// would who wants to go on.
    fn bring_back(&self, bench: &Bench, versions: &mut [u32; 2], latest: [u32; 2], error: &RunError) {
        let failure = match error {
            RunError::Failed(failure) => failure,
            RunError::Unfinished { failure, .. } => failure,
            _ => return,
        };
        for (day, version) in versions.iter_mut().enumerate() {
            let is_meant = failure.partition() == Some(DAYS[day])
                // A complete package is repaired from the source that it was made from, or not at all.
                || failure.input().is_some_and(|input| input.name == format!("{}.ndjson", DAYS[day]));
            if is_meant {
                *version = *version % latest[day] + 1;
                bench.write(day, *version, false);
            }
        }
    }

    fn manifest(&self) -> Option<Manifest> {
        Manifest::from_json(&self.world.file(&format!("out/{MANIFEST}"))?).ok()
    }

    /// A complete package: everything that it names is there, with the rows of the source, and nothing else.
    fn complete(&self, bench: &Bench, job: &Job, pruned: bool, wrong: &mut Vec<String>) {
        let Some(manifest) = self.manifest() else {
            wrong.push("complete, and there is no manifest".to_owned());
            return;
        };
        if pruned {
            return;
        }
        if manifest.id != job.id {
            wrong.push("the manifest is another job's".to_owned());
        }
        let mut names = self.world.names("out/data/");
        names.extend(self.world.names("out/rejects/"));
        for (name, digest) in manifest.digests() {
            let name = format!("out/{name}");
            match self.world.file(&name) {
                Some(bytes) if sha256(&bytes) == digest => {}
                Some(_) => wrong.push(format!("{name} has other bytes than the manifest says")),
                None => wrong.push(format!("{name} is missing")),
            }
            names.retain(|there| *there != name);
        }
        wrong.extend(names.into_iter().map(|name| format!("{name} is not in the manifest")));
        if !self.variant.is_encrypted {
            for (day, label) in DAYS.iter().enumerate() {
                let shards =
                    manifest.files.iter().filter(|f| f.partition.label == *label && f.status == FileStatus::Complete);
                let text: String = shards
                    .filter_map(|f| self.world.file(&format!("out/{}", f.path)))
                    .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                    .collect();
                let rows: Vec<&str> = text.lines().filter(|line| *line != "id,t,v").collect();
                let version = rows.first().and_then(|row| row.rsplit_once(",v")?.1.parse().ok()).unwrap_or(0);
                if rows != Bench::rows(day, version) {
                    wrong.push(format!("{label} has the rows {rows:?}"));
                }
            }
        }
        let place = bench.root.join("copy");
        Self::write(&self.world, "out/", &place);
        let allowed = self.variant.is_signed.then(|| Arc::new(allowed()));
        let report = verify(
            place,
            &VerifyOptions { rows: true, allowed_signers: allowed, ..VerifyOptions::basic(self.clock.now()) },
        );
        if report.exit() != Exit::Complete {
            wrong.push(format!("verify finds {:?}", report.findings));
        }
    }
}

impl Schedule {
    /// The package on a disk, where an auditor looks.
    fn write(world: &World, prefix: &str, to: &Path) {
        let _ = std::fs::remove_dir_all(to);
        for name in world.names(prefix) {
            let path = to.join(name.strip_prefix(prefix).unwrap_or(&name));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, world.file(&name).unwrap()).unwrap();
        }
    }
}

fn allowed() -> AllowedSigners {
    let key = include_str!("../../tests/signatures/ed25519.pub");
    AllowedSigners::parse(&format!("sim@example.com namespaces=\"kt-export\" {key}"), &TimeZone::UTC).unwrap()
}

fn errors(manifest: &Manifest) -> Vec<&str> {
    manifest.files.iter().filter_map(|file| file.error.as_deref()).collect()
}

/// What must not happen even for a moment: a file goes that the manifest names which counts, or a manifest comes to count
/// whose files are not there.
fn watch(before: &Before<'_>, change: Change<'_>) -> Option<String> {
    let decided = || -> Option<(log::Entry, Manifest)> {
        let log = format!("out/{LOG}");
        let (_, bytes) = before.files.range(log.clone()..).take_while(|(name, _)| name.starts_with(&log)).last()?;
        let entry: log::Entry = serde_json::from_slice(bytes).unwrap();
        let manifest = before.files.get(&format!("out/{}", entry.kept_manifest()?))?;
        Some((entry, Manifest::from_json(manifest).unwrap()))
    };
    match change {
        Change::Remove(name) => {
            let inside = name.strip_prefix("out/").filter(|name| !name.starts_with(STATE))?;
            let (entry, manifest) = decided()?;
            let is_named = manifest.digests().any(|(named, _)| named == inside);
            (is_named && entry.pruned_at.is_none()).then(|| format!("{name} is removed, and the manifest names it"))
        }
        Change::Put(name, bytes) => {
            name.strip_prefix("out/")?.strip_prefix(LOG)?;
            let entry: log::Entry = serde_json::from_slice(bytes).unwrap();
            if entry.pruned_at.is_some() || decided().is_some_and(|(last, _)| last.manifest == entry.manifest) {
                return None;
            }
            let kept = entry.kept_manifest()?;
            let Some(manifest) = before.files.get(&format!("out/{kept}")) else {
                return Some(format!("{name} decides on {kept}, which is not there"));
            };
            let manifest = Manifest::from_json(manifest).unwrap();
            let is_broken = |(file, digest): &(&str, &str)| {
                let file = format!("out/{file}");
                !before.tampered.contains(&file) && before.files.get(&file).is_none_or(|there| sha256(there) != *digest)
            };
            let broken = manifest.digests().find(is_broken);
            broken.map(|(file, _)| {
                format!("{name} decides on a manifest that names {file}, which is not there as it says")
            })
        }
    }
}

/// What a run may say: anything but that it has a bug.
fn told(ended: Result<RunOutcome, RunError>) -> Result<(), String> {
    match ended {
        Err(error) if error.exit() == Exit::Internal => {
            Err(format!("internal error: {}", crate::failure::chain(&error)))
        }
        _ => Ok(()),
    }
}

fn restated(bench: &Bench, job: &Job, variant: Variant, process: usize, options: &RunOptions) -> Result<(), String> {
    let next = restate::next(job, options, |revision| Ok(bench.resolve(variant, process, revision)));
    match next {
        Ok(Next::Revision(job, superseded)) => {
            told(run(&job, &RunOptions { supersedes: Some(Arc::new(superseded)), ..options.clone() }))
        }
        Ok(Next::Unchanged(_)) | Err(_) => Ok(()),
    }
}

/// Removes or changes a shard.
fn damage(world: &World, dice: &mut Dice) {
    let names = world.names("out/data/");
    let Some(name) = names.get(usize::try_from(dice.below(names.len() as u64)).unwrap()) else { return };
    if dice.once_in(2) {
        world.tamper(name, None);
    } else if let Some(bytes) = world.file(name) {
        let mut bytes = bytes.to_vec();
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 1;
        }
        world.tamper(name, Some(&bytes));
    }
}

fn prune(job: &Job, at: Timestamp) -> Result<(), String> {
    let Ok(Some(folder)) = Folder::existing(&job.output) else { return Ok(()) };
    let Ok(Some(bytes)) = folder.read(MANIFEST) else { return Ok(()) };
    let Ok(manifest) = Manifest::from_json(&bytes) else { return Ok(()) };
    if manifest.expires_at.is_some_and(|expires_at| expires_at <= at) {
        let deletion = Deletion {
            package: &folder,
            manifest: &manifest,
            manifest_sha256: &sha256(&bytes),
            job: &|| Ok(job.clone()),
            now: at,
            env: &env(),
        };
        let _ = prune_package(&deletion);
    }
    Ok(())
}

/// Runs seeds on `workers` threads and gives the first that fails.
fn simulate(seeds: std::ops::Range<u64>, workers: usize) -> Result<u64, (u64, Vec<String>)> {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (next, failed, seeds) = (&next, &failed, &seeds);
            scope.spawn(move || {
                let mut bench = Bench::new(worker);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().unwrap().is_some() {
                        return;
                    }
                    if let Err(wrong) = Schedule::new(seed, false).check(&mut bench) {
                        failed.lock().unwrap().get_or_insert((seed, wrong));
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap() {
        Some(failed) => Err(failed),
        None => Ok(seeds.end - seeds.start),
    }
}

fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("KT_EXPORT_SIMULATE_SEEDS").ok();
    let parsed = given.as_deref().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    assert!(given.is_none() || parsed.is_some(), "KT_EXPORT_SIMULATE_SEEDS is FROM..TO");
    parsed.unwrap_or(0..1_000)
}

#[test]
#[allow(clippy::print_stdout, reason = "how many schedules a long run has done")]
fn no_schedule_breaks_a_promise() {
    if let Some(seed) = std::env::var("KT_EXPORT_SIMULATE_TRACE").ok().and_then(|seed| seed.parse().ok()) {
        let schedule = Schedule::new(seed, true);
        let world = schedule.world.clone();
        let checked = schedule.check(&mut Bench::new(0));
        if let Ok(to) = std::env::var("KT_EXPORT_SIMULATE_KEEP") {
            Schedule::write(&world, "out/", Path::new(&to));
        }
        panic!("seed {seed}:\n{}\n{checked:#?}", world.trace().join("\n"));
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    match simulate(seeds(), workers) {
        Ok(schedules) => println!("{schedules} schedules, no violation"),
        Err((seed, wrong)) => {
            panic!("seed {seed} breaks a promise: {wrong:#?}\nKT_EXPORT_SIMULATE_TRACE={seed} shows its steps")
        }
    }
}

#[test]
fn a_seed_is_a_schedule() {
    let trace = |seed| {
        let schedule = Schedule::new(seed, true);
        let world = schedule.world.clone();
        schedule.check(&mut Bench::new(99)).unwrap();
        world.trace()
    };
    // What is encrypted has other bytes each time, and so have the names that carry its digest.
    for seed in (0..40).filter(|seed| !Schedule::new(*seed, false).variant.is_encrypted) {
        assert!(trace(seed) == trace(seed), "seed {seed}");
    }
}
