//! Answers without a device: the reading of frames as fuzz targets and their corpora call it.

use tokio::io::AsyncWriteExt as _;
use tokio_modbus::client::tcp as client;
use tokio_modbus::slave::Slave;

use super::{Answer, frame, tcp};
use crate::config::Area;
use crate::driver::modbus::plan::Request;

/// More than two of the longest frames.
const MOST_BYTES: usize = 600;

/// What bytes came to, read as the answer to one request.
#[derive(Debug, PartialEq, Eq)]
pub struct Dry {
    /// How many values were asked for.
    pub asked: usize,
    /// Values that an RTU line would take.
    pub rtu: Option<usize>,
    /// Values that a Modbus TCP connection would take.
    pub tcp: Option<usize>,
}

/// Reads bytes as what a unit answers. The first four say to which request: area, unit, count.
/// The rest is what comes off the line, and then its end.
pub fn answers(bytes: &[u8]) -> Dry {
    let [area, unit, high, low, heard @ ..] = bytes else { return Dry { asked: 0, rtu: None, tcp: None } };
    let area = [Area::Coil, Area::Discrete, Area::Holding, Area::Input][usize::from(area % 4)];
    let most = if area.is_bits() { 2_000 } else { 125 };
    let count = u16::from_be_bytes([*high, *low]) % most + 1;
    let request = Request { area, address: 0, count, pieces: Vec::new() };
    let heard = &heard[..heard.len().min(MOST_BYTES)];
    let rtu = frame::find(heard, *unit, &request).and_then(|found| found.answer.ok()).map(|answer| answer.len());
    Dry { asked: count.into(), rtu, tcp: over_tcp(heard, *unit, &request).map(|answer| answer.len()) }
}

fn over_tcp(heard: &[u8], unit: u8, request: &Request) -> Option<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    runtime.block_on(async {
        let (near, mut far) = tokio::io::duplex(2 * MOST_BYTES);
        far.write_all(heard).await.ok()?;
        far.shutdown().await.ok()?;
        let mut context = client::attach_slave(near, Slave(unit));
        let answer = tcp::ask(&mut context, request).await.ok()?.ok()?;
        (answer.len() == usize::from(request.count)).then_some(answer)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_each_kind_is_taken() {
        // Holding, unit 17, three registers.
        let request = [2, 17, 0, 2];
        let rtu = [17, 3, 6, 0xAE, 0x41, 0x56, 0x52, 0x43, 0x40, 0x49, 0xAD];
        assert_eq!(answers(&[&request[..], &rtu].concat()), Dry { asked: 3, rtu: Some(3), tcp: None });
        let tcp = [0, 0, 0, 0, 0, 9, 17, 3, 6, 0, 1, 0, 2, 0, 3];
        assert_eq!(answers(&[&request[..], &tcp].concat()), Dry { asked: 3, rtu: None, tcp: Some(3) });
        assert_eq!(answers(&[1]), Dry { asked: 0, rtu: None, tcp: None });
    }
}
