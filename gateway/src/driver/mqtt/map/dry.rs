//! Payloads of any bytes, mapped as configurations would: for fuzzers and their corpora.

use super::{MAX_SAMPLES, message};
use crate::config::{JsonForm, JsonType, MqttDevice, OwnTime, Payload, Pick, Step, TimeFormat, Topic};

/// The places of the values, in keys and indices.
const PLACES: [(&[&str], JsonType); 6] = [
    (&["v"], JsonType::F64),
    (&["n"], JsonType::I64),
    (&["on"], JsonType::Bool),
    (&["text"], JsonType::Text),
    (&["current", "rms"], JsonType::F64),
    (&["zones", "1", "t"], JsonType::F64),
];
/// How the own time may be written, and in which zone it is where it does not say.
const TIMES: [(TimeFormat, Option<&str>); 6] = [
    (TimeFormat::Iso8601, None),
    (TimeFormat::Iso8601, Some("Asia/Seoul")),
    (TimeFormat::EpochS, None),
    (TimeFormat::EpochMs, None),
    (TimeFormat::EpochUs, None),
    (TimeFormat::EpochNs, None),
];

/// What a payload brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Brought {
    /// Values.
    pub samples: usize,
    /// Of them, those that have a time of their own.
    pub dated: usize,
}

/// Takes the first byte for the way in which the rest, a payload, is mapped: its remainder by
/// 14 is plain values, JSON without a time, one sample with a time in each of the formats, or
/// a list of them.
///
/// # Panics
/// Where a sample is of a signal that there is not, or there are more than a message may
/// bring, or one has no time where each must have one; and where nothing comes of a message
/// and no reason is given.
pub fn run(bytes: &[u8]) -> Brought {
    let Some((way, payload)) = bytes.split_first() else { return Brought::default() };
    let form = match usize::from(*way) % (2 + 2 * TIMES.len()) {
        0 => None,
        1 => Some(JsonForm::default()),
        way => Some(JsonForm {
            samples: (way >= 2 + TIMES.len()).then(|| steps(&["data"])),
            time: Some(time((way - 2) % TIMES.len())),
        }),
    };
    let has_time = form.as_ref().is_some_and(|form| form.time.is_some());
    let outcome = message(&device(form), None, payload);
    let samples = &outcome.samples;
    assert!(samples.len() <= MAX_SAMPLES, "more samples than a message may bring");
    assert!(samples.iter().all(|sample| (sample.signal as usize) < PLACES.len()), "no such signal");
    assert!(samples.iter().all(|sample| sample.wall_us.is_some() == has_time), "a time too many or too few");
    assert!(!samples.is_empty() || outcome.dead.is_some(), "nothing, and no reason");
    Brought { samples: samples.len(), dated: samples.iter().filter(|sample| sample.wall_us.is_some()).count() }
}

fn device(form: Option<JsonForm>) -> MqttDevice {
    let is_plain = form.is_none();
    let picks = (0..).zip(PLACES).map(|(signal, (keys, kind))| Pick {
        signal,
        kind,
        level: None,
        path: keys.join("."),
        steps: if is_plain { Vec::new() } else { steps(keys) },
    });
    MqttDevice {
        device: 0,
        name: "d".into(),
        topic: Topic::default(),
        payload: form.map_or(Payload::Plain, Payload::Json),
        picks: picks.collect(),
    }
}

fn time(format: usize) -> OwnTime {
    let (format, zone) = TIMES[format];
    OwnTime { path: "ts".into(), steps: steps(&["ts"]), format, zone: zone.map(Into::into) }
}

fn steps(keys: &[&str]) -> Vec<Step> {
    keys.iter().copied().map(Step::new).collect()
}
