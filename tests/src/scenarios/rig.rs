//! What each fault befalls: an ingest that tells a webhook, a plant, a gateway, a line between.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value as Json;

use super::{Hook, Pace};
use crate::faults::disk::copy_dir;
use crate::harness::{Gateway, GatewayPlan, Ingest, PATIENCE, Programs, Use, lasting_address, wait_for, write_secret};
use crate::plcsim::machine::Make;
use crate::plcsim::{ModbusDevice, ModbusEndpoint, Plant, Scenario};
use crate::proxy::Proxy;

const FIRM: &str = "hanbit-mould";
/// Two machines behind one address, and one behind another.
const ENDPOINTS: [&[&str]; 2] = [&["press", "saw"], &["oven"]];

/// What is special about one.
#[derive(Debug, Default, Clone)]
pub struct Build {
    /// Lasts for the pace's time before it is told; others as usual.
    pub alert: &'static str,
    /// Further configuration of the ingest.
    pub ingest: String,
    /// Environment of the gateway's starts.
    pub environment: Vec<(&'static str, String)>,
    /// Gone for so long it is over, where it is not the pace's.
    pub resolve_s: Option<u64>,
    /// Of its reports, where it is not the pace's.
    pub heartbeat_s: Option<u64>,
}

/// Everything that a fault may befall, up and well.
pub struct Rig {
    /// Its alerts.
    pub hook: Hook,
    /// Who tells them.
    pub ingest: Ingest,
    /// Its only gateway.
    pub gateway: Gateway,
    /// `firm/name`.
    pub gateway_id: String,
    /// Its machines.
    pub plant: Plant,
    /// From the gateway to the ingest.
    pub line: Proxy,
    /// What bounds are reckoned from.
    pub pace: Pace,
    programs: Programs,
    gateway_config: String,
    ingest_config: String,
    /// Last: it goes when the programs in it have ended.
    dir: tempfile::TempDir,
}

impl Rig {
    /// One of its own.
    pub fn new(programs: &Programs, build: &Build) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("sandan-scenario-").tempdir()?;
        let mut pace = Pace::SHORT;
        if let Some(seconds) = build.resolve_s {
            pace.resolve = Duration::from_secs(seconds);
        }
        if let Some(seconds) = build.heartbeat_s {
            pace.heartbeat = Duration::from_secs(seconds);
        }
        let hook = Hook::start()?;
        let further = config(&hook, dir.path(), build, &pace)?;
        let mut ingest = Ingest::with(&programs.apart(), &dir.path().join("ingest"), &further)?;
        let ingest_config = std::fs::read_to_string(ingest.config())?;
        ingest.start()?;
        ingest.add_firm(FIRM, "한빛금형", "Hanbit Mould")?;
        let plant = plant()?;
        let poll_ms = u64::try_from(pace.interval.as_millis())?;
        let uses = ENDPOINTS.concat().into_iter();
        let uses = uses.map(|name| Use::new(plant.device(name), name, "기계", "Machine").every_ms(poll_ms)).collect();
        let line = Proxy::start(ingest.uplink(), 7)?;
        let gateway_id = format!("{FIRM}/press-hall");
        let url = format!("https://{}", line.address());
        let plan = GatewayPlan { spool: "16MiB".into(), ..GatewayPlan::new(&gateway_id, &url, uses) };
        let gateway_config = plan.to_toml();
        let gateway_programs = programs.apart();
        for (name, value) in &build.environment {
            gateway_programs.set_env(name, Some(value));
        }
        let invitation = ingest.add_gateway_through(&gateway_id, line.address())?;
        let mut gateway = Gateway::new(&gateway_programs, &dir.path().join("gateway"), &plan, &invitation)?;
        gateway.start()?;
        let programs = gateway_programs;
        Ok(Self { hook, ingest, gateway, gateway_id, plant, line, pace, programs, gateway_config, ingest_config, dir })
    }

    /// A path beside all of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A second gateway on a copy of this one's state; neither may run meanwhile.
    pub fn clone_of_gateway(&self) -> anyhow::Result<Gateway> {
        let to = self.path("clone");
        copy_dir(&self.path("gateway/state"), &to.join("state"))?;
        Gateway::with_config(&self.programs, &to, "clone", &self.gateway_config)
    }

    /// Starts the ingest anew, with this taken out of its configuration.
    pub fn restart_ingest_without(&mut self, lines: &str) -> anyhow::Result<()> {
        self.ingest.terminate()?;
        std::fs::write(self.ingest.config(), self.ingest_config.replace(lines, ""))?;
        self.ingest.start()
    }

    /// Has the gateway read its machines so often from now on.
    pub fn poll_every_ms(&self, ms: u64) -> anyhow::Result<()> {
        let usual = format!("interval = \"{}ms\"", self.pace.interval.as_millis());
        let config = self.gateway_config.replace(&usual, &format!("interval = \"{ms}ms\""));
        std::fs::write(self.gateway.config(), config)?;
        self.gateway.hang_up()
    }

    /// What `fleet` says, whatever its exit code.
    pub fn fleet(&self) -> anyhow::Result<Json> {
        let config = self.ingest.config().to_string_lossy().into_owned();
        let ended = self.programs.apart().run("sandan-ingest", &["--config", &config, "--json", "fleet"])?;
        serde_json::from_str(&ended.stdout).with_context(|| ended.stderr)
    }

    /// The same for whoever looks for a fault.
    pub fn fleet_in_words(&self) -> String {
        self.fleet().map_or_else(|error| format!("{error:#}"), |fleet| fleet.to_string())
    }

    /// Waits until nothing is wrong, the gateway is in contact and every device of it answers.
    pub fn is_well(&self, what: &str) -> anyhow::Result<()> {
        let well = || {
            let fleet = self.fleet().ok()?;
            let view = fleet["views"].get(0)?;
            let links = view["links"].as_array()?;
            // The gateway counts how the signals are, and most of them are good.
            let is_read = |link: &Json| link["state"] != "down" && link["signals"]["good"].as_u64() > Some(1);
            let answer = links.len() == ENDPOINTS.concat().len() && links.iter().all(is_read);
            let in_contact = view["heard"] == true && view["connected"] == true;
            // What a fault left behind for five minutes is no alarm: the share of polls that failed.
            let is_past = |it: &Json| it["id"] == "poll_success" || it["id"] == "link_flaky";
            let own = fleet["own"].as_array()?;
            let calm = own.iter().chain(view["conditions"].as_array()?).all(is_past);
            (answer && in_contact && calm).then_some(())
        };
        wait_for(what, PATIENCE, well)
    }
}

/// An ingest that tells this hook in both languages, and soon.
fn config(hook: &Hook, dir: &Path, build: &Build, pace: &Pace) -> anyhow::Result<String> {
    let secret = dir.join("hook.secret");
    write_secret(&secret, "0123456789abcdef0123456789abcdef")?;
    let (secret, hook) = (secret.display(), hook.address());
    let lasts = pace.lasts.unwrap_or_default().as_secs();
    let alert =
        if build.alert.is_empty() { String::new() } else { format!("[alerts.for]\n{} = \"{lasts}s\"\n", build.alert) };
    let receivers = ["en", "ko"].map(|language| {
        format!(
            "[alerts.receiver.{language}]\nwebhook = \"http://{hook}/\"\nsecret_file = \"{secret}\"\nlanguage = \"{language}\"\n"
        )
    });
    Ok(format!(
        "[fleet]\nheartbeat = \"{}ms\"\n{}[alerts]\nallow = [\"127.0.0.0/8\"]\nresolve = \"{}s\"\n{alert}{}",
        pace.heartbeat.as_millis(),
        build.ingest,
        pace.resolve.as_secs(),
        receivers.concat()
    ))
}

fn plant() -> anyhow::Result<Plant> {
    let mut modbus = Vec::new();
    for names in ENDPOINTS {
        let devices = (1..).zip(names).map(|(unit, name)| ModbusDevice::new(name, unit, Make::Press)).collect();
        modbus.push(ModbusEndpoint::tcp(lasting_address()?, devices));
    }
    Plant::start(&Scenario { seed: 7, speed: 1.0, modbus, mqtt: Vec::new() })
}
