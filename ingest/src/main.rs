//! `sandan-ingest`.

fn main() -> std::process::ExitCode {
    sandan_ingest::cli::main(std::env::args_os())
}
