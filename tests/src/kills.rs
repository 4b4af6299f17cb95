//! The kill suite: the ingest is ended at every step of what it does to its files by itself
//! (packing, retention, erasing a firm, new layouts, backup, restore), and comes back each time with all that it
//! had acknowledged, once.
//!
//! Simulated gateways know what they sent. After each kill the service is started again, what
//! was not acknowledged is sent again, and then every reading, and every minute and hour that is
//! left of older ones, is compared with it.
//!
//! A run is its seed: which steps, after how many passes, and what is sent in between. A step
//! that is never passed fails its run, so that no case goes by without its kill.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::harness::Programs;
use crate::runs::{self, Until};

mod backups;
mod databases;
pub mod layouts;
mod sender;
mod stage;

use stage::Stage;

/// Steps at which the suite ends the ingest, with what is going on then.
pub const STEPS: [(&str, Work); 33] = [
    ("file.made-before-commit", Work::Packing),
    ("compact.gathered-before-packed", Work::Packing),
    ("compact.written-before-commit", Work::Packing),
    ("compact.packed-before-deleted", Work::Packing),
    ("compact.deleted-some", Work::Packing),
    ("compact.deleted-before-forgotten", Work::Packing),
    ("merge.written-before-commit", Work::Packing),
    ("merge.committed-before-next", Work::Packing),
    ("retain.counted-before-commit", Work::Retention),
    ("retain.counted-before-next", Work::Retention),
    ("retain.dropped-before-next", Work::Retention),
    ("erase.noted-before-done", Work::Erasure),
    ("erase.revoked-before-deleted", Work::Erasure),
    ("backup.copied-pages", Work::Backup),
    ("backup.copied-before-next", Work::Backup),
    ("backup.shared-before-next", Work::Backup),
    ("backup.copied-before-manifest", Work::Backup),
    ("backup.manifest-before-unmarked", Work::Backup),
    ("backup.unmarked-before-renamed", Work::Backup),
    ("backup.renamed-before-synced", Work::Backup),
    ("restore.copied-before-next", Work::Restore),
    ("restore.copied-before-timeline", Work::Restore),
    ("restore.done-before-unmarked", Work::Restore),
    ("file.migrated-before-commit", Work::Layout),
    ("file.migrated-before-use", Work::Layout),
    ("control.laid-out-before-commit", Work::Layout),
    ("control.laid-out-before-use", Work::Layout),
    ("database.changed-before-commit", Work::Database),
    ("database.changed-before-next", Work::Database),
    ("database.counted-before-commit", Work::Upkeep),
    ("database.retained-before-commit", Work::Upkeep),
    ("database.retained-before-next", Work::Upkeep),
    ("database.expired-before-commit", Work::Upkeep),
];

/// All steps of this suite.
pub fn steps() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|(step, _)| *step)
}

/// What the ingest is at when it is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Inbox rows become blocks of a firm's file.
    Packing,
    /// Old readings become minutes and hours.
    Retention,
    /// A firm is erased.
    Erasure,
    /// The files are copied.
    Backup,
    /// A copy is put back.
    Restore,
    /// Files of an older build get this build's layout.
    Layout,
    /// A database gets it, from one of several processes that start at once.
    Database,
    /// Old readings in a database become minutes and hours.
    Upkeep,
}

/// One kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kill {
    /// At this step.
    At(&'static str, Work),
    /// `kill -9` at any moment of it.
    Amid(Work),
}

impl Kill {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let works = [Work::Packing, Work::Retention, Work::Backup];
        let steps = STEPS.iter().map(|(step, work)| Self::At(step, *work));
        steps.chain(works.map(Self::Amid)).collect()
    }
}

impl std::fmt::Display for Kill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(step, _) => write!(f, "`{step}`"),
            Self::Amid(work) => write!(f, "any moment of {}", format!("{work:?}").to_lowercase()),
        }
    }
}

/// Runs whose seeds follow one another that meet every kill: of each kind of work each has some, so
/// that none takes much longer than the others.
pub const RUNS: u64 = 6;

/// The kills of a seed.
pub fn kills_of(seed: u64) -> Vec<Kill> {
    let kills = Kill::all().into_iter().zip((0..RUNS).cycle());
    let mut kills: Vec<Kill> = kills.filter(|(_, run)| *run == seed % RUNS).map(|(kill, _)| kill).collect();
    Chance::new(seed ^ 0x4b11).shuffle(&mut kills);
    kills
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Its seed.
    pub seed: u64,
    /// What was done, and how often what was stored was compared with what was sent.
    pub kills: Vec<Kill>,
    /// Cells (readings, minutes and hours) that were compared.
    pub compared: u64,
    /// What went wrong, and what the programs said.
    pub trouble: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kills: Vec<String> = self.kills.iter().map(ToString::to_string).collect();
        let (seed, compared, took) = (self.seed, self.compared, self.took.as_secs_f64());
        let verdict = if self.trouble.is_some() { "WRONG" } else { "exact" };
        write!(f, "{verdict} SANDAN_SEED={seed} ({}; {took:.1} s): {compared} cells compared", kills.join(", then "))?;
        self.trouble.as_ref().map_or(Ok(()), |trouble| write!(f, "\n  {trouble}"))
    }
}

/// One run.
pub fn run(programs: &Programs, seed: u64) -> Ended {
    run_of(programs, seed, &kills_of(seed))
}

/// A run of these kills.
pub fn run_of(programs: &Programs, seed: u64, kills: &[Kill]) -> Ended {
    let began = Instant::now();
    let mut ended = Ended { seed, kills: kills.to_vec(), compared: 0, trouble: None, took: Duration::ZERO };
    match Stage::set(programs, seed) {
        Ok(mut stage) => {
            if let Err(error) = stage.play(kills) {
                ended.trouble = Some(format!("{error:#}\n{}", stage.report()));
            }
            ended.compared = stage.compared();
        }
        Err(error) => ended.trouble = Some(format!("the stage cannot be set: {error:#}")),
    }
    ended.took = began.elapsed();
    ended
}

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Table {
    /// Kills that were met, and how often.
    pub kills: BTreeMap<Kill, u64>,
    /// All runs.
    pub runs: u64,
    /// Cells that were compared.
    pub compared: u64,
    /// Seeds of runs that were not as they should be.
    pub bad: Vec<u64>,
}

impl Table {
    fn add(&mut self, ended: &Ended) {
        self.runs += 1;
        self.compared += ended.compared;
        for kill in &ended.kills {
            *self.kills.entry(*kill).or_default() += 1;
        }
        if ended.trouble.is_some() {
            self.bad.push(ended.seed);
        }
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (kill, times) in &self.kills {
            writeln!(f, "{times:>6}  {kill}")?;
        }
        let kills: u64 = self.kills.values().sum();
        let (runs, compared, bad) = (self.runs, self.compared, self.bad.len());
        write!(f, "{runs} runs, {kills} kills, {compared} cells compared, {bad} runs wrong")
    }
}

/// Runs consecutive seeds, several at once; tells each end.
pub fn run_many(programs: &Programs, seed: u64, until: Until, jobs: usize, tell: impl Fn(&Ended) + Sync) -> Table {
    let mut table = Table::default();
    let run = |number: u64| {
        let ended = run(programs, seed.wrapping_add(number));
        tell(&ended);
        ended
    };
    runs::many(until, jobs, run, |ended| table.add(&ended));
    table
}
