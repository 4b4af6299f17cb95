//! Simulated gateways against a real ingest, over a line that fails.

use clap::Parser;
use sandan_tests::chance::{asked_seed, fresh_seed};
use sandan_tests::loadgen::{Load, play};

use crate::world::programs;

#[test]
fn many_gateways_over_a_line_that_fails_lose_and_double_nothing() {
    let args = "loadgen --gateways 6 --signals 10 --rate 5 --seconds 5 --outage 2:1 --resend 30";
    let load = Load::parse_from(args.split(' '));
    let seed = asked_seed().unwrap_or_else(fresh_seed);
    eprintln!("SANDAN_SEED={seed}");
    let figures = play(&programs(), &load, seed).unwrap();
    eprintln!("{figures}");
    let sum = figures.sum.unwrap();
    assert!(sum.is_exact() && sum.stored == figures.acknowledged, "{sum}");
    assert!(figures.duplicates > 0, "nothing was sent twice");
    assert!(figures.reconnects >= 6, "the line did not fail: {} reconnects", figures.reconnects);
}
