//! Every kill of the kill suite once; `tests/soak.sh store` runs fresh seeds.

use std::collections::BTreeSet;

use sandan_tests::chance::asked_seed;
use sandan_tests::kills::layouts::{self, Old};
use sandan_tests::kills::{self, Kill, RUNS, STEPS};
use sandan_tests::runs::Until;

use crate::world::programs;

/// Where the runs of CI begin: they are the same kills each time.
const CI_SEED: u64 = 40;
/// All at once: they wait for one program or another most of the time.
const JOBS: usize = 6;

#[test]
fn a_kill_at_any_step_of_the_store_loses_and_doubles_nothing() {
    let (seed, runs) = asked_seed().map_or((CI_SEED, RUNS), |seed| (seed, 1));
    let table = kills::run_many(&programs(), seed, Until::Runs(runs), JOBS, |ended| eprintln!("{ended}"));
    assert!(table.bad.is_empty(), "runs {:?} were wrong; SANDAN_SEED repeats one", table.bad);
    assert!(table.compared > 10_000, "only {} cells were compared", table.compared);
}

/// The seeds of any such stretch meet every kill, and every step is one.
#[test]
fn consecutive_seeds_meet_every_kill() {
    for first in [CI_SEED, 77] {
        let met: BTreeSet<Kill> = (first..first + RUNS).flat_map(kills::kills_of).collect();
        assert_eq!(met, Kill::all().into_iter().collect());
    }
    let steps: BTreeSet<&str> = STEPS.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps.len(), STEPS.len(), "a step is there twice");
}

/// Whoever changes a layout keeps a store of the one before: `tests/soak.sh store --preserve DIR`.
#[test]
fn a_store_of_every_older_layout_is_kept() {
    let newest = layouts::newest(&programs()).unwrap();
    let kept: Vec<[u32; 3]> = Old::all().unwrap().iter().map(|old| old.layouts().unwrap()).collect();
    for (at, file) in ["control.db", "inbox.db", "a firm's file"].into_iter().enumerate() {
        for layout in 1..newest[at] {
            assert!(
                kept.iter().any(|layouts| layouts[at] == layout),
                "no store of layout {layout} of {file}: {kept:?}"
            );
        }
    }
}
