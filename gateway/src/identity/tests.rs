use std::os::unix::fs::PermissionsExt;

use super::fixture::{Authority, now};
use super::*;

fn id() -> GatewayId {
    GatewayId::new("hanbit/gw-1").unwrap()
}

#[test]
fn the_identity_is_closed_to_others_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let none = Identity::new(dir.path(), id()).credentials().unwrap_err();
    assert!(matches!(none, IdentityError::NotEnrolled), "{none}");
    let identity = Authority::new().enrolled(dir.path(), &id(), "ingest.example:443");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&identity.dir), mode(&store::path(&identity.dir))), (0o700, 0o600));
    let credentials = identity.credentials().unwrap();
    assert_eq!(
        (format!("{credentials:?}"), credentials.ingest.as_str()),
        ("Credentials(…)".into(), "ingest.example:443")
    );
    assert!(credentials.client_config(now()).is_ok());
    let other = Identity::new(dir.path(), GatewayId::new("hanbit/gw-2").unwrap()).credentials().unwrap_err();
    assert_eq!(other.to_string(), "this box is enrolled as hanbit/gw-1, and configured as hanbit/gw-2");
}

#[test]
fn a_damaged_identity_is_said_so_without_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Authority::new().enrolled(dir.path(), &id(), "ingest.example:443");
    let path = store::path(&identity.dir);
    let text = std::fs::read_to_string(&path).unwrap();
    for damaged in [&text[..text.len() / 2], "", "{}", &text.replace("\"version\": 1", "\"version\": 2")] {
        std::fs::write(&path, damaged).unwrap();
        let error = identity.credentials().unwrap_err();
        assert!(matches!(error, IdentityError::Damaged(_)), "{error}");
        assert!(!error.to_string().contains("PRIVATE"), "{error}");
    }
}
