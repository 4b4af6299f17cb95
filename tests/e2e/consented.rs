//! The ten minutes of `tests/soak.sh sharing` in some seconds.

use sandan_tests::chance::asked_seed;
use sandan_tests::sharing::{Figures, Stage, Until, play};

use crate::world::programs;

/// Rounds in which everything has to come about once.
const ROUNDS: u64 = 5;

/// Plays until a round has shown enough, as chance and the machine's load have it.
fn played<'a>(stage: impl Fn() -> Stage<'a>, decisions: u64, is_enough: impl Fn(&Figures) -> bool) {
    let seed = asked_seed().unwrap_or(7);
    for seed in seed..seed + ROUNDS {
        eprintln!("SANDAN_SEED={seed}");
        let dir = tempfile::tempdir().unwrap();
        let figures = play(stage(), dir.path(), seed, Until::Decisions(decisions), |_| {}).unwrap();
        println!("{figures}");
        assert!(figures.is_good(), "{figures}");
        if is_enough(&figures) {
            return;
        }
    }
    panic!("{ROUNDS} rounds showed too little");
}

#[test]
fn no_cell_is_served_without_cover_and_none_withheld_with_it() {
    played(
        || Stage::Files,
        2_000,
        |it| {
            let reads = it.complete > 200 && it.denied > 100 && it.unknown > 10 && it.cells > 1_000;
            let life = it.grants > 20 && it.revocations > 5 && it.changes > 3;
            reads && life && it.pseudonyms > 0 && it.log.1 > 30
        },
    );
}

#[test]
fn what_one_process_takes_back_is_not_served_at_the_other() {
    let programs = programs();
    played(|| Stage::Processes(&programs), 400, |it| it.complete > 40 && it.denied > 20 && it.grants > 10);
}
