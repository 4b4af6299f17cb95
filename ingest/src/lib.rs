//! `sandan-ingest`: takes sealed batches from gateways, stores them per firm, and
//! lets firms share them under consent.
//!
//! Modules stand in the order in which data flows:
//! session → store → access → api | console. `consent`, `audit` and `fleet` are pure;
//! `run` is the one file that opens ports and spawns tasks.

#[macro_use]
mod failpoint;

pub mod enrollment;
pub mod session;
pub mod store;

pub mod audit;
pub mod consent;
pub mod fleet;
pub mod retention;

pub mod alert;

pub mod access;
pub mod api;
pub mod console;

pub mod admin;
pub mod auth;
pub mod ca;
pub mod cli;
pub mod client;
pub mod config;
pub mod disk;
pub mod notary;
pub mod run;
pub mod witness;

pub mod id;
pub mod metrics;
pub mod time;

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
#[allow(dead_code, unreachable_pub)] // one half of it serves the end-to-end tests
#[path = "../../tests/src/servers.rs"]
pub(crate) mod servers;
