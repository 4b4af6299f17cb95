//! Figures of the store by itself: bytes, large stores, reads.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandan_tests::storebench::main()
}
