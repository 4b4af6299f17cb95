//! The gateway's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandan_gateway::cli::main(std::env::args_os())
}
