//! `upload`: what of a signal leaves the plant at all.

use std::time::Duration;

use sandan_proto::reading::ValueType;

use crate::config::dictionary::Kind;
use crate::config::notation;
use crate::config::section::{At, Section};

/// What a bucket may span. Beyond a day the freshness of a series says nothing.
const BUCKETS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
const EXAMPLE: &str = "\"raw\", \"none\" or { every = \"60s\", function = \"mean\" }";

/// What of a signal leaves the plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upload {
    /// Every reading.
    Raw,
    /// Nothing: it is polled, shown by `read`, and neither kept nor declared.
    None,
    /// One reading a bucket.
    Bucketed {
        /// How long a bucket is.
        every: Duration,
        /// What stands for its values.
        function: Function,
    },
}

/// What stands for the values of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Function {
    Mean,
    Min,
    Max,
    Last,
}

impl Function {
    /// All of them, as they are written.
    pub const ALL: [(&str, Self); 4] =
        [("mean", Self::Mean), ("min", Self::Min), ("max", Self::Max), ("last", Self::Last)];
}

/// What an `upload` key says, on a signal or for all of a device.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Asked {
    at: usize,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Raw,
    None,
    Bucketed(Duration, Option<At<Function>>),
}

/// The `upload` key.
pub(in crate::config) fn asked(section: &Section<'_>) -> Option<Asked> {
    const WORDS: [(&str, What); 2] = [("raw", What::Raw), ("none", What::None)];
    if !section.is_table("upload") {
        return section.word("upload", &WORDS).map(|word| Asked { at: word.at, what: word.value });
    }
    let bucket = section.section("upload", EXAMPLE)?;
    let every = if bucket.has("every", "say how long a bucket is: every = \"60s\"") {
        bucket.duration("every", BUCKETS)
    } else {
        None
    };
    let function = bucket.word("function", &Function::ALL);
    bucket.finish();
    Some(Asked { at: bucket.at, what: What::Bucketed(every?.value, function) })
}

/// The policy of a signal that gives a value every `interval`.
pub(super) fn upload(
    section: &Section<'_>,
    default: Option<Asked>,
    value_type: Option<ValueType>,
    kind: Option<Kind>,
    interval: Duration,
) -> Upload {
    let Some(Asked { at, what }) = asked(section).or(default) else { return Upload::Raw };
    let (every, function) = match what {
        What::Raw => return Upload::Raw,
        What::None => return Upload::None,
        What::Bucketed(every, function) => (every, function),
    };
    let log = section.log;
    if every <= interval {
        let shown = notation::show_duration(interval);
        log.fault(at, format!("`every` of `upload` does nothing: a value comes every {shown}"), "make it longer");
    }
    let is_number = !matches!(value_type, Some(ValueType::Bool | ValueType::Text));
    let is_level = is_number && !matches!(kind, Some(Kind::Counter | Kind::State));
    let default = if is_level { Function::Mean } else { Function::Last };
    if let Some(At { value, at }) = function {
        const HINT: &str = "write function = \"last\", on the signal where the device says another";
        if value != Function::Last && !is_number {
            log.fault(at, "`function` of `upload` is for numbers, and this signal is none", HINT);
        } else if value == Function::Mean && !is_level {
            log.fault(at, "`mean` of a counter or a state says nothing", HINT);
        }
    }
    Upload::Bucketed { every, function: function.map_or(default, |function| function.value) }
}
