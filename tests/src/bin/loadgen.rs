//! Simulated gateways against one ingest; also each program of the chain (`--as`).

use std::process::ExitCode;

fn main() -> ExitCode {
    sandan_tests::loadgen::main()
}
