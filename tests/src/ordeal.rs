//! The ordeal: a gateway reads a plant in which everything goes wrong that a gateway can do
//! something about, over Modbus TCP, RTU, RTU over TCP and MQTT.
//!
//! What it shows: no value is stored that its register did not hold when it was asked, the
//! gateway's memory stays flat, what was gone is read again within one cap of the waits
//! between two attempts, and nothing but reading is ever asked for. `tests/soak.sh plant` plays
//! it for an hour, an end-to-end test for some seconds.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sandan_gateway::clock;
use serde::Serialize;

use crate::broker::Broker;
use crate::harness::{Gateway, GatewayPlan, Ingest, PATIENCE, Programs, Use, wait_for};
use crate::plcsim::fault::Fault;
use crate::plcsim::machine::Make;
use crate::plcsim::truth::{Return, Traffic, Truth};
use crate::plcsim::{Absence, Listen, MqttDevice, Plant, Scenario};

mod check;
mod memory;
mod plan;
mod tap;

use check::Checker;
pub use check::Verdict;
use memory::Memory;
use tap::Tap;

const FIRM: &str = "hanbit-mould";
const GATEWAY: &str = "hanbit-mould/press-hall";
const PUBLISHER: &str = "welder";
/// What the gateway promises: who comes back is read again within it.
pub const CAP: Duration = Duration::from_secs(30);
/// Between two looks at the gateway's memory.
const LOOK: Duration = Duration::from_secs(5);
/// Between two cuts of the broker's connections, and two lines of progress.
const CUT: Duration = Duration::from_mins(1);
/// What the gateway may grow by over the second half: pages that the allocator keeps, no leak.
const FLAT_KIB: f64 = 2_048.0;
/// Runs that are shorter say nothing about memory: it is still being filled.
const JUDGED: Duration = Duration::from_mins(5);

/// An ordeal to be.
#[derive(Debug, Clone, Copy)]
pub struct Ordeal {
    /// How long it takes.
    pub length: Duration,
    /// Of all chance in the plant.
    pub seed: u64,
    /// Absences come and go so many times as fast, and breaks with them.
    pub hurry: u32,
}

/// What it came to.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Seconds.
    pub took_s: f64,
    /// Of the stored values.
    pub values: Verdict,
    /// What the plant heard, and what befell its answers.
    pub traffic: Traffic,
    /// Returns after which an answer came in time, and those that were not given the time.
    pub returns: (usize, usize),
    /// The longest time from a return to the first answer, s.
    pub longest_return_s: f64,
    /// Devices that took longer than the cap.
    pub late_returns: Vec<Return>,
    /// Control packets that the gateway sent to its broker, by name.
    pub mqtt: BTreeMap<&'static str, u64>,
    /// KiB of the gateway at the middle and at the end, and its growth by the hour.
    pub memory_kib: (f64, f64, f64),
    /// Seconds of processor time that the gateway took.
    pub processor_s: f64,
    /// What is wrong.
    pub faults: Vec<String>,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { values, traffic, memory_kib: (middle, end, hourly), .. } = self;
        writeln!(f, "{:.0} s; {values}", self.took_s)?;
        writeln!(
            f,
            "requests by function code: {:?}; bytes of no request: {}",
            traffic.functions, traffic.strange_bytes
        )?;
        writeln!(f, "befell answers: {:?}", traffic.faults)?;
        writeln!(f, "sent to the broker: {:?}", self.mqtt)?;
        writeln!(
            f,
            "returns: {} measured, the longest {:.1} s (cap {} s); {} were gone again before",
            self.returns.0,
            self.longest_return_s,
            CAP.as_secs(),
            self.returns.1
        )?;
        writeln!(f, "gateway: {middle:.0} KiB at the middle, {end:.0} KiB at the end, {hourly:+.0} KiB an hour")?;
        write!(f, "gateway: {:.1} s of processor time", self.processor_s)?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  WRONG: {fault}"))
    }
}

/// The plant of the soak, with its serial port below `dir`.
pub fn scenario(dir: &Path, ordeal: Ordeal) -> anyhow::Result<Scenario> {
    let mut scenario = Scenario::parse(include_str!("../cases/plcsim/soak.toml"))?;
    scenario.seed = ordeal.seed;
    let hurry = ordeal.hurry.max(1);
    let hasten = |away: &mut Option<Absence>| {
        if let Some(away) = away {
            (away.every, away.lasting) = (away.every / hurry, away.lasting / hurry);
        }
    };
    for line in &mut scenario.modbus {
        hasten(&mut line.away);
        line.device.iter_mut().for_each(|device| hasten(&mut device.away));
        // A port of its own over all absences.
        match &mut line.listen {
            Listen::Tcp(address) | Listen::RtuTcp(address) => *address = crate::harness::lasting_address()?,
            Listen::Serial(link) => *link = dir.join("bus"),
        }
    }
    Ok(scenario)
}

/// Plays it; tells how it goes.
pub fn play(programs: &Programs, ordeal: Ordeal, tell: impl Fn(&str)) -> anyhow::Result<Figures> {
    let dir = tempfile::Builder::new().prefix("sandan-ordeal-").tempdir()?;
    let mut ingest = Ingest::start_new(programs, &dir.path().join("ingest"))?;
    ingest.add_firm(FIRM, "한빛금형", "Hanbit Mould")?;
    let broker = Broker::start()?;
    let tap = Tap::start(broker.address())?;
    let mut scenario = scenario(dir.path(), ordeal)?;
    scenario.mqtt.push(MqttDevice {
        name: PUBLISHER.into(),
        broker: broker.address(),
        topic: "plant/welder/state".into(),
        machine: Make::Welder,
        interval_ms: 500,
        fault: Fault::None,
    });
    let truth = Truth::default().capturing(&dir.path().join("capture.jsonl"))?;
    let plant = Plant::start_with(&scenario, truth)?;
    let mut welder = plant.device(PUBLISHER).clone();
    welder.address = format!("mqtt://{}", tap.address());
    let welder = Use::new(&welder, PUBLISHER, "용접기", "Welder");
    let basis = GatewayPlan::new(GATEWAY, &ingest.url(), vec![welder.clone()]);
    let owner = ingest.asker(&ingest.add_member(FIRM, "김하늘")?);
    let config = format!("{}{}", basis.to_toml(), plan::modbus(&scenario, &plant));
    let mut gateway = Gateway::with_config(programs, &dir.path().join("gateway"), GATEWAY, &config)?;
    gateway.enroll(&ingest.add_gateway(GATEWAY)?)?.success()?;
    let checker = Checker::new(&scenario, owner);
    gateway.start()?;

    let (began, mut memory, mut next_cut) = (Instant::now(), Memory::of(gateway.id().context("no process")?), CUT);
    let every = LOOK.min(ordeal.length / 10);
    while began.elapsed() < ordeal.length {
        // The ordeal's own length, not a wait for a state.
        std::thread::sleep(every.min(ordeal.length.saturating_sub(began.elapsed())));
        ensure!(!gateway.has_ended(), "the gateway ended by itself:\n{}", gateway.log().tail());
        memory.look(began.elapsed())?;
        if began.elapsed() >= next_cut / ordeal.hurry.max(1) {
            next_cut += CUT;
            tap.cut();
            let requests: u64 = plant.truth().traffic().functions.values().sum();
            let returns = plant.truth().returns();
            let longest = longest_return(&returns);
            tell(&format!(
                "{:.0} s: {requests} requests, {} returns (longest {longest:.1} s), gateway {} KiB",
                began.elapsed().as_secs_f64(),
                returns.len(),
                memory.last_kib()
            ));
        }
    }
    let took_s = began.elapsed().as_secs_f64();
    plant.calm();
    let calm_us = clock::wall_us();
    let unread = || checker.unread_since(calm_us);
    wait_for("every device to be read again", CAP + PATIENCE, || unread().ok()?.is_empty().then_some(()))
        .with_context(|| format!("{:?} are not; {:#?}\n{}", unread(), gateway.status(), gateway.log().tail()))?;
    let waiting = || gateway.status().ok()?["spool"]["unacked_records"].as_u64();
    let (returns, traffic, processor_s) = (plant.truth().returns(), plant.truth().traffic(), memory.processor_s()?);
    wait_for("the gateway's spool to be nearly empty", PATIENCE, || {
        waiting().filter(|records| *records < 8).map(drop)
    })?;
    ensure!(gateway.terminate()?.success(), "the gateway did not end in order:\n{}", gateway.log().tail());
    let mut values = checker.check(&plant)?;
    checker.check_published(&plant, &welder, &mut values)?;
    ensure!(ingest.terminate()?.success(), "the ingest did not end in order");

    let cap_us = i64::try_from(CAP.as_micros())?;
    let end_us = clock::monotonic_us();
    let took = |back: &Return| back.answered_after_us.unwrap_or(back.gone_again_us.unwrap_or(end_us) - back.mono_us);
    let late_returns: Vec<Return> = returns.iter().filter(|back| took(back) > cap_us).cloned().collect();
    let measured = returns.iter().filter(|back| back.answered_after_us.is_some()).count();
    let mut figures = Figures {
        took_s,
        values,
        traffic,
        returns: (measured, returns.len() - measured),
        longest_return_s: longest_return(&returns),
        late_returns,
        mqtt: tap.sent(),
        memory_kib: memory.second_half(),
        processor_s,
        faults: Vec::new(),
    };
    figures.faults = figures.judge(ordeal.length);
    figures.faults.extend(
        gateway.log().lines().iter().filter(|line| line.contains("panicked at")).map(|line| format!("a panic: {line}")),
    );
    Ok(figures)
}

fn longest_return(returns: &[Return]) -> f64 {
    returns.iter().filter_map(|back| back.answered_after_us).max().unwrap_or(0) as f64 / 1e6
}

impl Figures {
    /// Whether all is as it should be.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    fn judge(&self, length: Duration) -> Vec<String> {
        let mut faults = self.values.faults.clone();
        let foreign: Vec<_> = self.traffic.functions.keys().filter(|code| !(1..=4).contains(*code)).collect();
        if !foreign.is_empty() || self.traffic.strange_bytes > 0 {
            faults.push(format!("function codes {foreign:?}, {} bytes of no request", self.traffic.strange_bytes));
        }
        if let Some(published) = self.mqtt.get("PUBLISH") {
            faults.push(format!("the gateway published {published} messages"));
        }
        for late in &self.late_returns {
            faults.push(format!("a return took longer than {} s: {late:?}", CAP.as_secs()));
        }
        let (middle, end, hourly) = self.memory_kib;
        let grown = hourly * length.as_secs_f64() / 2.0 / 3_600.0;
        if length >= JUDGED && grown > FLAT_KIB {
            faults.push(format!("the gateway grew by {grown:.0} KiB over the second half ({middle:.0} to {end:.0})"));
        }
        faults
    }
}
