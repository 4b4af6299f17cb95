//! Any text as the invitation that a person copies; what is one is the same when it is written again.
#![no_main]

use sandan_proto::invitation::Invitation;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(invitation) = Invitation::parse(text) {
        let again = Invitation::parse(&invitation.reveal()).expect("what was written can be read");
        assert_eq!(again.reveal(), invitation.reveal());
    }
});
