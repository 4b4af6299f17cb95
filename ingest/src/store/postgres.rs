//! Everything durable in PostgreSQL, with TimescaleDB or without it.
//!
//! Several processes may share one database: what is true stands in it, and what only one of
//! them may do at a time is done under an advisory lock.

pub mod control;
pub mod database;
pub mod lease;
pub mod migrate;
pub mod readings;
mod restored;

pub use control::PostgresControl;
pub use database::{Database, DatabaseError, Facts, Settings, Timescale};
pub use lease::{Duty, Lease};
pub use readings::PostgresReadings;
pub use restored::{begin_timeline, stand};
