//! The hour of `tests/soak.sh plant` in half a minute, and what a plant can do to a gateway.

use std::time::Duration;

use sandan_tests::chance::asked_seed;
use sandan_tests::ordeal::{Ordeal, play};

use crate::world::programs;

#[test]
fn a_plant_in_which_everything_goes_wrong_leaves_no_wrong_value_and_is_only_read() {
    let seed = asked_seed().unwrap_or(7);
    eprintln!("SANDAN_SEED={seed}");
    let ordeal = Ordeal { length: Duration::from_secs(18), seed, hurry: 20 };
    let figures = play(&programs(), ordeal, |_| {}).unwrap();
    println!("{figures}");
    assert!(figures.is_good(), "{figures}");
    assert!(figures.values.numbers > 500 && figures.values.bits > 100 && figures.values.messages > 5, "{figures}");
    assert_eq!(figures.traffic.functions.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(figures.traffic.faults.len() > 10 && figures.returns.0 > 3, "it was no ordeal: {figures}");
    assert!(figures.mqtt.contains_key("PUBACK") && !figures.mqtt.contains_key("PUBLISH"), "{figures}");
}
