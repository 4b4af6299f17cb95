//! Any bytes as what a gateway sends in a session: length-delimited frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sandan_ingest::session::dry::run_frames(bytes);
});
