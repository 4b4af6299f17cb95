//! A broker that is not ours.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use sandan_tests::harness::{PATIENCE, lasting_address, wait_for};

/// mosquitto in a directory of its own, with a log.
pub(crate) struct Mosquitto {
    child: Child,
    pub(crate) address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Mosquitto {
    /// Started with these lines in its configuration besides.
    pub(crate) fn start(lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = lasting_address().unwrap();
        let config = dir.path().join("mosquitto.conf");
        let text = format!(
            "listener {} {}\nallow_anonymous true\npersistence false\nuser root\nlog_dest file {}\n{lines}\n",
            address.port(),
            address.ip(),
            dir.path().join("log").display()
        );
        std::fs::write(&config, text).unwrap();
        // Debian keeps it where an ordinary user's PATH does not look.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let child = Command::new("/usr/bin/env")
            .args(["mosquitto", "-c"])
            .arg(&config)
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto cannot be started: tests/run.sh installs it");
        let mut broker = Self { child, address, dir };
        wait_for("mosquitto to listen", PATIENCE, || {
            assert!(matches!(broker.child.try_wait(), Ok(None)), "mosquitto ended: tests/run.sh installs it");
            TcpStream::connect(address).ok()
        })
        .unwrap();
        broker
    }

    /// With a log of every packet.
    pub(crate) fn that_tells_all() -> Self {
        Self::start("log_type all")
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("log")).unwrap_or_default()).into_owned()
    }

    /// The topics that a client has published under, as the broker saw it.
    pub(crate) fn published_by(&self, client: &str) -> Vec<String> {
        let from = format!("Received PUBLISH from {client} (");
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(&from));
        lines.map(|line| line.split('\'').nth(1).unwrap_or(line).to_owned()).collect()
    }

    /// Waits until a client's subscriptions stand, so many times.
    pub(crate) fn wait_for_subscription(&self, client: &str, times: usize) {
        let answer = format!("Sending SUBACK to {client}");
        wait_for("the gateway to be subscribed", PATIENCE, || {
            (self.log().matches(&answer).count() >= times).then_some(())
        })
        .unwrap();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
