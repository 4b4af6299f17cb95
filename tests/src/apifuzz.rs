//! schemathesis, which is not ours, asks a real ingest whatever the `OpenAPI` document lets it
//! ask, and a good deal that it does not: with the token of an owner, with that of a partner
//! under a consent, and with none.
//!
//! The ingest's own figures count what was answered, so that a run that asked nothing does
//! not pass for a good one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::harness::http::Asker;
use crate::harness::{Gateway, GatewayPlan, Ingest, PATIENCE, Programs, Use, lasting_address, wait_for};
use crate::plcsim::machine::Make;
use crate::plcsim::{ModbusDevice, ModbusEndpoint, Plant, Scenario};

const OWNER: &str = "hanbit-mould";
const PARTNER: &str = "daon-heat";
/// What every answer is held against.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,negative_data_rejection,\
                      unsupported_method,allow_header_conformance,ignored_auth";
/// What counts as a refusal of what the document does not allow: what schemathesis takes for one, and
/// an address that is too long.
const TASTE: &str = "[checks]\nnegative_data_rejection.expected-statuses = \
                     [400, 401, 403, 404, 405, 406, 409, 412, 413, 414, 415, 422, 428]\n";
/// The rates are not what is looked at here.
const CONFIG: &str = "[api]\nrequests_per_minute = 10000000\nfirm_requests_per_minute = 10000000\n";

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// What is drawn at random.
    pub seed: u64,
    /// Requests that are made up for each operation and asker, beside the fixed ones.
    pub examples: u32,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Answers by their status.
    pub statuses: BTreeMap<u16, u64>,
    /// What each run that failed said.
    pub faults: Vec<String>,
}

impl Figures {
    /// Requests that were answered.
    pub fn requests(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Whether nothing was answered that the document does not hold, nor by a 5xx.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.statuses.keys().all(|status| *status < 500)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests:", self.requests())?;
        for (status, count) in &self.statuses {
            write!(f, " {count} × {status}")?;
        }
        self.faults.iter().try_for_each(|fault| write!(f, "\n{fault}"))
    }
}

/// Asks a new ingest in `dir`, which has series, a consent and entries in its log. `python`
/// is one that has schemathesis.
pub fn play(programs: &Programs, dir: &Path, python: &Path, extent: Extent) -> anyhow::Result<Figures> {
    let mut ingest = Ingest::with(programs, &dir.join("ingest"), CONFIG)?;
    ingest.start()?;
    ingest.add_firm(OWNER, "한빛금형", "Hanbit Mould")?;
    ingest.add_firm(PARTNER, "다온열처리", "Daon Heat")?;
    let press = ModbusEndpoint::tcp(lasting_address()?, vec![ModbusDevice::new("press", 1, Make::Press)]);
    let plant = Plant::start(&Scenario { seed: extent.seed, speed: 1.0, modbus: vec![press], mqtt: Vec::new() })?;
    let using = Use::new(plant.device("press"), "press-1", "1호 프레스", "Press 1").every_ms(100);
    let plan = GatewayPlan::new(&format!("{OWNER}/press-hall"), &ingest.url(), vec![using]);
    let mut gateway = Gateway::new(programs, &dir.join("press-hall"), &plan, &ingest.add_gateway(&plan.gateway)?)?;
    gateway.start()?;
    let [owner, partner] = [OWNER, PARTNER].map(|firm| ingest.add_member(firm, "김하늘"));
    let (owner, partner) = (owner?, partner?);
    let asker = ingest.asker(&owner);
    let target = format!("/v1/readings?firm={OWNER}&asset=press-1&metric=press_force&from=now-1h");
    wait_for("some readings", PATIENCE, || {
        let answer = asker.get(&target).ok()?.ok().ok()?;
        (answer["readings"].as_array()?.len() > 10).then_some(())
    })?;
    let form = ["--form", "bucketed", "--floor", "1s", "--function", "mean", "--function", "count"];
    ingest.grant(OWNER, PARTNER, "press-1", "press_force", &form)?;

    let mut figures = Figures::default();
    for (who, token) in [("the owner", Some(owner)), ("the partner", Some(partner)), ("nobody", None)] {
        // What it keeps goes with the ingest; nothing of one run is to change what another asks.
        let own = dir.join(who);
        std::fs::create_dir(&own)?;
        std::fs::write(own.join("schemathesis.toml"), TASTE)?;
        let mut command = command(python, &ingest, token.as_deref(), extent)?;
        command.current_dir(&own).env("HYPOTHESIS_STORAGE_DIRECTORY", own.join("hypothesis"));
        let ended = command.output().context("schemathesis did not start")?;
        let said = String::from_utf8_lossy(&ended.stdout);
        if !ended.status.success() {
            let complained = String::from_utf8_lossy(&ended.stderr);
            figures.faults.push(format!("asked by {who}: {}\n{said}\n{complained}", ended.status));
        }
    }
    figures.statuses = answered(&ingest.asker(""))?;
    if !gateway.terminate()?.success() || !ingest.terminate()?.success() {
        bail!("a program did not end well");
    }
    let complaints = ingest.log().complaints(&[]);
    if !complaints.is_empty() {
        figures.faults.push(format!("the ingest complained: {complaints:#?}"));
    }
    Ok(figures)
}

fn command(python: &Path, ingest: &Ingest, token: Option<&str>, extent: Extent) -> anyhow::Result<Command> {
    let tool = std::path::absolute(python)?.with_file_name("schemathesis");
    let mut command = Command::new(tool);
    command.env("NO_COLOR", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg("run").arg(format!("http://{}/v1/openapi.json", ingest.http()));
    command.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--continue-on-failure"]);
    command.args(["--seed", &extent.seed.to_string(), "--max-examples", &extent.examples.to_string()]);
    command.args(["--request-timeout", "30", "--warnings", "off", "--suppress-health-check", "all"]);
    // A stream of events has no end that could be waited for; `api::tests::live` asks it.
    command.args(["--exclude-path", "/v1/readings/live"]);
    if let Some(token) = token {
        command.arg("--header").arg(format!("Authorization: Bearer {token}"));
    }
    Ok(command)
}

/// What the ingest says of its answers.
fn answered(asker: &Asker) -> anyhow::Result<BTreeMap<u16, u64>> {
    let mut statuses = BTreeMap::new();
    for line in asker.get("/metrics")?.body.lines().filter(|it| it.starts_with("sandan_ingest_http_responses_total{")) {
        let status = line.split("status=\"").nth(1).and_then(|rest| rest.split('"').next()).context("no status")?;
        let count = line.rsplit(' ').next().context("no count")?;
        *statuses.entry(status.parse()?).or_default() += count.parse::<u64>()?;
    }
    Ok(statuses)
}
