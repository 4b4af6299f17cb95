//! `sandan-gateway`: polls PLCs, keeps what it reads on disk, and forwards it.
//!
//! Modules stand in the order in which data flows: driver → tag → spool → uplink.
//! `pipeline` is the one file that spawns tasks and makes channels; drivers never see
//! the spool, and the spool sees opaque bytes.

#[macro_use]
mod failpoint;

pub mod cli;
pub mod config;
mod pipeline;

pub mod clock;

pub mod driver;
pub mod spool;
pub mod tag;
pub mod uplink;

pub mod health;
pub mod http;
pub mod identity;
