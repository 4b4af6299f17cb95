//! What the ingest takes with each store; also each program of the chain (`--as`).

use std::process::ExitCode;

fn main() -> ExitCode {
    sandan_tests::commitbench::main()
}
