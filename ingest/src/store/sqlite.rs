//! The embedded engine: `SQLite` files in one data directory.

pub mod control;
