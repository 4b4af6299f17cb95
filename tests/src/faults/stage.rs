//! The stage of one run: plant, ingest, proxy, gateway, and what the test did to them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use sandan_gateway::clock;

use super::Fault;
use crate::broker::Broker;
use crate::chance::Chance;
use crate::harness::http::Asker;
use crate::harness::{Gateway, GatewayPlan, Ingest, PATIENCE, Programs, Use, wait_for};
use crate::oracle::ask::{Readers, dead_letters};
use crate::oracle::stall::StallMeter;
use crate::oracle::{Cause, Sum, Told, Window};
use crate::plcsim::fault::Fault as PlantFault;
use crate::plcsim::machine::Make;
use crate::plcsim::{ModbusDevice, ModbusEndpoint, MqttDevice, Plant, Scenario};
use crate::proxy::Proxy;

pub(super) const FIRM: &str = "hanbit-mould";
pub(super) const GATEWAY: &str = "hanbit-mould/press-hall";

/// The sync interval of the gateway under test: shorter than the default, so that a run
/// of some seconds has many of them. What a kill may cost follows it.
pub(super) const SYNC_MS: i64 = 250;
/// Between two polls.
const POLL_MS: u64 = 50;
/// Between two messages of the device that publishes.
const PUBLISH_MS: u64 = 100;
/// Its name and its topic.
const PUBLISHER: &str = "welder";
const TOPIC: &str = "plant/welder/state";
/// What was synced this long before is acknowledged on a good line: two group commits, a
/// round trip, and a second for a machine that is busy with several runs.
const ACKED_WITHIN_MS: i64 = 1_200;

pub(super) struct Stage {
    pub(super) chance: Chance,
    pub(super) ingest_programs: Programs,
    pub(super) gateway_programs: Programs,
    pub(super) ingest: Ingest,
    pub(super) gateway: Gateway,
    pub(super) proxy: Proxy,
    pub(super) clock_off_us: i64,
    plan: GatewayPlan,
    plant: Plant,
    broker: Broker,
    pub(super) uses: Vec<Use>,
    pub(super) owner: Asker,
    stall: StallMeter,
    windows: Vec<Window>,
    notes: Vec<String>,
    /// Faults whose step was not on the way: they were kills at any moment.
    pub(super) missed: Vec<Fault>,
    /// Since when the line does not carry everything, if it does not.
    pub(super) unsent_since_us: Option<i64>,
    /// When the run's first fault began.
    pub(super) first_fault_us: Option<i64>,
    /// Last: it goes when the programs in it have ended.
    dir: tempfile::TempDir,
}

pub(super) fn ms(ms: i64) -> i64 {
    ms * 1000
}

impl Stage {
    /// Everything up, and readings of every device stored.
    pub(super) fn set(programs: &Programs, seed: u64) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("sandan-fault-").tempdir()?;
        let (ingest_programs, gateway_programs) = (programs.apart(), programs.apart());
        let mut chance = Chance::new(seed);
        if chance.percent(30) {
            ingest_programs.set_env("FAILPOINTS", Some("compact.eager=return"));
        }
        let ingest = Ingest::start_new(&ingest_programs, &dir.path().join("ingest"))?;
        ingest.add_firm(FIRM, "한빛금형", "Hanbit Mould")?;
        let device = |name: &str, make| -> anyhow::Result<_> {
            Ok(ModbusEndpoint::tcp(crate::harness::lasting_address()?, vec![ModbusDevice::new(name, 1, make)]))
        };
        let broker = Broker::start()?;
        let welder = MqttDevice {
            name: PUBLISHER.into(),
            broker: broker.address(),
            topic: TOPIC.into(),
            machine: Make::Welder,
            interval_ms: PUBLISH_MS,
            // Until somebody listens.
            fault: PlantFault::Silent,
        };
        let scenario = Scenario {
            seed,
            speed: 1.0,
            modbus: vec![device("rack", Make::Rack)?, device("meter", Make::Meter)?],
            mqtt: vec![welder],
        };
        let plant = Plant::start(&scenario)?;
        let uses: Vec<Use> = ["rack", "meter", PUBLISHER]
            .map(|name| Use::new(plant.device(name), name, "기계", "Machine").every_ms(POLL_MS))
            .to_vec();
        let proxy = Proxy::start(ingest.uplink(), chance.bits())?;
        let plan = GatewayPlan { timeout_ms: 5000, ..GatewayPlan::new(GATEWAY, "", uses.clone()) };
        let invitation = ingest.add_gateway_through(GATEWAY, proxy.address())?;
        let owner = ingest.asker(&ingest.add_member(FIRM, "김하늘")?);
        let stall = StallMeter::start(dir.path())?;
        let gateway = gateway_at(&gateway_programs, &dir.path().join("gateway"), &plan, &proxy)?;
        gateway.enroll(&invitation)?.success()?;
        let mut stage = Self {
            chance,
            ingest_programs,
            gateway_programs,
            ingest,
            gateway,
            proxy,
            clock_off_us: 0,
            plan,
            plant,
            broker,
            uses,
            owner,
            stall,
            windows: Vec::new(),
            notes: Vec::new(),
            missed: Vec::new(),
            unsent_since_us: None,
            first_fault_us: None,
            dir,
        };
        stage.gateway.start()?;
        wait_for("the gateway to listen to its topic", PATIENCE, || stage.broker.hears(TOPIC).then_some(()))?;
        stage.plant.fault(PUBLISHER, PlantFault::None)?;
        stage.flows("readings to be stored")?;
        Ok(stage)
    }

    /// Plays the faults, lets everything come to rest, and gives the sum.
    pub(super) fn play(&mut self, faults: &[Fault]) -> anyhow::Result<Sum> {
        for fault in faults {
            // The storm's own clock, not a wait for a state: the moment is to be any.
            self.pause(100..500);
            self.note(format!("{fault:?}"));
            if !self.apply(*fault).with_context(|| fault.words().0)? {
                self.missed.push(*fault);
            }
        }
        self.calm()?;
        self.proxy.heal();
        self.flows("readings to be stored after the faults")?;
        for used in self.uses.clone() {
            self.plant.fault(&used.device.name, PlantFault::Absent)?;
        }
        // Only then is every answer written down that a machine gave: it does so after it has gone.
        wait_for("the loss of every machine to be stored", PATIENCE, || {
            self.readers().polls_have_ended(&self.owner).ok()?.then_some(())
        })?;
        wait_for("the spool to drain", PATIENCE, || {
            (self.readers().ends_are_stored(&self.owner).ok()? && self.waiting()? == 0).then_some(())
        })?;
        let mut case = self.readers().case(&self.owner, FIRM)?;
        case.windows.clone_from(&self.windows);
        case.clock_off_us = self.clock_off_us;
        case.dead = dead_letters(&self.owner, FIRM)?;
        let sum = case.sum();
        for gap in &case.gaps {
            self.note(format!("declared: {gap:?}"));
        }
        if !self.gateway.terminate()?.success() {
            bail!("the gateway did not end in order");
        }
        if !self.ingest.terminate()?.success() {
            bail!("the ingest did not end in order");
        }
        for (name, log) in [("gateway", self.gateway.log()), ("ingest", self.ingest.log())] {
            if let Some(line) = log.lines().iter().find(|line| line.contains("panicked at")) {
                bail!("the {name} panicked: {line}");
            }
        }
        Ok(sum)
    }

    fn readers(&self) -> Readers {
        Readers::of(&self.plant, &self.uses, FIRM)
    }

    fn waiting(&self) -> Option<u64> {
        self.gateway.status().ok()?["spool"]["unacked_records"].as_u64()
    }

    /// Waits until something of every device that was read from now on is stored.
    pub(super) fn flows(&self, what: &str) -> anyhow::Result<()> {
        let (since_us, readers) = (clock::wall_us(), self.readers());
        wait_for(what, PATIENCE, || readers.all_are_stored_since(&self.owner, since_us).ok()?.then_some(()))
    }

    /// Nothing of the test's own is in the way any more; both programs run.
    fn calm(&mut self) -> anyhow::Result<()> {
        for programs in [&self.ingest_programs, &self.gateway_programs] {
            programs.set_env("FAILPOINTS", None);
        }
        if self.ingest.has_ended() {
            bail!("the ingest ended by itself");
        }
        if self.gateway.has_ended() {
            bail!("the gateway ended by itself");
        }
        Ok(())
    }

    pub(super) fn pause(&mut self, ms: std::ops::Range<u64>) {
        std::thread::sleep(Duration::from_millis(self.chance.within(ms)));
    }

    pub(super) fn note(&mut self, note: impl std::fmt::Display) {
        self.notes.push(format!("{} {note}", clock::wall_us()));
    }

    pub(super) fn spool(&self) -> PathBuf {
        self.dir.path().join("gateway/state/spool")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Everything that was published is acknowledged, and nothing more is until it is to be.
    pub(super) fn still_broker(&self) -> anyhow::Result<()> {
        self.plant.fault(PUBLISHER, PlantFault::Silent)?;
        let client = GATEWAY.replace('/', "-");
        wait_for("every message to be acknowledged", PATIENCE, || {
            let is_out = self.plant.truth().published_by(PUBLISHER).iter().all(|message| message.acked);
            (is_out && self.broker.owed_to(&client) == 0).then_some(())
        })
    }
    /// The publisher goes on.
    pub(super) fn wake_broker(&self) -> anyhow::Result<()> {
        self.plant.fault(PUBLISHER, PlantFault::None)
    }

    /// Another gateway of the firm, with a name of its own, that reads what is polled: all of
    /// it belongs to the first one.
    pub(super) fn stranger(&self, name: &str) -> anyhow::Result<Gateway> {
        let id = format!("{FIRM}/{name}");
        let uses = self.uses.iter().filter(|used| used.device.topic.is_none()).cloned().collect();
        let plan = GatewayPlan { gateway: id.clone(), uses, ..self.plan.clone() };
        let invitation = self.ingest.add_gateway_through(&id, self.proxy.address())?;
        let programs = self.gateway_programs.apart();
        let gateway = gateway_at(&programs, &self.path(name), &plan, &self.proxy)?;
        gateway.enroll(&invitation)?.success()?;
        Ok(gateway)
    }

    /// A second gateway on a copy of the first one's state.
    pub(super) fn twin(&self, name: &str) -> anyhow::Result<Gateway> {
        let identity = self.path(name).join("state/identity");
        std::fs::create_dir_all(identity.parent().unwrap_or(&identity))?;
        super::disk::copy_dir(&self.path("gateway/state/identity"), &identity)?;
        gateway_at(&self.gateway_programs, &self.path(name), &self.plan, &self.proxy)
    }

    /// The line stops carrying records: from here on the spool fills.
    pub(super) fn take_line_down(&mut self) {
        self.unsent_since_us = Some(clock::wall_us());
        self.proxy.set_down(true);
    }

    pub(super) fn bring_line_up(&mut self) {
        self.unsent_since_us = None;
        self.proxy.heal();
    }

    /// What a gateway that ended at `ended_us` and was ready again now may have lost: what
    /// was read within a sync interval before, and what was asked for and came after.
    pub(super) fn lost_by_restart(&mut self, ended_us: i64) {
        let sync_us = ms(SYNC_MS);
        let from = ended_us - sync_us - self.stall.before(ended_us, 2 * sync_us);
        self.explain(Cause::Restart, (from, from), false);
    }

    /// The same for a gateway whose spool lost what it had not sent.
    pub(super) fn lost_unsent(&mut self, since_us: i64) {
        let since_us = self.unacknowledged_since(since_us);
        let from = since_us - ms(SYNC_MS + ACKED_WITHIN_MS) - self.stall.before(since_us, ms(2000));
        self.explain(Cause::Restart, (from, from), true);
        self.explain(Cause::Damaged, (from, from), true);
    }

    /// What a full spool dropped: readings of before the line went down that were not
    /// acknowledged yet, and later ones. The sizes of the gaps stay exact all the same.
    pub(super) fn lost_to_the_cap(&mut self, down_us: i64) {
        let down_us = self.unacknowledged_since(down_us);
        let from = down_us - ms(SYNC_MS + ACKED_WITHIN_MS) - self.stall.before(down_us, ms(2000));
        self.explain(Cause::SpoolFull, (from, from), true);
    }

    /// An earlier fault of the run may have left a backlog that waits for its next connection.
    pub(super) fn unacknowledged_since(&self, us: i64) -> i64 {
        self.first_fault_us.map_or(us, |first_us| first_us.min(us))
    }

    /// A gap of this cause from here until the gateway that is up now reads again: what rows
    /// it may hold and how far back it may reach, and whether what was synced may be lost.
    pub(super) fn explain(&mut self, cause: Cause, (rows_from_us, gap_from_us): (i64, i64), synced: bool) {
        let ready_us = clock::wall_us();
        // The first reading after: a connection and a poll later, on a machine that is busy.
        let first_us = ready_us + ms(1_500);
        // The last reading before lies a poll before the first one that may be lost.
        let last_us = gap_from_us - ms(i64::try_from(3 * POLL_MS).unwrap_or(0));
        let (rows, gap) = ((rows_from_us, ready_us), (last_us, first_us));
        self.windows.push(Window { told: Told::Gap(cause), rows, gap, synced });
    }

    /// What went with a spool that is refused: from what was acknowledged for certain.
    pub(super) fn gone(&mut self, since_us: i64) {
        let from = since_us - ms(SYNC_MS + ACKED_WITHIN_MS) - self.stall.before(since_us, ms(2000));
        let rows = (from, clock::wall_us());
        self.windows.push(Window { told: Told::Refusal, rows, gap: rows, synced: true });
    }

    /// Waits until the ingest refuses the gateway, and lets it in as an operator would, who
    /// looks whether it came: one that ends before it has noted its epoch is refused again.
    pub(super) fn release(&mut self) -> anyhow::Result<()> {
        wait_for("the spool to be refused", PATIENCE, || is_fenced(&self.gateway).then_some(()))?;
        self.ingest.command(&["gateway", "release", GATEWAY])?;
        wait_for("the released gateway to be let in", PATIENCE, || is_connected(&self.gateway).then_some(()))
    }

    /// What was done, in order.
    pub(super) fn notes(&self) -> String {
        self.notes.join("\n")
    }

    /// What a person needs who looks for the fault.
    pub(super) fn report(&self) -> String {
        let tail = |log: &crate::harness::process::Log| log.tail();
        format!(
            "notes:\n{}\nwindows: {:#?}\n── gateway:\n{}\n── ingest:\n{}",
            self.notes(),
            self.windows,
            tail(self.gateway.log()),
            tail(self.ingest.log())
        )
    }
}

pub(super) fn is_connected(gateway: &Gateway) -> bool {
    gateway.status().is_ok_and(|status| status["uplink"]["connected"] == true)
}

/// Whether the ingest refuses its spool.
pub(super) fn is_fenced(gateway: &Gateway) -> bool {
    let fault = gateway.status().ok().and_then(|status| Some(status["uplink"]["fault"].as_str()?.to_owned()));
    fault.is_some_and(|fault| fault.contains("fenced"))
}

fn gateway_at(
    programs: &Programs,
    dir: &std::path::Path,
    plan: &GatewayPlan,
    proxy: &Proxy,
) -> anyhow::Result<Gateway> {
    let plan = GatewayPlan { url: format!("https://{}", proxy.address()), ..plan.clone() };
    let config = plan.to_toml().replace("[spool]\n", &format!("[spool]\nsync_interval = \"{SYNC_MS}ms\"\n"));
    Gateway::with_config(programs, dir, GATEWAY, &config)
}
