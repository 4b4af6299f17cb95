use super::*;

#[test]
fn a_secret_is_read_where_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "open sesame\r\n").unwrap();
    assert_eq!(Secret::File(path.clone()).read().unwrap(), "open sesame");
    // Cargo sets it for every test.
    assert_eq!(Secret::Variable("CARGO_PKG_NAME".into()).read().unwrap(), "sandan-gateway");

    let gone = Secret::File(path.with_extension("gone")).read().unwrap_err();
    assert!(gone.contains("password.gone cannot be read: "), "{gone}");
    let unset = Secret::Variable("SANDAN_NO_SUCH_VARIABLE".into()).read().unwrap_err();
    assert_eq!(unset, "the environment variable SANDAN_NO_SUCH_VARIABLE is not set, or not UTF-8");
}
