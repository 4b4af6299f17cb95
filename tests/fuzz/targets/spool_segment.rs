//! Any bytes as a segment of a spool.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sandan_gateway::spool::inspect_bytes(bytes);
});
