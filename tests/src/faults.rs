//! The fault suite: a small plant, a gateway and an ingest with a bad network between
//! them, one or two faults, and then the oracle's sum, which has to be exact.
//!
//! A run is its seed: the seed says which faults come when. A run that fails prints it,
//! and `SANDAN_SEED=… tests/soak.sh faults --runs 1` repeats the run. The moments of
//! threads and disks are not part of a seed, so a repeated run meets the same faults, not
//! the same microseconds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::harness::Programs;
use crate::oracle::Sum;
use crate::runs::{self, Until};

pub(crate) mod acts;
pub(crate) mod disk;
mod restore;
mod stage;
pub mod table;

use stage::Stage;

/// Steps of the gateway at which it is ended, in the order of the data.
pub const GATEWAY_STEPS: [&str; 13] = [
    "spool.segment-created-before-header",
    "spool.header-before-dir-sync",
    "spool.append-before-write",
    "spool.written-before-sync",
    "spool.synced-before-publish",
    "spool.displaced-synced-before-remove",
    "recorder.synced-before-acknowledged",
    "spool.state-temp-before-rename",
    "spool.state-renamed-before-dir-sync",
    "uplink.epoch-received-before-saved",
    "uplink.epoch-saved-before-first-frame",
    "uplink.frame-sent",
    "uplink.ack-received-before-applied",
];

/// Steps of the ingest at which it is ended.
pub const INGEST_STEPS: [&str; 12] = [
    "session.epoch-granted-before-welcome",
    "session.births-registered",
    "session.frame-received",
    "session.queued",
    "commit.before",
    "commit.after-before-ack",
    "session.ack-sent",
    "compact.gathered-before-packed",
    "compact.packed-before-deleted",
    "compact.deleted-before-forgotten",
    "serve.stopping",
    "serve.drained",
];

/// What is done to a plant that was well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The gateway is ended at this step.
    GatewayAt(&'static str),
    /// The ingest is ended at this step.
    IngestAt(&'static str),
    /// `kill -9` at any moment.
    GatewayKilled,
    /// `kill -9` at any moment.
    IngestKilled,
    /// SIGTERM.
    GatewayStopped,
    /// SIGTERM.
    IngestStopped,
    /// An empty disk in the place of the spool's.
    SpoolWiped,
    /// The spool as it was some time ago.
    SpoolRestored,
    /// A second gateway with a copy of the spool.
    DiskCloned,
    /// No room for a while.
    DiskFull,
    /// The line is down for longer than the spool has room for.
    SpoolFull,
    /// What was written since the last sync is gone with the power.
    UnsyncedLost,
    /// The newest segment is cut short.
    SegmentTruncated,
    /// Bits flipped in the newest segment: header, births, frames, bodies.
    BitsFlipped,
    /// Connections are reset.
    Cut,
    /// The line is down for a while.
    LineDown,
    /// Nothing arrives either way, and nothing is closed.
    HalfOpen,
    /// Records arrive, acknowledgements do not.
    AcksLost,
    /// Delay, jitter and lost packets.
    PacketsLate,
    /// A line of a few KB/s.
    LineNarrow,
    /// The store is killed, and a backup of it is put in its place.
    IngestRestored,
    /// The same after the gateway has removed some of what came since the backup.
    IngestRestoredLate,
    /// A second gateway sends readings of series that the first one owns.
    SeriesTaken,
    /// The gateway's wall clock jumps, either way.
    GatewayClock,
    /// The ingest's wall clock jumps, either way.
    IngestClock,
}

impl Fault {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::GatewayKilled,
            Self::IngestKilled,
            Self::GatewayStopped,
            Self::IngestStopped,
            Self::SpoolWiped,
            Self::SpoolRestored,
            Self::DiskCloned,
            Self::DiskFull,
            Self::SpoolFull,
            Self::UnsyncedLost,
            Self::SegmentTruncated,
            Self::BitsFlipped,
            Self::Cut,
            Self::LineDown,
            Self::HalfOpen,
            Self::AcksLost,
            Self::PacketsLate,
            Self::LineNarrow,
            Self::IngestRestored,
            Self::IngestRestoredLate,
            Self::SeriesTaken,
            Self::GatewayClock,
            Self::IngestClock,
        ];
        all.extend(GATEWAY_STEPS.map(Self::GatewayAt));
        all.extend(INGEST_STEPS.map(Self::IngestAt));
        all
    }

    /// In words, English and Korean.
    pub fn words(self) -> (String, String) {
        let (en, ko) = match self {
            Self::GatewayAt(step) => {
                return (format!("gateway killed at `{step}`"), format!("`{step}`에서 게이트웨이 강제 종료"));
            }
            Self::IngestAt(step) => {
                return (format!("ingest killed at `{step}`"), format!("`{step}`에서 수집 서버 강제 종료"));
            }
            Self::GatewayKilled => ("gateway killed at any moment", "임의의 순간에 게이트웨이 강제 종료"),
            Self::IngestKilled => ("ingest killed at any moment", "임의의 순간에 수집 서버 강제 종료"),
            Self::GatewayStopped => ("gateway stopped in order", "게이트웨이 정상 종료"),
            Self::IngestStopped => ("ingest stopped in order", "수집 서버 정상 종료"),
            Self::SpoolWiped => ("spool wiped", "스풀 삭제"),
            Self::SpoolRestored => ("spool restored from an old image", "예전 이미지로 스풀 복원"),
            Self::DiskCloned => ("disk cloned, both run", "디스크 복제 후 동시 실행"),
            Self::DiskFull => ("disk full for a while", "한동안 디스크 가득 참"),
            Self::SpoolFull => ("spool full", "스풀 가득 참"),
            Self::UnsyncedLost => ("unsynced writes lost", "동기화되지 않은 쓰기 유실"),
            Self::SegmentTruncated => ("segment truncated", "세그먼트 잘림"),
            Self::BitsFlipped => ("bits flipped in a segment", "세그먼트 비트 반전"),
            Self::Cut => ("connection cut", "연결 끊김"),
            Self::LineDown => ("line down for a while", "한동안 회선 단절"),
            Self::HalfOpen => ("connection half-open", "반만 열린 연결"),
            Self::AcksLost => ("acknowledgements lost", "확인 응답 유실"),
            Self::PacketsLate => ("packets delayed and lost", "패킷 지연과 유실"),
            Self::LineNarrow => ("line of a few KB/s", "초당 수 KB 회선"),
            Self::IngestRestored => ("ingest restored from a backup", "백업에서 수집 서버 복원"),
            Self::IngestRestoredLate => {
                ("ingest restored, beyond what gateways keep", "게이트웨이 보관 범위를 넘긴 수집 서버 복원")
            }
            Self::SeriesTaken => ("series of another gateway sent", "다른 게이트웨이의 시계열 전송"),
            Self::GatewayClock => ("gateway's clock jumps", "게이트웨이 시계 점프"),
            Self::IngestClock => ("ingest's clock jumps", "수집 서버 시계 점프"),
        };
        (en.to_owned(), ko.to_owned())
    }
}

/// Two faults in so many runs of a hundred.
const TWO_FAULTS_PERCENT: u64 = 35;

/// The faults of a seed. The first goes round, so that consecutive seeds meet each.
pub fn faults_of(seed: u64) -> Vec<Fault> {
    let all = Fault::all();
    let first = all[usize::try_from(seed % all.len() as u64).unwrap_or(0)];
    let mut chance = Chance::new(seed ^ 0xfa_u64);
    let mut faults = vec![first];
    if chance.percent(TWO_FAULTS_PERCENT) {
        faults.push(*chance.one(&all));
        chance.shuffle(&mut faults);
    }
    faults
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Its seed.
    pub seed: u64,
    /// Its faults. A step that was not on the way counts as a kill at any moment.
    pub faults: Vec<Fault>,
    /// What was done, in order.
    pub notes: String,
    /// Where every reading went; none when the run broke off.
    pub sum: Option<Sum>,
    /// What went wrong beside the sum, and what the programs said.
    pub trouble: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Ended {
    /// Whether all is as it should be.
    pub fn is_good(&self) -> bool {
        self.trouble.is_none() && self.sum.as_ref().is_some_and(Sum::is_exact)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(|fault| fault.words().0).collect();
        write!(f, "SANDAN_SEED={} ({}; {:.1} s)", self.seed, faults.join(", then "), self.took.as_secs_f64())?;
        if let Some(sum) = &self.sum {
            write!(f, ": {sum}")?;
        }
        if let Some(trouble) = &self.trouble {
            write!(f, "\n  {trouble}")?;
        }
        Ok(())
    }
}

/// One run.
pub fn run(programs: &Programs, seed: u64) -> Ended {
    run_of(programs, seed, &faults_of(seed), None)
}

/// A run of these faults. `broken`: what the ingest does wrong on purpose, as
/// `FAILPOINTS` says it.
pub fn run_of(programs: &Programs, seed: u64, faults: &[Fault], broken: Option<&str>) -> Ended {
    let began = Instant::now();
    let mut ended =
        Ended { seed, faults: faults.to_vec(), notes: String::new(), sum: None, trouble: None, took: Duration::ZERO };
    match Stage::set(programs, seed) {
        Ok(mut stage) => {
            let played = broken.map_or(Ok(()), |how| stage.break_ingest(how)).and_then(|()| stage.play(faults));
            match played {
                Ok(sum) => ended.sum = Some(sum),
                Err(error) => ended.trouble = Some(format!("{error:#}")),
            }
            for fault in ended.faults.iter_mut().filter(|fault| stage.missed.contains(fault)) {
                *fault = if matches!(fault, Fault::GatewayAt(_)) { Fault::GatewayKilled } else { Fault::IngestKilled };
            }
            ended.notes = stage.notes();
            if !ended.is_good() {
                let said = ended.trouble.take().unwrap_or_default();
                ended.trouble = Some(format!("{said}\n{}", stage.report()));
            }
        }
        Err(error) => ended.trouble = Some(format!("the stage cannot be set: {error:#}")),
    }
    ended.took = began.elapsed();
    ended
}

/// Runs seeds, each so much after the one before, several at once; tells each end.
pub fn run_many(
    programs: &Programs,
    (first_seed, stride): (u64, u64),
    until: Until,
    jobs: usize,
    tell: impl Fn(&Ended) + Sync,
) -> Table {
    let mut table = Table::default();
    let run = |number: u64| {
        let ended = run(programs, first_seed.wrapping_add(number * stride));
        tell(&ended);
        ended
    };
    runs::many(until, jobs, run, |ended| table.add(&ended));
    table
}

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Table {
    /// By fault: runs that met it, and their sums. A run of two faults counts for both.
    pub faults: BTreeMap<Fault, (u64, Sum)>,
    /// All runs.
    pub runs: u64,
    /// Their sum, each run once.
    pub all: Sum,
    /// Seeds of runs that were not as they should be.
    pub bad: Vec<u64>,
}

impl Table {
    fn add(&mut self, ended: &Ended) {
        self.runs += 1;
        if !ended.is_good() {
            self.bad.push(ended.seed);
        }
        let mut faults = ended.faults.clone();
        faults.dedup();
        let none = Sum::default();
        let sum = ended.sum.as_ref().unwrap_or(&none);
        self.all.add(sum);
        for fault in faults {
            let (runs, all) = self.faults.entry(fault).or_default();
            *runs += 1;
            all.add(sum);
        }
    }
}
