//! The outage: a plant, a real gateway, an ingest that is away for a while and comes
//! back. While the backlog drains, live readings have to be as fresh as ever.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sandan_gateway::clock;
use serde::Serialize;

use crate::harness::http::{Asker, Series};
use crate::harness::{Gateway, GatewayPlan, Ingest, PATIENCE, Programs, Use, wait_for};
use crate::oracle::Sum;
use crate::oracle::ask::Readers;
use crate::plcsim::fault::Fault;
use crate::plcsim::machine::{Area, Make, serial_point};
use crate::plcsim::{ModbusDevice, ModbusEndpoint, Plant, Scenario};

const FIRM: &str = "hanbit-mould";
const GATEWAY: &str = "hanbit-mould/press-hall";
/// Values of one answer of a rack, its serial number among them.
const RACK: u64 = 51;
/// Answers of a rack a second.
const POLLS: u64 = 10;
/// Between two looks at how fresh the newest reading is.
const LOOK: Duration = Duration::from_millis(100);
/// Looked back so far for the newest reading.
const NEAR_US: i64 = 20_000_000;
/// Fewer records than this wait in a spool that keeps up.
const KEEPS_UP: u64 = 8;

/// An outage to be.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    /// Readings a second, rounded up to whole racks of 510.
    pub rate: u64,
    /// How long the ingest is away.
    pub away: Duration,
}

/// What it came to.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Readings a second that the plant gave away.
    pub rate: u64,
    /// Seconds without an ingest.
    pub away_s: f64,
    /// Readings that waited when the session stood again.
    pub backlog: u64,
    /// From the ingest's start to the session.
    pub reconnected_after_s: f64,
    /// From the session to the first live reading that is stored.
    pub live_after_s: f64,
    /// From the session to an empty spool.
    pub drained_after_s: f64,
    /// Age of the newest stored reading while the backlog drained, ms.
    pub live_age_p50_ms: i64,
    /// 99 of 100 looks found it younger.
    pub live_age_p99_ms: i64,
    /// Looks.
    pub looks: usize,
    /// Of all readings.
    #[serde(skip)]
    pub sum: Sum,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} readings/s, {:.0} s without an ingest", self.rate, self.away_s)?;
        writeln!(f, "session back after {:.1} s with {} readings waiting", self.reconnected_after_s, self.backlog)?;
        writeln!(f, "live again after {:.1} s, drained after {:.1} s", self.live_after_s, self.drained_after_s)?;
        writeln!(
            f,
            "age of the newest stored reading meanwhile: median {} ms, p99 {} ms over {} looks",
            self.live_age_p50_ms, self.live_age_p99_ms, self.looks
        )?;
        write!(f, "{}", self.sum)
    }
}

/// Plays it.
pub fn play(programs: &Programs, outage: Outage) -> anyhow::Result<Figures> {
    let dir = tempfile::Builder::new().prefix("sandan-outage-").tempdir()?;
    let mut ingest = Ingest::start_new(programs, &dir.path().join("ingest"))?;
    ingest.add_firm(FIRM, "한빛금형", "Hanbit Mould")?;
    let racks = outage.rate.div_ceil(RACK * POLLS);
    let names: Vec<String> = (1..=racks).map(|rack| format!("rack-{rack}")).collect();
    let endpoints = names.iter().map(|name| {
        let device = vec![ModbusDevice::new(name, 1, Make::Rack)];
        Ok(ModbusEndpoint::tcp(crate::harness::lasting_address()?, device))
    });
    let modbus = endpoints.collect::<anyhow::Result<_>>()?;
    let plant = Plant::start(&Scenario { seed: 7, speed: 1.0, modbus, mqtt: Vec::new() })?;
    let uses: Vec<Use> =
        names.iter().map(|name| Use::new(plant.device(name), name, "시험대", "Rack").every_ms(1000 / POLLS)).collect();
    let plan = GatewayPlan {
        spool: "1GiB".into(),
        timeout_ms: 5000,
        ..GatewayPlan::new(GATEWAY, &ingest.url(), uses.clone())
    };
    let token = ingest.add_gateway(GATEWAY)?;
    let owner = ingest.asker(&ingest.add_member(FIRM, "김하늘")?);
    let mut gateway = Gateway::new(programs, &dir.path().join("gateway"), &plan, &token)?;
    gateway.start()?;
    let newest = uses[0].series(FIRM, &serial_point(Area::Holding));
    wait_for("readings to be stored", PATIENCE, || age_us(&owner, &newest).ok()?.map(drop))?;

    ensure!(ingest.terminate()?.success(), "the ingest did not end in order");
    let left = Instant::now();
    // The length of the outage, not a wait for a state.
    std::thread::sleep(outage.away);
    ingest.start()?;
    let (back, back_us) = (Instant::now(), clock::wall_us());
    wait_for("the session to stand again", PATIENCE, || {
        (gateway.status().ok()?["uplink"]["connected"] == true).then_some(())
    })?;
    let connected = Instant::now();
    let unacked = |of: &str| gateway.status().ok()?["spool"][of].as_u64();
    let backlog = unacked("unacked_readings").context("the gateway shows no backlog")?;

    let (mut ages, mut live_after) = (Vec::new(), None);
    let patience = outage.away + PATIENCE;
    while unacked("unacked_records").is_none_or(|records| records > KEEPS_UP) {
        ensure!(connected.elapsed() < patience, "the backlog did not drain");
        if let Some(age) = age_us(&owner, &newest)? {
            // Stored since the ingest is back, and taken since: live.
            if live_after.is_none() && clock::wall_us() - age > back_us {
                live_after = Some(connected.elapsed());
            }
            if live_after.is_some() {
                ages.push(age / 1000);
            }
        }
        std::thread::sleep(LOOK);
    }
    let drained = connected.elapsed();
    for name in &names {
        plant.fault(name, Fault::Absent)?;
    }
    let readers = || Readers::of(&plant, &uses, FIRM);
    let drained_to_the_end = || readers().ends_are_stored(&owner).ok()?.then_some(());
    wait_for("the last readings", PATIENCE, drained_to_the_end)?;
    let sum = readers().case(&owner, FIRM)?.sum();
    ensure!(gateway.terminate()?.success(), "the gateway did not end in order");
    ensure!(ingest.terminate()?.success(), "the ingest did not end in order");

    ages.sort_unstable();
    let at =
        |share: usize| ages.get((ages.len() * share / 100).min(ages.len().saturating_sub(1))).copied().unwrap_or(0);
    Ok(Figures {
        rate: racks * RACK * POLLS,
        away_s: (back - left).as_secs_f64(),
        backlog,
        reconnected_after_s: (connected - back).as_secs_f64(),
        live_after_s: live_after.unwrap_or(drained).as_secs_f64(),
        drained_after_s: drained.as_secs_f64(),
        live_age_p50_ms: at(50),
        live_age_p99_ms: at(99),
        looks: ages.len(),
        sum,
    })
}

/// The age of the newest stored reading; none when nothing near now is stored.
fn age_us(owner: &Asker, series: &Series) -> anyhow::Result<Option<i64>> {
    let now = clock::wall_us();
    let readings = owner.readings(series, now - NEAR_US, now + NEAR_US)?;
    Ok(readings.last().map(|last| clock::wall_us() - last.time_us))
}
