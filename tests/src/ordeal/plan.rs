//! What the gateway is told to read of the plant.

use std::fmt::Write as _;
use std::time::Duration;

use crate::plcsim::machine::Area;
use crate::plcsim::{Listen, Plant, Scenario};

/// Numbers of each device, as area and address: runs with holes between them. Each takes two
/// registers, so that one in 4,000 million wrong ones is taken for right.
pub(super) const NUMBERS: [(Area, u16); 8] = [
    (Area::Holding, 0),
    (Area::Holding, 2),
    (Area::Holding, 4),
    (Area::Holding, 40),
    (Area::Holding, 44),
    (Area::Input, 10),
    (Area::Input, 13),
    (Area::Input, 50),
];
/// Bits of each device from address 0 of coils and of discrete inputs.
pub(super) const BITS: u16 = 8;

/// The time-out of a line.
pub(super) fn timeout(listen: &Listen) -> Duration {
    match listen {
        Listen::Tcp(_) => Duration::from_millis(300),
        Listen::RtuTcp(_) | Listen::Serial(_) => Duration::from_millis(150),
    }
}
/// The drain time of RTU lines.
pub(super) const DRAIN: Duration = Duration::from_millis(100);

/// The metric of a number.
pub(super) fn metric(area: Area, address: u16) -> String {
    format!("x_{}_{address}", area.word())
}

/// The lines of a plant as a gateway's configuration has them. Every device is an asset.
pub(super) fn modbus(scenario: &Scenario, plant: &Plant) -> String {
    let mut text = String::new();
    for device in scenario.modbus.iter().flat_map(|line| &line.device) {
        let name = &device.name;
        let _ = write!(
            text,
            "\n[[asset]]\nid = \"{name}\"\npath = \"plant-1/{name}\"\nname = {{ ko = \"기계\", en = \"Machine\" }}\n\
             time_zone = \"Asia/Seoul\"\n"
        );
    }
    for line in &scenario.modbus {
        let Some(first) = line.device.first() else { continue };
        let address = &plant.device(&first.name).address;
        let _ = write!(
            text,
            "\n[[modbus]]\naddress = \"{address}\"\ntimeout = \"{}ms\"\n",
            timeout(&line.listen).as_millis()
        );
        match line.listen {
            Listen::Tcp(_) => {}
            Listen::RtuTcp(_) => drop(writeln!(text, "drain = \"{}ms\"", DRAIN.as_millis())),
            Listen::Serial(_) => drop(writeln!(text, "baud = {}\ndrain = \"{}ms\"", line.baud, DRAIN.as_millis())),
        }
        for device in &line.device {
            let _ = write!(
                text,
                "\n  [[modbus.device]]\n  name = \"{0}\"\n  unit = {1}\n  asset = \"{0}\"\n  interval = \"1s\"\n  \
                 max_words = {2}\n  signals = [\n",
                device.name, device.unit, device.max_words
            );
            for (area, address) in NUMBERS {
                let metric = metric(area, address);
                let _ = writeln!(
                    text,
                    "    {{ name = \"{metric}\", metric = \"{metric}\", at = \"{}:{address}\", type = \"u32\" }},",
                    area.word()
                );
            }
            for area in [Area::Coil, Area::Discrete] {
                let word = area.word();
                let _ = writeln!(
                    text,
                    "    {{ name = \"{word}\", metric = \"x_{word}\", at = \"{word}:0\", count = {BITS} }},"
                );
            }
            text.push_str("  ]\n");
        }
    }
    text
}
