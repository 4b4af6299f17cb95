//! kill -9, ten times each side, while the plant goes on.

use std::time::Duration;

use sandan_gateway::clock;
use sandan_tests::chance::Chance;
use sandan_tests::harness::{PATIENCE, wait_for};
use sandan_tests::oracle::ask::Readers;
use sandan_tests::oracle::stall::StallMeter;
use sandan_tests::oracle::{Cause, Told, Window};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::Make;

use crate::world::{FIRM, World, plant, used};

/// Kills of each side.
const KILLS: usize = 10;
/// The gateway's sync interval, µs: how much a kill may cost. Beyond it only what the
/// machine stood still for, as measured beside the storm, is admitted.
const SYNC_US: i64 = 1_000_000;
/// A restarted gateway connects and polls; until its first answer its gap goes on.
const FIRST_POLL_US: i64 = 1_500_000;
/// Between two answers of a device.
const POLL_US: i64 = 100_000;
/// Time between two kills, ms.
const BETWEEN: std::ops::Range<u64> = 300..1800;

#[test]
fn ten_kills_of_each_side_lose_at_most_a_sync_interval_and_double_nothing() {
    let mut chance = Chance::announced();
    let mut world = World::new();
    let plant = plant(
        vec![
            vec![ModbusDevice::new("press", 1, Make::Press), ModbusDevice::new("meter", 2, Make::Meter)],
            vec![ModbusDevice::new("furnace", 1, Make::Furnace)],
        ],
        Vec::new(),
    );
    let uses = ["press", "meter", "furnace"].map(|name| used(&plant, name, name)).to_vec();
    let mut gateway = world.gateway("press-hall", uses.clone());
    let owner = world.member(FIRM);
    let stall = StallMeter::start(world.dir()).unwrap();
    gateway.start().unwrap();
    // Something is stored before the first kill: what nobody ever synced has no gap.
    let begun = || Readers::of(&plant, &uses, FIRM).ends_are_stored(&owner).is_ok_and(|stored| stored).then_some(());
    wait_for("each device to be stored", PATIENCE, begun).unwrap();

    let mut order: Vec<bool> = [[true; KILLS], [false; KILLS]].concat();
    chance.shuffle(&mut order);
    let mut windows = Vec::new();
    for kill_gateway in order {
        // The storm's own clock, not a wait for a state: the moment is to be any.
        std::thread::sleep(Duration::from_millis(chance.within(BETWEEN)));
        if kill_gateway {
            gateway.kill();
            let killed = clock::wall_us();
            gateway.start().unwrap();
            let stood = stall.before(killed, 2 * SYNC_US);
            let (from, ready) = (killed - SYNC_US - stood, clock::wall_us());
            let gap = (from - 3 * POLL_US, ready + FIRST_POLL_US);
            windows.push((
                killed,
                stood,
                Window { told: Told::Gap(Cause::Restart), rows: (from, ready), gap, synced: false },
            ));
        } else {
            world.ingest.kill();
            world.ingest.start().unwrap();
        }
    }
    // Calm: something of after the storm, then the plant ends and everything drains.
    let calm = plant.truth().len();
    wait_for("the plant to be read after the storm", PATIENCE, || (plant.truth().len() > calm + 30).then_some(()))
        .unwrap();
    for name in ["press", "meter", "furnace"] {
        plant.fault(name, Fault::Absent).unwrap();
    }
    wait_for("everything to drain", PATIENCE, begun).unwrap();
    let mut case = Readers::of(&plant, &uses, FIRM).case(&owner, FIRM).unwrap();
    case.windows = windows.iter().map(|(_, _, window)| window.clone()).collect();
    let sum = case.sum();
    let stored: std::collections::HashSet<(usize, i64)> = case.stored_rows();
    let lost = case.rows.iter().filter(|row| !stored.contains(&(row.source, row.serial)));
    let age =
        |at_us: i64| windows.iter().find(|(killed, ..)| *killed >= at_us).map_or(0, |(killed, ..)| killed - at_us);
    let oldest = lost.map(|row| age(row.at_us)).max().unwrap_or(0);
    let stood = windows.iter().map(|(_, stood, _)| *stood).max().unwrap_or(0);
    eprintln!("{sum}");
    eprintln!(
        "the oldest lost answer was served {} ms before its kill; the machine stood still for up to {} ms before one",
        oldest / 1000,
        stood / 1000
    );
    assert!(sum.is_exact(), "{sum}");
    assert!(sum.stored > 1000, "only {} readings were compared", sum.stored);
    assert_eq!(plant.truth().foreign_requests(), 0);
    assert!(gateway.terminate().unwrap().success());
    assert!(world.ingest.terminate().unwrap().success());
    world.ingest.log().assert_quiet("the ingest", &[]);
}
