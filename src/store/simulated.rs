//! A store in memory that many simulated processes share, one of which runs at a time.
//!
//! Each operation on the store is a step. Before it takes effect a seeded generator may let another process go on, put
//! this one to sleep for many steps, stop it, kill it, or let the operation fail, before or after its effect. So a seed is a
//! schedule, and the same seed is the same schedule.
//!
//! Every change is watched: names whose bytes must never change are remembered with the first bytes they were given.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::draft::{Publish, Unpublished};
use super::folder::{Backend, Folder, Link};
use super::local::check_name;
use super::stored::Stored;
use super::{Created, ListedFile, Location, StoreError};
use crate::package::layout;
use crate::stop::{Signal, Stop};

/// The generator of all decisions: splitmix64 (Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }
}

/// How often things happen, each once in so many steps; 0 is never.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Odds {
    pub(crate) switch: u64,
    pub(crate) sleep: u64,
    pub(crate) kill: u64,
    pub(crate) stop: u64,
    pub(crate) fail: u64,
    /// Listings that do not show the newest names yet.
    pub(crate) stale: u64,
}

/// What a killed process unwinds with.
pub(crate) struct Killed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Ready,
    /// Until this step, or until nobody else can go on.
    Asleep(u64),
    Killed,
    Ended,
}

/// What happens to one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Happens,
    FailsBefore,
    FailsAfter,
    KilledAfter,
}

/// A change that a process makes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    /// The name gets these bytes.
    Put(&'a str, &'a [u8]),
    Remove(&'a str),
}

/// What is there before a change, and the names that were changed as no run would.
pub(crate) struct Before<'a> {
    pub(crate) files: &'a BTreeMap<String, Bytes>,
    pub(crate) tampered: &'a BTreeSet<String>,
}

/// Says what is wrong with a change.
pub(crate) type Watcher = fn(&Before<'_>, Change<'_>) -> Option<String>;

pub(crate) struct World {
    state: Mutex<State>,
    turns: Vec<Condvar>,
    /// Whether names need not carry their run, as on a local disk.
    has_exclusive_names: bool,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Bytes>,
    /// The newest names, which a stale listing does not show.
    newest: Vec<String>,
    lives: Vec<Life>,
    stops: Vec<Stop>,
    is_started: bool,
    current: usize,
    steps: u64,
    dice: Option<Dice>,
    odds: Odds,
    first_bytes: HashMap<String, Bytes>,
    tampered: BTreeSet<String>,
    watcher: Option<Watcher>,
    violations: Vec<String>,
    trace: Vec<String>,
    is_traced: bool,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        odds: Odds,
        processes: usize,
        has_exclusive_names: bool,
        watcher: Watcher,
        is_traced: bool,
    ) -> Arc<Self> {
        let state = State {
            lives: vec![Life::Ready; processes],
            stops: vec![Stop::default(); processes],
            dice: Some(Dice::new(seed)),
            odds,
            watcher: Some(watcher),
            is_traced,
            ..State::default()
        };
        let turns = (0..processes).map(|_| Condvar::new()).collect();
        Arc::new(Self { state: Mutex::new(state), turns, has_exclusive_names })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing bad happens any more.
    pub(crate) fn calm(&self) {
        self.set_odds(Odds::default());
    }

    pub(crate) fn set_odds(&self, odds: Odds) {
        self.lock().odds = odds;
    }

    pub(crate) fn set_seed(&self, seed: u64) {
        self.lock().dice = Some(Dice::new(seed));
    }

    pub(crate) fn revive(&self, process: usize, stop: Stop) {
        let mut state = self.lock();
        state.lives[process] = Life::Ready;
        state.stops[process] = stop;
        state.current = process;
        state.is_started = true;
    }

    /// A process that begins later.
    pub(crate) fn begin_at(&self, process: usize, step: u64, stop: Stop) {
        let mut state = self.lock();
        state.lives[process] = Life::Asleep(step);
        state.stops[process] = stop;
    }

    /// Lets the first process go.
    pub(crate) fn start(&self) {
        let mut state = self.lock();
        state.is_started = true;
        state.choose();
        self.turns[state.current].notify_one();
    }

    /// The process does not come back.
    pub(crate) fn end(&self, process: usize) {
        let mut state = self.lock();
        if state.lives[process] != Life::Killed {
            state.lives[process] = Life::Ended;
        }
        if state.is_started {
            state.choose();
            self.turns[state.current].notify_one();
        }
    }

    pub(crate) fn is_killed(&self, process: usize) -> bool {
        self.lock().lives[process] == Life::Killed
    }

    /// Waits for the process's turn. What it is about to do is for the trace.
    fn turn(&self, process: usize, what: &dyn Fn() -> String) -> (MutexGuard<'_, State>, Fate) {
        let mut state = self.lock();
        let odds = state.odds;
        let steps = state.steps;
        if state.is_started && state.current == process && state.lives[process] == Life::Ready {
            let dice = state.dice.get_or_insert_with(|| Dice::new(0));
            if dice.once_in(odds.sleep) {
                let until = steps + 5 + dice.below(300);
                state.lives[process] = Life::Asleep(until);
                state.choose();
            } else if dice.once_in(odds.switch) {
                state.choose();
            }
        }
        if state.is_started && state.current != process {
            self.turns[state.current].notify_one();
        }
        while (!state.is_started || state.current != process) && state.lives[process] != Life::Killed {
            state = self.turns[process].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.lives[process] == Life::Killed {
            drop(state);
            std::panic::resume_unwind(Box::new(Killed));
        }
        state.lives[process] = Life::Ready;
        state.steps += 1;
        let steps = state.steps;
        let dice = state.dice.get_or_insert_with(|| Dice::new(0));
        let (is_killed, is_stopped) = (dice.once_in(odds.kill), dice.once_in(odds.stop));
        let fate = match (is_killed, dice.once_in(odds.fail), dice.once_in(2)) {
            (true, _, true) => Fate::KilledAfter,
            (false, true, true) => Fate::FailsAfter,
            (false, true, false) => Fate::FailsBefore,
            _ => Fate::Happens,
        };
        if is_stopped {
            state.stops[process].set(Signal::Terminate);
        }
        if state.is_traced {
            let line = format!(
                "{steps} p{process} {}{}",
                what(),
                if fate == Fate::Happens { String::new() } else { format!(" {fate:?}") }
            );
            state.trace.push(line);
        }
        if is_killed && fate == Fate::Happens {
            state.kill(process);
            drop(state);
            std::panic::resume_unwind(Box::new(Killed));
        }
        (state, fate)
    }

    /// One operation: waits for the turn, has the effect, or fails.
    fn step<T>(
        &self,
        process: usize,
        what: &dyn Fn() -> String,
        effect: impl FnOnce(&mut State) -> T,
    ) -> Result<T, StoreError> {
        let (mut state, fate) = self.turn(process, what);
        if fate == Fate::FailsBefore {
            return Err(failed(&what()));
        }
        let done = effect(&mut state);
        match fate {
            Fate::FailsAfter => Err(failed(&what())),
            Fate::KilledAfter => {
                state.kill(process);
                drop(state);
                std::panic::resume_unwind(Box::new(Killed));
            }
            _ => Ok(done),
        }
    }

    /// Lets others go on before something outside the store happens.
    pub(crate) fn pause(&self, process: usize, what: &str) {
        drop(self.turn(process, &|| what.to_owned()));
    }

    /// Changes a file as no run would.
    pub(crate) fn tamper(&self, name: &str, bytes: Option<&[u8]>) {
        let mut state = self.lock();
        state.tampered.insert(name.to_owned());
        match bytes {
            Some(bytes) => state.files.insert(name.to_owned(), Bytes::copy_from_slice(bytes)),
            None => state.files.remove(name),
        };
    }

    pub(crate) fn file(&self, name: &str) -> Option<Bytes> {
        self.lock().files.get(name).cloned()
    }

    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let state = self.lock();
        state.files.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }
}

fn failed(what: &str) -> StoreError {
    StoreError::io("reach", Path::new(what), io::Error::from(ErrorKind::HostUnreachable))
}

impl State {
    fn kill(&mut self, process: usize) {
        self.lives[process] = Life::Killed;
    }

    /// Chooses who goes on: anybody who is ready or has slept enough; if there is nobody, whoever sleeps.
    fn choose(&mut self) {
        let steps = self.steps;
        let is_ready =
            |life: &Life| matches!(life, Life::Ready) || matches!(life, Life::Asleep(until) if *until <= steps);
        let mut who: Vec<usize> = (0..self.lives.len()).filter(|i| is_ready(&self.lives[*i])).collect();
        if who.is_empty() {
            who = (0..self.lives.len()).filter(|i| matches!(self.lives[*i], Life::Asleep(_))).collect();
        }
        if !who.is_empty() {
            let dice = self.dice.get_or_insert_with(|| Dice::new(0));
            self.current = who[usize::try_from(dice.below(who.len() as u64)).unwrap_or(0)];
        }
    }

    fn judge(&mut self, change: Change<'_>) {
        let before = Before { files: &self.files, tampered: &self.tampered };
        let wrong = self.watcher.and_then(|watcher| watcher(&before, change));
        self.violations.extend(wrong);
    }

    fn remove(&mut self, name: &str) {
        self.judge(Change::Remove(name));
        self.files.remove(name);
    }

    fn put(&mut self, name: &str, bytes: &[u8]) {
        self.judge(Change::Put(name, bytes));
        let bytes = Bytes::copy_from_slice(bytes);
        self.watch(name, &bytes);
        if self.files.insert(name.to_owned(), bytes).is_none() {
            self.newest.push(name.to_owned());
        }
    }

    fn watch(&mut self, name: &str, bytes: &Bytes) {
        let Some((_, inside)) = name.split_once('/') else { return };
        let is_final = layout::is_immutable(inside);
        if !is_final {
            return;
        }
        match self.first_bytes.get(name) {
            Some(first) if first != bytes => self.violations.push(format!("{name} was given other bytes")),
            Some(_) => {}
            None => {
                self.first_bytes.insert(name.to_owned(), bytes.clone());
            }
        }
    }
}

type Worlds = BTreeMap<PathBuf, (Arc<World>, usize)>;

static WORLDS: LazyLock<RwLock<Worlds>> = LazyLock::new(RwLock::default);

/// Where a process sees its world: every folder below `root` is in memory.
pub(crate) fn mount(root: &Path, world: &Arc<World>, process: usize) {
    let mut worlds = WORLDS.write().unwrap_or_else(PoisonError::into_inner);
    worlds.insert(root.to_owned(), (world.clone(), process));
}

fn mounted(at: &Path) -> Option<Process> {
    let worlds = WORLDS.read().unwrap_or_else(PoisonError::into_inner);
    let (root, (world, process)) = at.ancestors().find_map(|root| worlds.get_key_value(root))?;
    let folder = at.strip_prefix(root).ok()?.to_str()?.to_owned();
    Some(Process { world: world.clone(), process: *process, folder })
}

/// The folder for writing, if it is simulated.
pub(super) fn open(location: &Location) -> Option<Folder> {
    let process = mounted(location.local()?)?;
    Some(Folder::of_backend(location.clone(), Arc::new(process)))
}

/// The folder for looking, if it is simulated; inside, `None` where nothing is in it.
pub(super) fn existing(location: &Location) -> Option<Option<Folder>> {
    let process = mounted(location.local()?)?;
    let prefix = process.name("");
    let is_there =
        process.world.lock().files.range(prefix.clone()..).next().is_some_and(|(name, _)| name.starts_with(&prefix));
    Some(is_there.then(|| Folder::of_backend(location.clone(), Arc::new(process))))
}

/// One process's view of a folder.
#[derive(Clone)]
struct Process {
    world: Arc<World>,
    process: usize,
    folder: String,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{} {}", self.process, self.folder)
    }
}

impl Process {
    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn step<T>(&self, what: &str, name: &str, effect: impl FnOnce(&mut State, &str) -> T) -> Result<T, StoreError> {
        check_name(name)?;
        self.step_of(what, name, effect)
    }

    /// One operation on the names that begin with a prefix, which may be empty or end with a slash.
    fn step_below<T>(
        &self,
        what: &str,
        prefix: &str,
        effect: impl FnOnce(&mut State, &str) -> T,
    ) -> Result<T, StoreError> {
        if !prefix.is_empty() {
            check_name(prefix.strip_suffix('/').unwrap_or(prefix))?;
        }
        self.step_of(what, prefix, effect)
    }

    fn step_of<T>(&self, what: &str, name: &str, effect: impl FnOnce(&mut State, &str) -> T) -> Result<T, StoreError> {
        let full = self.name(name);
        self.world.step(self.process, &|| format!("{what} {full}"), |state| effect(state, &full))
    }
}

impl Backend for Process {
    fn prove(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn server_time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn has_exclusive_names(&self) -> bool {
        self.world.has_exclusive_names
    }

    fn begin(&self, name: &str) -> Result<Box<dyn Unpublished>, StoreError> {
        check_name(name)?;
        Ok(Box::new(MemoryDraft { process: self.clone(), name: name.to_owned(), bytes: Vec::new() }))
    }

    fn create_bytes(&self, name: &str, bytes: &[u8]) -> Result<Created, StoreError> {
        self.step("create", name, |state, full| {
            if state.files.contains_key(full) {
                return Created::Exists;
            }
            state.put(full, bytes);
            Created::Created
        })
    }

    fn replace_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.step("replace", name, |state, full| state.put(full, bytes))
    }

    fn swap(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        self.step("swap", name, |state, full| {
            let is_old = state.files.get(full).map(|there| &there[..]) == old;
            if is_old {
                state.put(full, new);
            }
            is_old
        })
    }

    fn take_away(&self, name: &str, old: &[u8]) -> Result<bool, StoreError> {
        self.step("take away", name, |state, full| {
            let is_old = state.files.get(full).is_some_and(|there| there == old);
            if is_old {
                state.remove(full);
            }
            is_old
        })
    }

    fn make_durable(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.step("read", name, |state, full| state.files.get(full).map(|bytes| bytes.to_vec()))
    }

    fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.step("size", name, |state, full| state.files.get(full).map(|bytes| bytes.len() as u64))
    }

    fn open(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        self.step("open", name, |state, full| state.files.get(full).cloned().map(Stored::memory))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ListedFile>, StoreError> {
        let root = self.name("");
        self.step_below("list", prefix, |state, full| {
            let odds = state.odds.stale;
            let is_stale = state.dice.get_or_insert_with(|| Dice::new(0)).once_in(odds);
            let hidden = state.newest.len().saturating_sub(3);
            let hidden: &[String] = if is_stale { &state.newest[hidden..] } else { &[] };
            let below = state.files.range(full.to_owned()..).take_while(|(name, _)| name.starts_with(full));
            below
                .filter(|(name, _)| !hidden.contains(name))
                .filter_map(|(name, bytes)| {
                    Some(ListedFile { name: name.strip_prefix(&root)?.to_owned(), bytes: bytes.len() as u64 })
                })
                .collect()
        })
    }

    fn folders(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let folder = if name.is_empty() { String::new() } else { format!("{name}/") };
        self.step_below("folders", &folder, |state, full| {
            let below = state.files.range(full.to_owned()..).take_while(|(name, _)| name.starts_with(full));
            let folders = below.filter_map(|(name, _)| name.strip_prefix(full)?.split_once('/'));
            let names: BTreeSet<String> = folders.map(|(folder, _)| folder.to_owned()).collect();
            names.into_iter().collect()
        })
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.step("remove", name, State::remove)
    }

    fn drafts(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn remove_drafts(&self, _is_finished: bool) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn presign(&self, name: &str, _expires_in: Duration) -> Result<Link, StoreError> {
        check_name(name)?;
        Err(StoreError::BadName { name: name.to_owned(), why: "it has no link" })
    }
}

/// A file on its way to its name.
struct MemoryDraft {
    process: Process,
    name: String,
    bytes: Vec<u8>,
}

impl Write for MemoryDraft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unpublished for MemoryDraft {
    fn publish(&mut self, mode: Publish) -> Result<(), StoreError> {
        match mode {
            Publish::Replace => self.process.replace_bytes(&self.name, &self.bytes),
            Publish::Create => match self.process.create_bytes(&self.name, &self.bytes)? {
                Created::Created => Ok(()),
                Created::Exists => Err(StoreError::AlreadyExists { name: self.name.clone() }),
            },
        }
    }

    fn rename(&mut self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        if !self.process.world.has_exclusive_names {
            return Err(StoreError::BadName { name: name.to_owned(), why: "an upload under another name has begun" });
        }
        name.clone_into(&mut self.name);
        Ok(())
    }
}
