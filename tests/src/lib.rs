//! What tests and the demo are made of: a plant that remembers what it said, a
//! broker, and a harness that starts, kills and asks the real programs.
//!
//! Nothing here is part of the product. The plant and the broker know neither
//! gateway nor ingest; the harness knows them only as programs.

// Here a panic is a test's or the demo's way to fail, and says so at its place.
#![allow(clippy::missing_panics_doc)]

pub mod apifuzz;
pub mod broker;
pub mod chance;
pub mod commitbench;
pub mod demo;
pub mod faults;
pub mod harness;
pub mod kills;
pub mod loadgen;
pub mod oracle;
pub mod ordeal;
pub mod outage;
pub mod plcsim;
pub mod proxy;
pub mod rtubus;
pub mod runs;
pub mod scenarios;
pub mod servers;
pub mod sharing;
pub mod soak;
pub mod sparkplug;
pub mod storebench;
