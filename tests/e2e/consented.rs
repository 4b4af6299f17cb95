//! The ten minutes of `tests/soak.sh sharing` in some seconds.

use sandan_tests::chance::asked_seed;
use sandan_tests::sharing::{Figures, Stage, Until, play};

use crate::world::programs;

fn played(stage: Stage<'_>, decisions: u64) -> Figures {
    let seed = asked_seed().unwrap_or(7);
    eprintln!("SANDAN_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let figures = play(stage, dir.path(), seed, Until::Decisions(decisions), |_| {}).unwrap();
    println!("{figures}");
    assert!(figures.is_good(), "{figures}");
    figures
}

#[test]
fn no_cell_is_served_without_cover_and_none_withheld_with_it() {
    let figures = played(Stage::Files, 2_000);
    // Otherwise it showed nothing.
    assert!(
        figures.complete > 200 && figures.denied > 100 && figures.unknown > 10 && figures.cells > 1_000,
        "{figures}"
    );
    assert!(figures.grants > 20 && figures.revocations > 5 && figures.changes > 5, "{figures}");
    assert!(figures.pseudonyms > 0 && figures.log.1 > 30, "{figures}");
}

#[test]
fn what_one_process_takes_back_is_not_served_at_the_other() {
    let figures = played(Stage::Processes(&programs()), 400);
    assert!(figures.complete > 40 && figures.denied > 20 && figures.grants > 10, "{figures}");
}
