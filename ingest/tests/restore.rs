//! Backup, restore and the witness with the binary as people use it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandan-ingest");

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("disk")).unwrap();
        let text = "complex = \"saesol\"\ndata_dir = \"data\"\n[uplink]\nlisten = \"127.0.0.1:0\"\n\
                    [http]\nlisten = \"127.0.0.1:0\"\n[witness]\nfile = \"disk/witness.json\"\n";
        std::fs::write(dir.path().join("ingest.toml"), text).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).current_dir(self.dir.path());
        command.env("SANDAN_INGEST_CONFIG", "ingest.toml").env_remove("RUST_LOG").env_remove("SANDAN_LOG");
        command
    }

    /// Standard output and standard error of a command that must work.
    fn ok(&self, args: &[&str]) -> (String, String) {
        let output = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, talk) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(0), "{args:?}: {out}{talk}");
        (out, talk)
    }

    fn serve(&self) -> Child {
        let mut serving = self.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(serving.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"ready\":true"), "{line}");
        serving
    }

    fn states(&self) -> Vec<String> {
        let (out, _) = self.ok(&["consent", "list"]);
        out.lines().skip(1).map(|line| line.split_whitespace().nth(3).unwrap().to_owned()).collect()
    }
}

/// Ends the service; gives its log.
fn end(serving: Child, how: Signal) -> String {
    kill_process(Pid::from_child(&serving), how).unwrap();
    String::from_utf8(serving.wait_with_output().unwrap().stderr).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&entry.path(), &target),
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), target).unwrap()),
            _ => {}
        }
    }
}

#[test]
fn a_backup_of_a_running_service_is_restored_and_an_image_put_back_is_found() {
    let site = Site::new();
    for firm in ["hanbit", "daeyang"] {
        site.ok(&["firm", "add", firm, "--name-ko", "한빛금형", "--name-en", "Hanbit"]);
    }
    let mut grant = vec!["consent", "grant", "--grantor", "hanbit", "--grantee", "daeyang", "--asset", "press-1"];
    grant.extend(["--metric", "press_force", "--form", "raw", "--until", "now+30d"]);
    let ids = [site.ok(&grant).0, site.ok(&grant).0].map(|id| id.trim().to_owned());
    copy(&site.path("data"), &site.path("image"));

    let serving = site.serve();
    let (made, talk) = site.ok(&["backup", "monday", "--json"]);
    assert_eq!(talk, "");
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!((made["format"].as_u64(), made["complex"].as_str()), (Some(2), Some("saesol")));
    assert!(site.path("monday/manifest.json").exists());
    let again = site.command(&["backup", "monday"]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8(again.stderr).unwrap().contains("is there and not empty"));
    site.ok(&["consent", "revoke", &ids[0]]);
    // The revocation is acknowledged, so the witness has it whatever happens now.
    end(serving, Signal::KILL);

    std::fs::remove_dir_all(site.path("data")).unwrap();
    let (restored, _) = site.ok(&["restore", "monday", "--json"]);
    let restored: Value = serde_json::from_str(&restored).unwrap();
    assert_eq!((restored["suspended"].as_u64(), restored["revoked"].as_u64()), (Some(1), Some(1)), "{restored}");
    assert_ne!(restored["timeline"], made["timeline"]);
    assert_eq!(site.states(), ["revoked", "suspended"]);
    let serving = site.serve();
    assert_eq!(site.ok(&["consent", "confirm", &ids[1]]).0, "");
    assert_eq!(site.states(), ["revoked", "active"]);
    let log = end(serving, Signal::TERM);
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");

    std::fs::remove_dir_all(site.path("data")).unwrap();
    copy(&site.path("image"), &site.path("data"));
    let (told, _) = site.ok(&["check"]);
    assert!(told.contains("the next start suspends every consent"), "{told}");
    let serving = site.serve();
    assert_eq!(site.states(), ["revoked", "suspended"]);
    let log = end(serving, Signal::TERM);
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("the store is an older state: "), "{log}");
    assert!(
        log.contains("consents suspended until their grantors confirm them: 1, revocations done again: 1"),
        "{log}"
    );
    let log = end(site.serve(), Signal::TERM);
    assert!(!log.contains("WARN"), "told once: {log}");
}
