//! A simulated plant on the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandan_tests::plcsim::cli::main(std::env::args_os())
}
