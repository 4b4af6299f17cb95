//! The whole chain on one machine; also each program of it (`--as`).

use std::process::ExitCode;

fn main() -> ExitCode {
    sandan_tests::demo::main()
}
