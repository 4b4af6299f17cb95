//! The ten minutes of `tests/soak.sh sharing` in some seconds.

use sandan_tests::chance::asked_seed;
use sandan_tests::sharing::{Until, play};

#[test]
fn no_cell_is_served_without_cover_and_none_withheld_with_it() {
    let seed = asked_seed().unwrap_or(7);
    eprintln!("SANDAN_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let figures = play(dir.path(), seed, Until::Decisions(2_000), |_| {}).unwrap();
    println!("{figures}");
    assert!(figures.is_good(), "{figures}");
    // Otherwise it showed nothing.
    assert!(
        figures.complete > 200 && figures.denied > 100 && figures.unknown > 10 && figures.cells > 1_000,
        "{figures}"
    );
    assert!(figures.grants > 20 && figures.revocations > 5 && figures.log.1 > 50, "{figures}");
}
