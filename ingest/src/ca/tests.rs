use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::fixture::Device;
use super::*;
use crate::time::{SECOND_US, system_clock};

const NOW: i64 = 1_800_000_000 * SECOND_US;

fn authority(dir: &Path) -> Authority {
    Authority::open("saesol", &dir.join("ca"), None, None, Arc::new(|| NOW)).unwrap()
}

fn id() -> GatewayId {
    GatewayId::new("hanbit/press-hall").unwrap()
}

#[test]
fn an_authority_is_made_once_and_its_key_is_closed_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let first = authority(dir.path()).list();
    assert_eq!(authority(dir.path()).list(), first);
    let mode = |path: &str| std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca"), mode("ca/1.key")), (0o700, 0o600));
    assert_eq!(first[0].not_after_us, NOW + AUTHORITY_LIFE_US);
    // What a power cut left of a second one is passed over.
    std::fs::write(dir.path().join("ca/2.key"), "").unwrap();
    assert_eq!(authority(dir.path()).list(), first);
}

#[test]
fn a_gateway_gets_its_name_and_90_days_and_may_be_a_client_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path());
    let device = Device::new(&ca.trusted());
    let issued = ca.gateway(&id(), &RequestKey::of(&device.request()).unwrap()).unwrap();
    assert_eq!(issued.not_after_us, NOW + GATEWAY_LIFE_US);
    let (_, leaf) = x509_parser::parse_x509_certificate(&issued.chain[0]).unwrap();
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any && !leaf.is_ca());
    let names = format!("{:?}", leaf.subject_alternative_name().unwrap().unwrap().value.general_names);
    assert_eq!(names, "[URI(\"sandan://saesol/gateway/hanbit/press-hall\")]");
    assert_eq!(issued.chain[1], ca.trusted()[0].to_vec());
}

#[test]
fn a_request_must_hold_its_own_key_of_the_right_kind() {
    let device = Device::new(&[]);
    let good = device.request();
    assert!(RequestKey::of(&good).is_ok());
    let at = good.len() - 3;
    let mut forged = good.clone();
    forged[at] ^= 1;
    assert!(matches!(RequestKey::of(&forged), Err(RequestError::Signature | RequestError::Form)));
    assert_eq!(RequestKey::of(&[&good[..], &[0]].concat()).err(), Some(RequestError::Form));
    assert_eq!(RequestKey::of(&vec![0x30; 5_000]).err(), Some(RequestError::Form));
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let other = rcgen::CertificateParams::default().serialize_request(&other).unwrap();
    assert_eq!(RequestKey::of(other.der()).err(), Some(RequestError::Kind));
}

#[test]
fn while_it_changes_both_are_trusted_and_the_old_one_goes_at_last() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path());
    let pin = ca.pin().unwrap();
    ca.rotate().unwrap();
    assert_eq!((ca.trusted().len(), ca.pin().unwrap()), (2, pin), "who has not renewed knows the old one alone");
    assert_ne!(ca.issuer().unwrap(), pin);
    assert_eq!(authority(dir.path()).list(), ca.list());
    assert!(matches!(ca.retire(2), Err(CaError::NotOlder(2))));
    ca.retire(1).unwrap();
    assert_eq!((ca.trusted().len(), ca.pin().unwrap()), (1, ca.issuer().unwrap()));
    assert!(!dir.path().join("ca/1.key").exists());
    assert_eq!(authority(dir.path()).list(), ca.list());
}

#[test]
fn an_outside_authority_signs_with_the_first_certificate_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let (home, inside) = (dir.path().join("ca"), authority(dir.path()));
    let tls = Tls { cert_file: home.join("1.pem"), key_file: home.join("1.key") };
    let open = |tls: &Tls| Authority::open("c", Path::new("/nonexistent"), Some(tls), None, system_clock());
    let outside = open(&tls).unwrap();
    assert_eq!(outside.pin().unwrap(), inside.pin().unwrap());
    assert!(matches!(outside.rotate(), Err(CaError::Outside)));
    inside.rotate().unwrap();
    let wrong = open(&Tls { key_file: home.join("2.key"), ..tls }).err().unwrap().to_string();
    assert!(wrong.contains("it is not the key of "), "{wrong}");
}

#[test]
fn a_server_certificate_without_its_authority_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("ca");
    authority(dir.path());
    let tls = Tls { cert_file: home.join("1.pem"), key_file: home.join("1.key") };
    let refused = Authority::open("c", &home, None, Some(&tls), system_clock()).err().unwrap().to_string();
    assert!(refused.contains("append that of its authority"), "{refused}");
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes: Vec<u8>, at: prop::sample::Index, flip: u8) {
        prop_assert!(RequestKey::of(&bytes).is_err());
        prop_assert!(Leaf::of(&CertificateDer::from(bytes)).is_none());
        let mut request = REQUEST.clone();
        let at = at.index(request.len());
        request[at] = flip;
        drop(RequestKey::of(&request));
        drop(Leaf::of(&CertificateDer::from(request)));
    }
}

static REQUEST: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| Device::new(&[]).request());
