//! `sandan-ingest`: takes sealed batches from gateways, stores them per firm, and
//! lets firms share them under consent.
//!
//! Modules stand in the order in which data flows:
//! session → store → access → api | console. `consent`, `audit` and `fleet` are pure.

pub mod consent;
#[cfg(test)]
pub(crate) mod fixture;
pub mod session;
pub mod store;
