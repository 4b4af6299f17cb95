//! Session: one gateway's stream, from its Hello to its Goodbye.

pub mod admission;
