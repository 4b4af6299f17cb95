//! What a plan asks of its line: how long each request takes, whether the intervals can be
//! kept, and what units that are silent cost the others. Pure.

use std::time::Duration;

use super::learned::Learned;
use super::plan::{self, Poll, Request};
use super::{PROBE_SHARE, UNIT_PATIENCE};
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
    /// Of a line whose devices answer after this time and are known to refuse something. On a
    /// serial line the bytes on the wire, by the baud rate, and the pauses come on top.
    pub fn of(line: &Modbus, known: &[Learned], answer: Duration) -> Self {
        let mut polls = Vec::new();
        let mut share = 0.0;
        for (index, (device, learned)) in line.devices.iter().zip(known).enumerate() {
            for poll in plan::polls(device, learned) {
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

/// What units that do not answer cost the others of their line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Silence {
    /// What each request takes that is not answered, with the wait until the line is quiet.
    pub each: Duration,
    /// How many of them there are until a unit counts as lost.
    pub patience: u32,
    /// The part of the time that probes of all lost units together take from then on at most.
    pub share: f64,
}

impl Silence {
    /// On a line with the same assumption as [`Load::of`]; `None` where there is no other unit.
    pub fn of(line: &Modbus, answer: Duration) -> Option<Self> {
        let first = line.devices.first()?.unit;
        line.devices.iter().find(|device| device.unit != first)?;
        let quiet = line.drain.max(line.pause);
        let each = line.timeout
            + match &line.line {
                Line::Serial(serial) => serial.time_of(FRAME_BYTES.0) + quiet.max(serial.pause()),
                // Now and then the connection is made anew, which takes a round trip.
                Line::RtuTcp(_) => quiet + answer,
                Line::Tcp(_) => line.pause + answer,
            };
        Some(Self { each, patience: UNIT_PATIENCE, share: 1.0 / f64::from(PROBE_SHARE) })
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

    fn of(line: &Modbus, answer: Duration) -> Load {
        Load::of(line, &vec![Learned::nothing(); line.devices.len()], answer)
    }

    #[test]
    fn a_silence_takes_its_timeout_and_the_quiet_behind_it_where_there_are_neighbours() {
        let answer = Duration::from_millis(20);
        let alone = example(str::to_owned);
        assert_eq!(Silence::of(line(&alone), answer), None, "there is nobody to suffer");
        let second = "\n  [[modbus.device]]\n  name = \"second\"\n  unit = 9\n  asset = \"press-1\"\n  signals = [ { name = \
                      \"a\", metric = \"x_a\", at = \"holding:0\", type = \"u16\" } ]\n\n[[mqtt]]\n";
        let of = |address: &str| {
            let config = example(|text| {
                text.replace("\n[[mqtt]]\n", second)
                    .replace("address = \"tcp://192.168.0.10:502\"", address)
                    .replace("timeout = \"1s\"", "timeout = \"200ms\"")
            });
            Silence::of(line(&config), answer).unwrap()
        };
        let over_tcp = of("address = \"tcp://192.168.0.10:502\"");
        assert_eq!((over_tcp.each, over_tcp.patience), (Duration::from_millis(220), 3));
        assert!((over_tcp.share - 0.04).abs() < 1e-9);
        assert_eq!(of("address = \"rtu-tcp://192.168.0.10:502\"\ndrain = \"80ms\"").each, Duration::from_millis(300));
        // Eight bytes of ten bits, and the drain.
        let serial = of("address = \"serial:/dev/ttyS0\"\nbaud = 1000\ndrain = \"80ms\"").each;
        assert_eq!(serial, Duration::from_millis(200 + 80 + 80));
    }

    #[test]
    fn a_serial_line_takes_what_its_bytes_take() {
        let serial = "address = \"serial:/dev/ttyS0\"\nbaud = 9600\nparity = \"even\"";
        let config = example(|text| text.replace("address = \"tcp://192.168.0.10:502\"", serial));
        let load = of(line(&config), Duration::from_millis(20));
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
        let load = of(line(&config), Duration::from_millis(600));
        assert_eq!(load.polls[0].2, Duration::from_millis(1_210));
        let long: Vec<_> =
            load.too_long(line(&config)).map(|(device, poll, _)| (device.name.as_str(), poll.interval)).collect();
        assert_eq!(long, [("press-plc", Duration::from_secs(1))]);
    }
}
