use proptest::prelude::*;

use super::*;

fn example() -> Invitation {
    Invitation {
        host: "ingest.example".into(),
        port: 443,
        gateway: GatewayId::new("hanbit-mould/press-hall").unwrap(),
        token: format!("{TOKEN_PREFIX}{}", "0a".repeat(32)),
        ca: [0xC5; 32],
    }
}

#[test]
fn a_line_and_what_it_says_are_the_same() {
    let line = example().reveal();
    let expected = format!(
        "sandan://ingest.example:443/hanbit-mould/press-hall?token=sgi_{}&ca={}",
        "0a".repeat(32),
        "c5".repeat(32)
    );
    assert_eq!(line, expected);
    assert_eq!(Invitation::parse(&format!("  {line}\r\n")).unwrap(), example());
    let six = Invitation { host: "::1".into(), ..example() };
    assert!(six.reveal().starts_with("sandan://[::1]:443/"));
    assert_eq!(Invitation::parse(&six.reveal()).unwrap(), six);
}

#[test]
fn what_is_wrong_is_named_and_the_secret_is_not() {
    let line = example().reveal();
    let wrong = |from: &str, to: &str| Invitation::parse(&line.replace(from, to)).unwrap_err();
    assert_eq!(Invitation::parse(" \n"), Err(InvitationError::Empty));
    assert_eq!(wrong("sandan://", "https://"), InvitationError::Form);
    assert_eq!(wrong("sandan://", "sandan:// "), InvitationError::Form);
    assert_eq!(Invitation::parse(&format!("sandan://{}", "a".repeat(2_000))), Err(InvitationError::Form));
    for address in ["ingest.example", "ingest.example:0", ":443", "a b:443", "ingest.example:99999", "[::g]:443"] {
        let error = Invitation::parse(&line.replace("ingest.example:443", address)).unwrap_err();
        assert!(matches!(error, InvitationError::Address | InvitationError::Form), "{address}: {error}");
    }
    assert!(matches!(wrong("hanbit-mould/press-hall", "Hanbit"), InvitationError::Gateway(_)));
    assert_eq!(wrong("0a0a&", "0a&"), InvitationError::Token);
    assert_eq!(wrong("token=", "token=x"), InvitationError::Token);
    assert_eq!(wrong("c5c5c5", "c5c5"), InvitationError::Fingerprint);
    assert_eq!(wrong("&ca=", "&more=1&ca="), InvitationError::Part);
    assert_eq!(wrong("&ca=", "&token=1&ca="), InvitationError::Part);
    assert!(!format!("{:?}", example()).contains("0a0a"));
    for cut in 0..line.len() {
        if let Err(error) = Invitation::parse(&line[..cut]) {
            assert!(!error.to_string().contains("0a0a"), "{error}");
        } else {
            panic!("{cut} bytes are taken for the whole");
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in ".{0,200}") {
        drop(Invitation::parse(&text));
        drop(Invitation::parse(&format!("sandan://{text}")));
    }

    #[test]
    fn hexadecimal_goes_both_ways(bytes: [u8; 32]) {
        prop_assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
    }
}
