//! `sandan-gateway`, the edge binary. See `sandan_gateway::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandan_gateway::cli::main(std::env::args_os())
}
