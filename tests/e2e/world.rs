//! What every end-to-end test starts from.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use sandan_tests::harness::http::Asker;
use sandan_tests::harness::{Gateway, GatewayPlan, Ingest, Programs, Use};
use sandan_tests::plcsim::{ModbusDevice, ModbusEndpoint, MqttDevice, Plant, Scenario};

pub(crate) const FIRM: &str = "hanbit-mould";
pub(crate) const OTHER: &str = "daon-heat";

/// The executable that is all programs.
pub(crate) fn programs() -> Programs {
    Programs::at(env!("CARGO_BIN_EXE_demo"))
}

/// An ingest that is up, with two firms, in a directory of its own.
pub(crate) struct World {
    pub(crate) ingest: Ingest,
    /// Last: it goes when the programs in it have ended.
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("sandan-e2e-").tempdir().unwrap();
        let ingest = Ingest::start_new(&programs(), &dir.path().join("ingest")).unwrap();
        ingest.add_firm(FIRM, "한빛금형", "Hanbit Mould").unwrap();
        ingest.add_firm(OTHER, "다온열처리", "Daon Heat").unwrap();
        Self { ingest, dir }
    }
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
    /// Someone of a firm.
    pub(crate) fn member(&self, firm: &str) -> Asker {
        self.ingest.asker(&self.ingest.add_member(firm, "김하늘").unwrap())
    }
    /// A gateway of [`FIRM`], known to the ingest and not yet started.
    pub(crate) fn gateway(&self, name: &str, uses: Vec<Use>) -> Gateway {
        let plan = GatewayPlan::new(&format!("{FIRM}/{name}"), &self.ingest.url(), uses);
        let invitation = self.ingest.add_gateway(&plan.gateway).unwrap();
        Gateway::new(&programs(), &self.dir().join(name), &plan, &invitation).unwrap()
    }
}

/// A plant in real time.
pub(crate) fn plant(endpoints: Vec<Vec<ModbusDevice>>, mqtt: Vec<MqttDevice>) -> Plant {
    let modbus = endpoints
        .into_iter()
        .map(|device| ModbusEndpoint::tcp(sandan_tests::harness::lasting_address().unwrap(), device))
        .collect();
    Plant::start(&Scenario { seed: 7, speed: 1.0, modbus, mqtt }).unwrap()
}

/// Named `asset` in two languages.
pub(crate) fn used(plant: &Plant, device: &str, asset: &str) -> Use {
    Use::new(plant.device(device), asset, "기계", "Machine").every_ms(100)
}

/// A page of the console as a browser asks for it: the head and what follows.
pub(crate) fn browse(at: SocketAddr, what: &str, cookie: &str, form: &str) -> Option<String> {
    let mut connection = TcpStream::connect(at).ok()?;
    let length = form.len();
    write!(
        connection,
        "{what} HTTP/1.1\r\nhost: {at}\r\norigin: http://{at}\r\nconnection: close\r\ncookie: {cookie}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{form}"
    )
    .ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer)
}
