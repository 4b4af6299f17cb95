//! Any bytes as the payload of a batch; what can be decoded is the same when it is encoded again.
#![no_main]

use bytes::Bytes;
use sandan_proto::batch;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(groups) = batch::decode(&Bytes::copy_from_slice(bytes)) {
        let again = batch::decode(&batch::encode(&groups)).expect("what was encoded can be decoded");
        assert_eq!(batch::count(&again), batch::count(&groups));
    }
});
