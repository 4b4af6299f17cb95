//! Any bytes as the answer of a Modbus unit, over RTU and over TCP: never more or fewer values
//! than were asked for.
#![no_main]

use sandan_gateway::driver::modbus::dry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let heard = dry::answers(bytes);
    assert!(heard.rtu.is_none_or(|values| values == heard.asked));
    assert!(heard.tcp.is_none_or(|values| values == heard.asked));
});
