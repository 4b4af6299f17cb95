//! Simulated gateways against a real ingest, over a line that fails.

use clap::Parser;
use sandan_tests::chance::{asked_seed, fresh_seed};
use sandan_tests::loadgen::fleet::{FleetLoad, play_fleet};
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

#[test]
fn gateways_that_report_are_on_the_page_and_a_change_reaches_an_open_one() {
    let args = "fleet --gateways 20 --heartbeat 2 --looks 5 --changes 2";
    let figures = play_fleet(&programs(), &FleetLoad::parse_from(args.split(' '))).unwrap();
    eprintln!("{figures}");
    assert_eq!((figures.gateways, figures.devices), (20, 200));
    assert!(figures.page_bytes > 1_000 && figures.idle_bytes > 0 && figures.full_bytes > 0, "{figures}");
}
