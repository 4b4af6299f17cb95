//! The whole chain on one machine.

fn main() {}
