//! Several processes of the ingest on one PostgreSQL database.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::Parser;
use sandan_gateway::clock;
use sandan_tests::chance::{asked_seed, fresh_seed};
use sandan_tests::harness::http::Asker;
use sandan_tests::harness::{Gateway, GatewayPlan, Ingest, PATIENCE, wait_for};
use sandan_tests::loadgen::{Load, play};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::machine::Make;
use sandan_tests::servers::{self, Database};

use crate::world::{FIRM, OTHER, browse, plant, programs, used};

/// How long a revocation may take to hold everywhere.
const HOLDS: Duration = Duration::from_secs(1);

/// One of two is killed under load and comes back: every reading is stored once.
#[test]
fn one_of_two_processes_is_killed_under_load_and_the_sum_is_exact() {
    let database = servers::plain();
    let args = "loadgen --gateways 6 --signals 10 --rate 5 --seconds 6 --processes 2 --kill 2:2 --resend 30";
    let mut load = Load::parse_from(args.split(' '));
    load.postgres = Some(database.dsn().to_owned());
    let seed = asked_seed().unwrap_or_else(fresh_seed);
    eprintln!("SANDAN_SEED={seed}");
    let figures = play(&programs(), &load, seed).unwrap();
    eprintln!("{figures}");
    let sum = figures.sum.unwrap();
    assert!(sum.is_exact() && sum.stored == figures.acknowledged, "{sum}");
    assert!(figures.duplicates > 0, "nothing was sent twice");
    // Those that were on the first one.
    assert!(figures.reconnects >= 3, "no session was cut: {} reconnects", figures.reconnects);
}

/// Two processes that are up, on one database.
struct Two {
    first: Ingest,
    second: Ingest,
    dir: tempfile::TempDir,
    _database: Database,
}

impl Two {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("sandan-e2e-").tempdir().unwrap();
        let database = servers::plain();
        let store = format!("[store]\nengine = \"postgres\"\nurl = \"{}\"\n", database.dsn());
        let make = |name: &str| Ingest::with(&programs(), &dir.path().join(name), &store).unwrap();
        let (mut first, mut second) = (make("first"), make("second"));
        first.start().unwrap();
        first.share_authority(&second).unwrap();
        second.start().unwrap();
        for (id, name) in [(FIRM, "한빛금형"), (OTHER, "다온열처리")] {
            first.add_firm(id, name, id).unwrap();
        }
        Self { first, second, dir, _database: database }
    }
}

/// What is withdrawn at one holds at the other.
#[test]
fn what_one_process_withdraws_holds_at_the_other_within_a_second() {
    let Two { mut first, mut second, dir, _database } = Two::start();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let press = used(&plant, "press", "press-1");
    let id = format!("{FIRM}/press-hall");
    let plan = GatewayPlan::new(&id, &second.url(), vec![press.clone()]);
    // Invited at the one, enrolled and served at the other.
    let invitation = first.add_gateway(&id).unwrap().replace(&first.uplink().to_string(), &second.uplink().to_string());
    let mut gateway = Gateway::new(&programs(), &dir.path().join("gateway"), &plan, &invitation).unwrap();
    gateway.start().unwrap();
    let owner = second.asker(&first.add_member(FIRM, "김하늘").unwrap());
    let partner = second.asker(&first.add_member(OTHER, "박바다").unwrap());
    let series = press.series(FIRM, &plant.device("press").points[0]);
    let day = || (clock::wall_us() - 3_600_000_000, clock::wall_us() + 60_000_000);
    let stored = |asker: &Asker| {
        let (from, to) = day();
        asker.readings(&series, from, to)
    };
    wait_for("readings at the second", PATIENCE, || stored(&owner).ok().filter(|it| !it.is_empty()).map(drop)).unwrap();

    assert!(stored(&partner).is_err(), "nothing is shared yet");
    let consent = first.grant(FIRM, OTHER, "press-1", &series.metric, &["--form", "raw"]).unwrap();
    wait_for("the consent at the second", HOLDS, || stored(&partner).ok().map(drop)).unwrap();
    first.revoke(&consent).unwrap();
    wait_for("its end at the second", HOLDS, || stored(&partner).err().map(drop)).unwrap();

    // A session of the second ends because the first withdrew its gateway.
    assert_eq!(gateway.status().unwrap()["uplink"]["connected"], true);
    first.command(&["gateway", "revoke", &id]).unwrap();
    let revoked = Instant::now();
    wait_for("the session to end", PATIENCE, || (gateway.status().ok()?["uplink"]["connected"] == false).then_some(()))
        .unwrap();
    assert!(revoked.elapsed() < 3 * HOLDS, "the session went on for {:?}", revoked.elapsed());
    gateway.terminate().unwrap();
    for ingest in [&mut first, &mut second] {
        assert!(ingest.terminate().unwrap().success());
    }
}

/// The id of a member or operator of this name.
fn listed(at: &Ingest, whom: &str, name: &str) -> String {
    let all = at.command(&["--json", whom, "list"]).unwrap();
    let mut all = all.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    all.find(|it| it["name"] == name).unwrap()["id"].as_str().unwrap().to_owned()
}

/// People who are shown the door at one are out at the other.
#[test]
fn whoever_is_revoked_at_one_process_is_out_at_the_other_within_a_second() {
    let Two { mut first, mut second, dir: _dir, _database } = Two::start();
    let member = second.asker(&first.add_member(FIRM, "김하늘").unwrap());
    let other = second.asker(&first.add_member(FIRM, "박바다").unwrap());
    let is_in = |asker: &Asker| asker.get("/v1/series").ok().map(|answer| answer.status);
    wait_for("both members at the second", PATIENCE, || {
        (is_in(&member) == Some(200) && is_in(&other) == Some(200)).then_some(())
    })
    .unwrap();
    let id = listed(&first, "member", "김하늘");
    first.command(&["member", "revoke", &id]).unwrap();
    wait_for("the member's end at the second", HOLDS, || (is_in(&member) == Some(401)).then_some(())).unwrap();
    assert_eq!(is_in(&other), Some(200), "whoever stays");

    // An operator who signed in at the first is signed in at the second too.
    let operator = first.command(&["operator", "add", "--name", "운영"]).unwrap();
    let told = browse(first.http(), "POST /sign-in", "", &format!("token={}", operator.trim())).unwrap();
    let cookie = told.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next()).unwrap();
    let page = || browse(second.http(), "GET /", cookie, "").unwrap();
    assert!(page().starts_with("HTTP/1.1 200"), "{}", page());
    let id = listed(&first, "operator", "운영");
    first.command(&["operator", "revoke", &id]).unwrap();
    wait_for("the operator's end at the second", HOLDS, || page().starts_with("HTTP/1.1 401").then_some(())).unwrap();
    for ingest in [&mut first, &mut second] {
        assert!(ingest.terminate().unwrap().success());
    }
}

/// One stream of events. HTTP/1.0, so that the body comes as it is, up to the end of the connection.
struct Events(std::io::Lines<BufReader<TcpStream>>);

impl Events {
    fn follow(at: SocketAddr, target: &str, token: &str, last: &str) -> Self {
        let mut connection = TcpStream::connect(at).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("authorization: Bearer {token}\r\nlast-event-id: {last}");
        write!(connection, "GET {target} HTTP/1.0\r\nhost: {at}\r\n{head}\r\n\r\n").unwrap();
        Self(BufReader::new(connection).lines())
    }

    /// Name, id and data of the next event.
    fn next(&mut self) -> (String, String, serde_json::Value) {
        let (mut name, mut id) = (String::new(), String::new());
        loop {
            let line = self.0.next().expect("the stream goes on").unwrap();
            if let Some(value) = line.strip_prefix("event: ") {
                value.clone_into(&mut name);
            } else if let Some(value) = line.strip_prefix("id: ") {
                value.clone_into(&mut id);
            } else if let Some(value) = line.strip_prefix("data: ") {
                return (name, id, serde_json::from_str(value).unwrap());
            }
        }
    }
}

/// A stream is begun at the one, gone on with at the other, and ended by what the first withdraws.
#[test]
fn a_live_stream_goes_on_at_another_process_and_gives_each_reading_once() {
    let Two { mut first, mut second, dir, _database } = Two::start();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let press = used(&plant, "press", "press-1");
    let plan = GatewayPlan::new(&format!("{FIRM}/press-hall"), &second.url(), vec![press.clone()]);
    let invitation =
        first.add_gateway(&plan.gateway).unwrap().replace(&first.uplink().to_string(), &second.uplink().to_string());
    let mut gateway = Gateway::new(&programs(), &dir.path().join("gateway"), &plan, &invitation).unwrap();
    gateway.start().unwrap();
    let series = press.series(FIRM, &plant.device("press").points[0]);
    let owner = second.asker(&first.add_member(FIRM, "김하늘").unwrap());
    let token = first.add_member(OTHER, "박바다").unwrap();
    let begin_us = clock::wall_us() - 3_600_000_000;
    let stored = || owner.readings(&series, begin_us, clock::wall_us() + 60_000_000);
    wait_for("readings", PATIENCE, || stored().ok().filter(|it| it.len() > 3).map(drop)).unwrap();
    let consent = first.grant(FIRM, OTHER, &series.asset, &series.metric, &["--form", "raw"]).unwrap();

    let target = format!("/v1/readings/live?firm={FIRM}&asset={}&metric={}&from=now-1h", series.asset, series.metric);
    let (mut seen, mut place) = (Vec::new(), String::new());
    // By turns at the one and at the other, as a client behind a balancer that is cut off each time.
    for turn in 0..6 {
        let at = if turn % 2 == 0 { first.http() } else { second.http() };
        let mut events = Events::follow(at, &target, &token, &place);
        assert_eq!(events.next().0, "series");
        let (name, id, data) = events.next();
        assert_eq!(name, "readings", "{data}");
        seen.extend(data["readings"].as_array().unwrap().iter().map(|it| it["time"].as_str().unwrap().to_owned()));
        place = id;
    }
    let mut last = Events::follow(second.http(), &target, &token, &place);
    assert_eq!(last.next().0, "series");
    first.revoke(&consent).unwrap();
    let revoked = Instant::now();
    let why = loop {
        let (name, _, data) = last.next();
        if name == "end" {
            break data;
        }
        seen.extend(data["readings"].as_array().unwrap().iter().map(|it| it["time"].as_str().unwrap().to_owned()));
    };
    eprintln!("the stream at the other process ended {:?} after the revocation", revoked.elapsed());
    assert_eq!(why["code"], "withdrawn");
    assert!(revoked.elapsed() < 3 * HOLDS, "the stream went on for {:?}", revoked.elapsed());

    gateway.terminate().unwrap();
    let newest = seen.iter().max().unwrap().clone();
    let answer = owner.list(&format!("{}&limit=10000", series.path(begin_us, clock::wall_us()).unwrap()), "readings");
    let times = answer.unwrap().into_iter().map(|it| it["time"].as_str().unwrap().to_owned());
    let mut all: Vec<_> = times.filter(|time| *time <= newest).collect();
    seen.sort();
    all.sort();
    assert_eq!(seen, all, "each reading up to the last that came, and each once");
    for ingest in [&mut first, &mut second] {
        assert!(ingest.terminate().unwrap().success());
    }
}
