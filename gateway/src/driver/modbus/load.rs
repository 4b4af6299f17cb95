//! What a plan asks of its line: how long each request takes, and whether the intervals
//! can be kept. Pure.

use std::time::Duration;

use super::learned::Learned;
use super::plan::{self, Poll, Request};
use crate::config::{Line, Modbus, ModbusDevice};

/// What a device takes to answer where nothing was measured: PLCs some milliseconds,
/// instruments a scan of some tens.
pub const ASSUMED_ANSWER: Duration = Duration::from_millis(20);
/// Bytes of a request in RTU, and of an answer beside its values.
const FRAME_BYTES: (u32, u32) = (8, 5);

/// The load of one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The polls of each device, with how long each takes.
    pub polls: Vec<(usize, Poll, Duration)>,
    /// The part of the time in which the line is busy; above 1 the intervals cannot be kept.
    pub share: f64,
}

impl Load {
    /// Of a line whose devices answer after this time. On a serial line the bytes on the
    /// wire, by the baud rate, and the pauses come on top.
    pub fn of(line: &Modbus, answer: Duration) -> Self {
        let mut polls = Vec::new();
        let mut share = 0.0;
        for (index, device) in line.devices.iter().enumerate() {
            for poll in plan::polls(device, &Learned::nothing()) {
                let takes = poll.requests.iter().map(|request| time_of(line, request, answer)).sum::<Duration>();
                share += takes.as_secs_f64() / poll.interval.as_secs_f64();
                polls.push((index, poll, takes));
            }
        }
        Self { polls, share }
    }

    /// The polls that take longer than their interval, whatever the others do.
    pub fn too_long<'a>(&'a self, line: &'a Modbus) -> impl Iterator<Item = (&'a ModbusDevice, &'a Poll, Duration)> {
        let long = self.polls.iter().filter(|(_, poll, takes)| *takes > poll.interval);
        long.map(|(device, poll, takes)| (&line.devices[*device], poll, *takes))
    }
}

/// How long one request keeps the line.
pub fn time_of(line: &Modbus, request: &Request, answer: Duration) -> Duration {
    let values =
        if request.area.is_bits() { u32::from(request.count).div_ceil(8) } else { u32::from(request.count) * 2 };
    let wire = match &line.line {
        // Two pauses of three and a half characters: before the answer, and before the next request.
        Line::Serial(serial) => {
            let (asked, answered) = FRAME_BYTES;
            serial.time_of(asked + answered + values) + serial.pause() + serial.pause().max(line.pause)
        }
        Line::Tcp(_) | Line::RtuTcp(_) => line.pause,
    };
    wire + answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::example;
    use crate::config::{Config, Endpoint};

    fn line(config: &Config) -> &Modbus {
        let Endpoint::Modbus(modbus) = &config.endpoints[0] else { panic!("the first endpoint is Modbus") };
        modbus
    }

    #[test]
    fn a_serial_line_takes_what_its_bytes_take() {
        let serial = "address = \"serial:/dev/ttyS0\"\nbaud = 9600\nparity = \"even\"";
        let config = example(|text| text.replace("address = \"tcp://192.168.0.10:502\"", serial));
        let load = Load::of(line(&config), Duration::from_millis(20));
        // Eleven bits a byte: 8 + 5 + 22 bytes of eleven registers, and twice 3.5 characters.
        let bytes = 35.0 + 7.0;
        let expected = bytes * 11.0 / 9_600.0 + 0.020;
        let found = time_of(line(&config), &load.polls[0].1.requests[1], Duration::from_millis(20)).as_secs_f64();
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        let one = |bytes: f64| (bytes + 7.0) * 11.0 / 9_600.0 + 0.020;
        let share = (one(14.0) + one(35.0)) / 1.0 + one(15.0) / 10.0;
        assert!((load.share - share).abs() < 1e-6, "{} is not {share}", load.share);
        assert_eq!(load.too_long(line(&config)).count(), 0);
    }

    #[test]
    fn over_tcp_it_takes_the_round_trip_and_the_pause() {
        let config = example(|text| text.replace("pause = \"0ms\"", "pause = \"5ms\""));
        let load = Load::of(line(&config), Duration::from_millis(600));
        assert_eq!(load.polls[0].2, Duration::from_millis(1_210));
        let long: Vec<_> =
            load.too_long(line(&config)).map(|(device, poll, _)| (device.name.as_str(), poll.interval)).collect();
        assert_eq!(long, [("press-plc", Duration::from_secs(1))]);
    }
}
