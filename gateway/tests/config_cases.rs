//! Runs the real `sandan-gateway check` over every bad configuration of
//! `tests/cases/config/gateway` and every example of `configs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Set to write the expected messages anew.
const UPDATE: &str = "SANDAN_UPDATE_EXPECTED";
/// The cases whose text is good, and what they name is not: their plan is printed as well.
const PLANNED: [&str; 5] = [
    "proxy-password-missing.toml",
    "proxy-password-open.toml",
    "secret-not-set.toml",
    "state-dir-below-a-file.toml",
    "state-dir-file.toml",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A copy of a folder's files in which secrets have the modes that git does not keep.
fn copy(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let from = entry.unwrap().path();
        if from.is_file() {
            fs::copy(&from, copy.path().join(from.file_name().unwrap())).unwrap();
        }
    }
    for (name, mode) in [("closed.password", 0o600), ("open.password", 0o644)] {
        let path = copy.path().join(name);
        if !path.exists() {
            fs::write(&path, "hunter2\n").unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    copy
}

fn check(folder: &Path, name: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sandan-gateway")).args(["check", name]).current_dir(folder).output().unwrap()
}

fn tomls(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| Path::new(name).extension().is_some_and(|is| is == "toml")).collect();
    names.sort();
    names
}

#[test]
fn every_bad_configuration_is_refused_with_the_message_beside_it() {
    let folder = root().join("tests/cases/config/gateway");
    let copy = copy(&folder);
    let names = tomls(&folder);
    assert!(names.len() > 20, "the folder of cases was found");
    let mut differ = Vec::new();
    for name in names {
        let output = check(copy.path(), &name);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
        assert_eq!(!output.stdout.is_empty(), PLANNED.contains(&name.as_str()), "{name} printed data or did not");
        assert!(!stderr.contains("hunter2"), "{name} shows a secret: {stderr}");
        let expected = folder.join(&name).with_extension("expected");
        if std::env::var_os(UPDATE).is_some() {
            fs::write(&expected, &stderr).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if stderr != expected {
            differ.push(format!("{name} gives\n{stderr}instead of\n{expected}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn every_example_is_taken() {
    let folder = root().join("configs");
    let copy = copy(&folder);
    let examples: Vec<_> = tomls(&folder).into_iter().filter(|name| name.starts_with("gateway")).collect();
    assert!(!examples.is_empty());
    for name in examples {
        let output = check(copy.path(), &name);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{name} printed no summary");
    }
}
