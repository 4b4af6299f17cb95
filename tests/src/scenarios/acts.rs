//! The faults, each with what is to be seen of it.

use std::cell::RefCell;

use super::{Build, Expected, Promise, Rig, Seen, play};
use crate::faults::acts::fake_clock;
use crate::harness::process::Log;
use crate::harness::{PATIENCE, Programs, wait_for};
use crate::plcsim::fault::Fault;
use crate::servers::Server;

/// The longest pause of a gateway between two tries to reach a machine, seconds.
const MACHINE_PAUSE: u64 = 24;
/// The longest pause of a gateway between two tries to reach the ingest, seconds.
const UPLINK_PAUSE: u64 = 30;
/// A program that is started, and the first connection, seconds.
const START: u64 = 5;
/// How slow a database may be before that is trouble, and how long until it is asked again, seconds.
const DATABASE: u64 = 10;
/// Before so many seconds nobody knows how fast a spool fills.
const FILL: u64 = 30;
/// Reports until an old one says nothing of the clock any more.
const CLOCK_REPORTS: u32 = 6;
/// Readings a second that a firm may send: more than three machines bring at the usual pace,
/// fewer than one of them does when it is read every 20 ms.
const QUOTA: &str = "[quota]\nreadings_per_s = 250\n";
const FAST_MS: u64 = 20;

fn built(programs: &Programs, alert: &'static str) -> anyhow::Result<Rig> {
    Rig::new(programs, &Build { alert, ..Build::default() })
}

/// A cable is pulled, or a PLC is without power: nothing behind its address answers.
pub fn plc_unplugged(programs: &Programs) -> anyhow::Result<Seen> {
    machine(programs, ["PLC unplugged", "PLC 선 빠짐"], "press", Fault::Absent)
}

/// One of two units behind an address is dead.
pub fn slave_dead(programs: &Programs) -> anyhow::Result<Seen> {
    machine(programs, ["One slave of two dead", "슬레이브 둘 중 하나 죽음"], "saw", Fault::Silent)
}

fn machine(programs: &Programs, fault: [&'static str; 2], device: &str, with: Fault) -> anyhow::Result<Seen> {
    let expected = Expected {
        fault,
        state: "degraded",
        link: "down",
        alert: Some("link_down"),
        told: Promise { late: true, beats: 1, lasts: Some(120), ..Promise::default() },
        ended: Promise { seconds: MACHINE_PAUSE, beats: 1, resolve: true, ..Promise::default() },
    };
    let mut rig = built(programs, "link_down")?;
    play(&mut rig, expected, |rig| rig.plant.fault(device, with), |rig| rig.plant.fault(device, Fault::None))
}

/// What a gateway that is not heard looks like.
fn silence(fault: [&'static str; 2], seconds: u64) -> Expected {
    Expected {
        fault,
        state: "silent",
        link: "unknown",
        alert: Some("last_contact"),
        told: Promise { beats: 3, lasts: Some(90), ..Promise::default() },
        ended: Promise { seconds, resolve: true, ..Promise::default() },
    }
}

/// The box loses its power, and comes back.
pub fn gateway_killed(programs: &Programs) -> anyhow::Result<Seen> {
    let mut rig = built(programs, "last_contact")?;
    let expected = silence(["Gateway killed", "게이트웨이 강제 종료"], START);
    let kill = |rig: &mut Rig| {
        rig.gateway.kill();
        Ok(())
    };
    play(&mut rig, expected, kill, |rig| rig.gateway.start())
}

/// The network between the plant and the service is away.
pub fn network_cut(programs: &Programs) -> anyhow::Result<Seen> {
    let mut rig = built(programs, "last_contact")?;
    let set_down = |down| {
        move |rig: &mut Rig| {
            rig.line.set_down(down);
            Ok(())
        }
    };
    let expected = silence(["Network cut", "네트워크 끊김"], UPLINK_PAUSE + START);
    play(&mut rig, expected, set_down(true), set_down(false))
}

/// The service is killed and started: nobody is to be told of gateways that are coming back. The
/// line is held until that was seen.
pub fn ingest_restarted(programs: &Programs) -> anyhow::Result<Seen> {
    let mut rig = Rig::new(programs, &Build { heartbeat_s: Some(5), ..Build::default() })?;
    let expected = Expected {
        fault: ["Ingest restarted", "수집 서버 재시작"],
        state: "enrolled",
        link: "",
        alert: None,
        told: Promise { seconds: START, ..Promise::default() },
        ended: Promise { seconds: UPLINK_PAUSE + START, beats: 1, ..Promise::default() },
    };
    let restart = |rig: &mut Rig| {
        rig.line.set_down(true);
        rig.ingest.kill();
        rig.ingest.start()
    };
    let let_in = |rig: &mut Rig| {
        rig.line.set_down(false);
        Ok(())
    };
    play(&mut rig, expected, restart, let_in)
}

/// The service's database crashes: it is told from memory.
pub fn database_lost(programs: &Programs) -> anyhow::Result<Seen> {
    let server = RefCell::new(Server::start());
    let database = server.borrow().database();
    let ingest = format!("[store]\nengine = \"postgres\"\nurl = \"{}\"\n", database.dsn());
    let mut rig = Rig::new(programs, &Build { alert: "not_storing", ingest, ..Build::default() })?;
    // What is told from memory is told by whoever told before.
    let tells = |log: &Log| log.lines().iter().any(|line| line.contains("alerts are told by this process"));
    wait_for("the ingest to tell alerts", PATIENCE, || tells(rig.ingest.log()).then_some(()))?;
    let expected = Expected {
        fault: ["Database lost", "데이터베이스 끊김"],
        // Its session ends with what could not be stored; what is not heard then is the service's doing.
        state: "silent",
        link: "unknown",
        alert: Some("not_storing"),
        told: Promise { seconds: DATABASE, lasts: Some(30), ..Promise::default() },
        ended: Promise { seconds: DATABASE, resolve: true, ..Promise::default() },
    };
    let crash = |_: &mut Rig| {
        server.borrow_mut().crash();
        Ok(())
    };
    let resume = |_: &mut Rig| {
        server.borrow_mut().resume();
        Ok(())
    };
    play(&mut rig, expected, crash, resume)
}

/// The gateway's wall clock jumps.
pub fn clock_off(programs: &Programs) -> anyhow::Result<Seen> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("clock");
    let environment = fake_clock(&file)?.to_vec();
    let mut rig = Rig::new(programs, &Build { alert: "clock_offset", environment, ..Build::default() })?;
    let expected = Expected {
        fault: ["Clock off by 90 s", "시계 90초 어긋남"],
        state: "degraded",
        link: "up",
        alert: Some("clock_offset"),
        told: Promise { beats: CLOCK_REPORTS, lasts: Some(300), ..Promise::default() },
        ended: Promise { beats: CLOCK_REPORTS, resolve: true, ..Promise::default() },
    };
    let set = |by: &'static str| {
        let file = file.clone();
        move |_: &mut Rig| Ok(std::fs::write(file, by)?)
    };
    play(&mut rig, expected, set("+90\n"), set("+0\n"))
}

/// Machines are read so often that the firm sends more than it may: what is held back fills the
/// spool, until the quota is raised.
pub fn spool_filling(programs: &Programs) -> anyhow::Result<Seen> {
    let build = Build {
        alert: "spool_full_in",
        ingest: QUOTA.into(),
        // Longer than a gateway takes to come back: until then nobody knows of its spool.
        resolve_s: Some(15),
        ..Build::default()
    };
    let mut rig = Rig::new(programs, &build)?;
    let expected = Expected {
        fault: ["Spool filling", "스풀이 차는 중"],
        state: "degraded",
        link: "up",
        alert: Some("spool_full_in"),
        told: Promise { seconds: FILL, beats: 1, lasts: Some(300), ..Promise::default() },
        ended: Promise { seconds: UPLINK_PAUSE + START, beats: 1, resolve: true, ..Promise::default() },
    };
    let raise = |rig: &mut Rig| {
        rig.poll_every_ms(u64::try_from(rig.pace.interval.as_millis())?)?;
        rig.restart_ingest_without(QUOTA)
    };
    play(&mut rig, expected, |rig| rig.poll_every_ms(FAST_MS), raise)
}

/// A card is copied, and both boxes run: the second one is refused until the copy is off and
/// somebody lets it in.
pub fn gateway_cloned(programs: &Programs) -> anyhow::Result<Seen> {
    let mut rig = built(programs, "fenced")?;
    let expected = Expected {
        fault: ["Gateway cloned", "게이트웨이 복제"],
        state: "degraded",
        link: "up",
        alert: Some("fenced"),
        told: Promise { lasts: Some(0), ..Promise::default() },
        ended: Promise { seconds: UPLINK_PAUSE + START, resolve: true, ..Promise::default() },
    };
    let clone = RefCell::new(None);
    let run_both = |rig: &mut Rig| {
        rig.gateway.kill();
        let mut copy = rig.clone_of_gateway()?;
        copy.start()?;
        wait_for("the copy to be let in", PATIENCE, || {
            copy.status().is_ok_and(|status| status["uplink"]["connected"] == true).then_some(())
        })?;
        clone.replace(Some(copy));
        rig.gateway.start()
    };
    let release = |rig: &mut Rig| {
        drop(clone.take());
        rig.ingest.command(&["gateway", "release", &rig.gateway_id]).map(drop)
    };
    play(&mut rig, expected, run_both, release)
}
