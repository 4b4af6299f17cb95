//! Any bytes as the payload of an MQTT message, mapped in each of the ways that can be configured.
#![no_main]

use sandan_gateway::driver::mqtt::map::dry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    dry::run(bytes);
});
