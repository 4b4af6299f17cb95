//! The engines against each other: the same random operations, and every answer the same.
//!
//! The model knows what was delivered and little else. What it knows nothing of (gaps, dead
//! letters and their retries, checksums, estimated clocks, every function on every grid, pages
//! while data arrives, what retention and erasing leave) has to come out alike wherever it is
//! stored. Each engine goes through the same script by itself and writes down what it was told;
//! the transcripts are then compared.
//!
//! The scripts are the same in each run. `SANDAN_SEED` asks for others, `PROPTEST_CASES` for more.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sandan_proto::id::FirmId;

use super::{Engine, NOW, SECOND, TestClock};
use crate::fixture::BOOTED_US;
use crate::store::postgres::readings::tests::conformance::{plain::Plain, timescale::Timescaled};
use crate::store::sqlite::tests::conformance::Sqlite;
use crate::store::{Choice, Holdings, Pass, Retained};
use crate::time::DAY_US;
use answer::Open;
use script::{Asked, COUNTED, PLANTS, Question, Script, Step, any_script};
use sender::{Sender, act};

mod answer;
mod script;
mod sender;

/// The scripts of CI.
const CI_SEED: u64 = 5;
/// How long everything is put by so that all of it is past its retention, and four times that past
/// the retention of minutes too. Between these, nothing lies near a bound, at which the engines may
/// differ by a day.
const PUT_BY_US: i64 = 200 * DAY_US;
/// Waiting of one stretch: beyond it one engine forgets checksums before the other.
const LONGEST_WAIT_S: i64 = 300_000;
/// Steps at which an engine of files is ended, by what it is at.
const REARRANGING: [&str; 4] = ["packed", "merged, not committed", "merged", "packed"];
const RETAINING: [&str; 4] = ["retained, not committed", "retained", "packed", "retained"];
const ERASING: [&str; 4] = ["erased from the inbox", "erased its file", "erased from the inbox", "erased its file"];

/// Takes an engine through a script; gives what it answered, step by step.
fn transcript<E: Engine>(script: &Script) -> Vec<String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(play::<E>(script.clone()))
}

/// A script that is under way.
struct Play<E> {
    clock: TestClock,
    engine: E,
    senders: Vec<Sender>,
    firms: [FirmId; 2],
    /// When what is stored began, µs after every test's boot: anew after each retention.
    began_us: Vec<i64>,
    waited_s: i64,
    open: Vec<Open>,
    said: Vec<String>,
}

async fn play<E: Engine>(script: Script) -> Vec<String> {
    let clock = TestClock::default();
    let senders: Vec<Sender> = (0..PLANTS.len()).map(Sender::new).collect();
    let mut play = Play {
        engine: E::new(clock.clone()).await,
        clock,
        firms: [senders[0].plant.firm(), senders[3].plant.firm()],
        senders,
        began_us: vec![0],
        waited_s: 0,
        open: Vec::new(),
        said: Vec::new(),
    };
    play.connect().await;
    for (step, chance) in script {
        let title = format!("{step:?}");
        let answer = play.step(step, chance).await;
        play.said.push(format!("{title}: {answer}"));
    }
    play.finish_open().await;
    play.facts().await;
    play.said
}

impl<E: Engine> Play<E> {
    async fn connect(&mut self) {
        for sender in &mut self.senders {
            sender.connect(self.engine.store()).await;
        }
    }

    async fn step(&mut self, step: Step, chance: u8) -> String {
        match step {
            Step::Rearrange => {
                for firm in &self.firms {
                    self.engine.rearrange(firm).await;
                }
            }
            Step::CrashRearranging(at) => {
                self.engine.crash_rearranging(&self.firms[usize::from(chance % 2)], REARRANGING[at]).await;
                self.connect().await;
            }
            Step::Reopen => {
                self.engine.reopen().await;
                self.connect().await;
            }
            Step::Wait(seconds) => {
                let seconds = seconds.min(LONGEST_WAIT_S - self.waited_s);
                self.waited_s += seconds;
                self.clock.advance(seconds * SECOND);
            }
            Step::Retain(cut) => return self.retain(cut, chance.is_multiple_of(2)).await,
            Step::Erase(firm, cut) => return self.erase(firm, cut).await,
            Step::Ask(question) => return question.ask(self.engine.store(), &self.senders, &self.began_us).await,
            Step::Open(question) => {
                let open = Open::begin(&question, self.engine.store(), &self.senders, &self.began_us).await;
                self.open.push(open);
            }
            step => {
                let now_us = (self.clock.now())();
                return act(self.engine.store(), &mut self.senders, &self.firms[0], now_us, (step, chance)).await;
            }
        }
        String::new()
    }

    /// The pages that were left, behind what came since.
    async fn finish_open(&mut self) {
        for open in std::mem::take(&mut self.open) {
            let rest = open.rest(self.engine.store()).await;
            self.said.push(format!("the rest of {rest}"));
        }
    }

    /// Puts all that is stored past its retention, and lets it go. What waits to be packed is in no
    /// look at it.
    async fn retain(&mut self, cut: Option<usize>, packed: bool) -> String {
        self.finish_open().await;
        for firm in self.firms.iter().filter(|_| packed) {
            self.engine.rearrange(firm).await;
        }
        self.clock.advance(PUT_BY_US);
        let mut told = Vec::new();
        for firm in &self.firms.clone() {
            if let Some(at) = cut {
                self.engine.stop_at(RETAINING[at]);
                // It fails at that step, unless it does not come by it.
                let _ = self.engine.store().retain(firm, Pass::Apply).await;
                self.engine.reopen().await;
            }
            let store = self.engine.store();
            let apply = async |pass: Pass| {
                // How many bytes that are is an engine's own affair.
                Retained { bytes: 0, ..store.retain(firm, pass).await.unwrap() }
            };
            let (looked, gone, left) = (apply(Pass::Look).await, apply(Pass::Apply).await, apply(Pass::Look).await);
            assert_eq!(left, Retained::default(), "all of it went");
            assert!(looked == gone || !packed || cut.is_some(), "{looked:?}, but {gone:?}");
            if cut.is_none() {
                told.push(format!("{gone:?}"));
            }
        }
        // What comes from here on is as young as it was at the beginning.
        let began_us = (self.clock.now())() - NOW;
        self.began_us.push(began_us);
        self.waited_s = 0;
        for sender in &mut self.senders {
            sender.boot_at(began_us);
        }
        self.connect().await;
        told.join(" ")
    }

    async fn erase(&mut self, firm: usize, cut: Option<usize>) -> String {
        self.finish_open().await;
        let firm = self.firms[firm].clone();
        if let Some(at) = cut {
            self.engine.stop_at(ERASING[at]);
            let _ = self.engine.store().erase(&firm).await;
            self.engine.reopen().await;
        }
        let before = self.engine.store().commits().await.unwrap();
        let was_there = self.engine.store().erase(&firm).await.unwrap();
        assert_eq!(self.engine.store().commits().await.unwrap(), before, "how far a store is never falls");
        assert_eq!(self.engine.store().holdings(&firm).await.unwrap(), Holdings::default());
        for sender in self.senders.iter_mut().filter(|sender| sender.plant.firm() == firm) {
            *sender = sender.anew();
        }
        self.connect().await;
        if cut.is_none() { was_there.to_string() } else { String::new() }
    }

    /// Everything that is told of a store without a permit, and all that there is to read.
    async fn facts(&mut self) {
        let store = self.engine.store();
        let said = &mut self.said;
        for firm in &self.firms {
            said.push(format!("series: {:#?}", store.series(firm).await.unwrap()));
            said.push(format!("refused: {:#?}", store.refused_series(firm).await.unwrap()));
            said.push(format!("gaps: {:#?}", store.gaps(firm, 100).await.unwrap()));
            // How many bytes that are is an engine's own affair.
            let held = Holdings { bytes: 0, ..store.holdings(firm).await.unwrap() };
            said.push(format!("holdings: {held:?}"));
            let records = store.dead_records(firm, &Choice::default(), 0, 100).await.unwrap();
            for (number, record) in records.into_iter().enumerate() {
                let mut content = store.dead_content(firm, record.id).await.unwrap().unwrap();
                // Numbers rise, and may leave some out.
                content.record.id = number as i64;
                said.push(format!("dead record: {content:#?}"));
            }
        }
        said.push(format!("dead: {:#?}", store.dead_totals().await.unwrap()));
        for (number, Sender { plant, .. }) in self.senders.iter().enumerate() {
            for ago in 0..self.began_us.len() {
                // With the day after in it, on which late retries put some.
                for (grid, limit, functions) in [
                    (Asked::Raw, 5, 0),
                    (Asked::Every(60), 3, 0x3ff),
                    (Asked::Every(60), 1_000, COUNTED),
                    (Asked::Every(3_600), 2, COUNTED),
                    (Asked::Days, 100, COUNTED),
                ] {
                    let (from, length) = (-3_600, 100_000);
                    let all = Question { plant: number, series: 63, functions, ago, from, length, grid, limit };
                    said.push(all.ask(store, &self.senders, &self.began_us).await);
                }
            }
            // Lanes of before are cleared away by and by.
            let mut lanes = store.lanes(&plant.gateway).await.unwrap();
            lanes.retain(|lane| lane.stored_us >= BOOTED_US + self.began_us[self.began_us.len() - 1]);
            said.push(format!("lanes: {lanes:#?}"));
            said.push(format!("watermark: {:?}", store.watermark(&plant.gateway, plant.lane).await.unwrap()));
            for sequence in 0..=plant.sequence + 1 {
                let sum = store.checksum(&plant.gateway, plant.lane, sequence).await.unwrap();
                said.push(format!("checksum {sequence}: {sum:?}"));
            }
        }
    }
}

/// Takes two engines through so many scripts.
fn agree<A: Engine, B: Engine>(cases: u32) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("SANDAN_SEED").unwrap_or(CI_SEED);
    let cases = number("PROPTEST_CASES").map_or(cases, |cases| u32::try_from(cases).unwrap());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, max_shrink_time: 20_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let ended = runner.run(&any_script(), |script| {
        let (one, other) = (transcript::<A>(&script), transcript::<B>(&script));
        for (one, other) in one.iter().zip(&other) {
            assert_eq!(one, other);
        }
        assert_eq!(one.len(), other.len());
        Ok(())
    });
    assert!(ended.is_ok(), "SANDAN_SEED={seed}, {cases} cases: {}", ended.unwrap_err());
}

#[test]
fn sqlite_and_postgresql_give_the_same_answers() {
    agree::<Sqlite, Plain>(8);
}

/// It runs in WASM, and a case takes it seconds.
#[test]
fn sqlite_and_timescaledb_give_the_same_answers() {
    agree::<Sqlite, Timescaled>(2);
}
