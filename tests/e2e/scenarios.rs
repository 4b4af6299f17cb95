//! What an operator sees of nine faults, played on the real programs, and the table of it in
//! `docs/fleet.md`: `SANDAN_BLESS=1` writes it anew.

use sandan_tests::harness::{Gateway, GatewayPlan, PATIENCE, Programs, lasting_address, wait_for};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::Make;
use sandan_tests::scenarios::table::{table, within};
use sandan_tests::scenarios::{Seen, acts};

use crate::docs::{read, root};
use crate::world::{FIRM, World, plant, programs, used};

type Act = fn(&Programs) -> anyhow::Result<Seen>;

/// In the order of the table, each with the lane in which it is played: lanes run side by side.
const ACTS: [(Act, usize); 9] = [
    (acts::plc_unplugged, 0),
    (acts::slave_dead, 0),
    (acts::gateway_killed, 0),
    (acts::network_cut, 0),
    (acts::ingest_restarted, 1),
    (acts::database_lost, 1),
    (acts::clock_off, 1),
    (acts::spool_filling, 2),
    (acts::gateway_cloned, 1),
];

#[test]
fn each_fault_is_shown_and_told_once_within_its_bound_and_so_is_its_end() {
    let programs = programs();
    let play = |lane: usize| {
        let of_lane = ACTS.iter().enumerate().filter(|(_, (_, its))| *its == lane);
        of_lane.map(|(at, (act, _))| (at, act(&programs))).collect::<Vec<_>>()
    };
    let mut seen: Vec<(usize, anyhow::Result<Seen>)> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..3).map(|lane| scope.spawn(move || play(lane))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    seen.sort_by_key(|(at, _)| *at);
    for (_, seen) in &seen {
        match seen {
            Ok(seen) => {
                eprintln!(
                    "{}: told after {:?}, its end after {:?}",
                    seen.expected.fault[0], seen.took[0], seen.took[1]
                );
            }
            Err(error) => eprintln!("FAILED: {error:#}"),
        }
    }
    let seen: Vec<Seen> = seen.into_iter().map(|(_, seen)| seen.unwrap()).collect();
    for (page, korean) in [("docs/fleet.md", false), ("docs/fleet.ko.md", true)] {
        let document = read(page);
        let wanted = within(&document, &table(&seen, korean)).expect("the marks of the table");
        if std::env::var_os("SANDAN_BLESS").is_some() {
            std::fs::write(root().join(page), &wanted).unwrap();
        } else {
            assert_eq!(document, wanted, "{page}: SANDAN_BLESS=1 writes it anew");
        }
    }
}

#[test]
fn the_exit_code_of_status_says_whether_all_is_well() {
    let world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let plan = GatewayPlan::new(&format!("{FIRM}/hall"), &world.ingest.url(), vec![used(&plant, "press", "press")]);
    let http = lasting_address().unwrap().to_string();
    let config = plan.to_toml().replace("127.0.0.1:0", &http);
    let mut gateway = Gateway::with_config(&programs(), &world.dir().join("hall"), "hall", &config).unwrap();
    gateway.enroll(&world.ingest.add_gateway(&plan.gateway).unwrap()).unwrap().success().unwrap();
    let file = gateway.config().to_str().unwrap().to_owned();
    let status = |more: &[&str]| programs().run("sandan-gateway", &[&["status", &file], more].concat()).unwrap();
    let ends = |code: i32, says: &str| {
        let told = || Some(status(&[])).filter(|it| it.code == Some(code) && it.stdout.contains(says));
        wait_for(&format!("an exit with {code}"), PATIENCE, told).unwrap()
    };
    let absent = status(&[]);
    assert_eq!(absent.code, Some(2), "{}", absent.stderr);
    assert!(absent.stderr.contains("no gateway answers on"), "{}", absent.stderr);
    gateway.start().unwrap();
    ends(0, "all is well");
    plant.fault("press", Fault::Absent).unwrap();
    ends(1, "wrong: device press is down");
    let json: serde_json::Value = serde_json::from_str(&status(&["--json"]).stdout).unwrap();
    assert_eq!((&json["wrong"][0], &json["gateway"]), (&"device press is down".into(), &plan.gateway.clone().into()));
    gateway.kill();
    assert_eq!(status(&[]).code, Some(2));
}
