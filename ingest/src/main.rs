//! `sandan-ingest`.

use rustix::fs::Mode;

fn main() -> std::process::ExitCode {
    // What this process makes is its own user's alone, whatever the shell says.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    sandan_ingest::cli::main(std::env::args_os())
}
