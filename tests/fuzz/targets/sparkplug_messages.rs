//! Any bytes as the messages of a Sparkplug edge node: births, data and deaths.
#![no_main]

use sandan_gateway::driver::sparkplug::dry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    dry::run(bytes);
});
