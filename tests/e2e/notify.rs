//! Both programs under a service manager that the test plays: what they tell it, and when.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sandan_tests::harness::{Gateway, GatewayPlan, Ingest, PATIENCE, Programs};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::machine::Make;

use crate::world::{FIRM, plant, programs, used};

/// The socket of a service manager.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(dir: &Path) -> Self {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        Self { socket, path }
    }

    /// Programs that are told of this manager.
    fn programs(&self) -> Programs {
        let programs = programs();
        programs.set_env("NOTIFY_SOCKET", self.path.to_str());
        programs
    }

    /// Waits for a message with a line that begins so; what comes before it is passed over.
    fn hears(&self, line: &str) {
        let began = Instant::now();
        let mut heard = Vec::new();
        while began.elapsed() < PATIENCE {
            let mut bytes = [0; 1000];
            let Ok(length) = self.socket.recv(&mut bytes) else { continue };
            let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if message.lines().any(|told| told.starts_with(line)) {
                return;
            }
            heard.push(message);
        }
        panic!("`{line}` was not told, but {heard:?}");
    }
}

#[test]
fn a_gateway_tells_its_service_manager() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::new(dir.path());
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    // Nobody listens there.
    let plan = GatewayPlan::new(&format!("{FIRM}/hall"), "https://127.0.0.1:1", vec![used(&plant, "press", "press-1")]);
    let mut gateway = Gateway::alone(&manager.programs(), &dir.path().join("hall"), &plan).unwrap();
    gateway.start().unwrap();
    manager.hears("READY=1");
    manager.hears("STATUS=running; the ingest is not connected");
    manager.hears("WATCHDOG=1");
    gateway.hang_up().unwrap();
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    manager.hears("WATCHDOG=1");
    assert!(gateway.terminate().unwrap().success());
    manager.hears("STOPPING=1");
}

#[test]
fn an_ingest_tells_its_service_manager() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::new(dir.path());
    let mut ingest = Ingest::start_new(&manager.programs(), &dir.path().join("ingest")).unwrap();
    manager.hears("STATUS=serving; gateways at 127.0.0.1:");
    manager.hears("WATCHDOG=1");
    assert!(ingest.terminate().unwrap().success());
    manager.hears("STOPPING=1");
}
