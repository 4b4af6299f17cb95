//! A Sparkplug B payload: bounded on the way in, and read metric by metric, so that one
//! broken metric does not cost its neighbours.

use bytes::Bytes;
use prost::Message as _;
use sandan_proto::reading::Quality;

use super::wire;

/// Largest payload: a birth of ten thousand metrics with long names takes about this.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Most metrics of one payload, and members of one template.
pub const MAX_METRICS: usize = 20_000;
/// Longest metric name, folders with it; longer ones are no names but mistakes.
pub const MAX_NAME_BYTES: usize = 1_024;
/// Most properties of one metric that are searched for its quality.
const MAX_PROPERTIES: usize = 256;
/// The one property that the specification gives a meaning.
const QUALITY: &str = "Quality";
/// The metric that tells which session of a node a birth or a death belongs to.
const SESSION: &str = "bdSeq";

/// Why a payload, or a metric of it, cannot be used. Goes on from "a message" or "a metric".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its size.
    #[error("has {0} bytes, more than {MAX_PAYLOAD_BYTES}")]
    Large(usize),
    /// Its bytes.
    #[error("is not a Sparkplug B payload")]
    Form,
    /// How many metrics it holds.
    #[error("holds {0} metrics, more than {MAX_METRICS}")]
    Many(usize),
    /// The length of its name.
    #[error("has a name of {0} bytes, more than {MAX_NAME_BYTES}")]
    Name(usize),
    /// It has a table where a value is needed.
    #[error("is a data set, which is no one value; let the node publish what is needed as metrics of their own")]
    DataSet,
    /// It has bytes where a value is needed.
    #[error("is a file or bytes, which is no value")]
    Blob,
    /// It stands in a template within a template.
    #[error("is a template, of which only the members of the outermost are taken")]
    Nested,
    /// It is an array, and no element was asked for.
    #[error("is an array; say which element: index = 0")]
    Array,
    /// An element was asked for, and it is none.
    #[error("is not an array; leave `index` out")]
    NoArray,
    /// The array ends before the element.
    #[error("is an array without the element {0}")]
    Element(usize),
    /// What it is, nobody said.
    #[error("does not say its type, and no birth told it")]
    Untyped,
    /// Its type is none of the specification's.
    #[error("has the unknown type {0}")]
    Type(u32),
    /// Its type is not the one that the configuration says.
    #[error("is of another type than the signal's `type`")]
    Configured,
    /// Its value does not have its type.
    #[error("has a value that is not of its type")]
    Mismatch,
}

/// One payload, with its metrics still to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// When it was sent by the node's clock, milliseconds since 1970.
    pub sent_ms: Option<u64>,
    /// Counts the node's messages, 0 to 255 and round again.
    pub seq: Option<u8>,
    metrics: Vec<Bytes>,
}

impl Payload {
    /// Reads it as far as its metrics. A sequence number beyond 255 is none.
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        if bytes.len() > MAX_PAYLOAD_BYTES {
            return Err(Refusal::Large(bytes.len()));
        }
        let payload = wire::Payload::decode(bytes.clone()).map_err(|_| Refusal::Form)?;
        if payload.metrics.len() > MAX_METRICS {
            return Err(Refusal::Many(payload.metrics.len()));
        }
        let seq = payload.seq.and_then(|seq| u8::try_from(seq).ok());
        Ok(Self { sent_ms: payload.timestamp, seq, metrics: payload.metrics })
    }

    /// Its metrics, in their order.
    pub fn metrics(&self) -> impl Iterator<Item = Result<Metric, Refusal>> {
        self.metrics.iter().map(Metric::decode)
    }

    /// The session of the node that a birth or death belongs to.
    pub fn session(&self) -> Option<u64> {
        let metric = self.metrics().flatten().find(|metric| metric.name.as_deref() == Some(SESSION))?;
        match metric.value? {
            wire::Value::Int(number) => Some(number.into()),
            wire::Value::Long(number) => Some(number),
            _ => None,
        }
    }
}

/// One metric as it was sent.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent flags of the format")]
pub struct Metric {
    /// What it is called; absent where an alias says it.
    pub name: Option<String>,
    /// A number for the name, told in a birth.
    pub alias: Option<u64>,
    /// When its value was captured by the node's clock, milliseconds since 1970.
    pub captured_ms: Option<u64>,
    /// The code of its type.
    pub datatype: Option<u32>,
    /// It tells what was, and not what is.
    pub is_historical: bool,
    /// The node asks not to store it.
    pub is_transient: bool,
    /// There is no value.
    pub is_null: bool,
    /// What the node says of its value.
    pub quality: Quality,
    pub(super) value: Option<wire::Value>,
}

impl Metric {
    fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        let metric = wire::Metric::decode(bytes.clone()).map_err(|_| Refusal::Form)?;
        if let Some(name) = &metric.name
            && name.len() > MAX_NAME_BYTES
        {
            return Err(Refusal::Name(name.len()));
        }
        Ok(Self {
            // An empty name is what some encoders write where there is none.
            name: metric.name.filter(|name| !name.is_empty()),
            alias: metric.alias,
            captured_ms: metric.timestamp,
            datatype: metric.datatype,
            is_historical: metric.is_historical.unwrap_or(false),
            is_transient: metric.is_transient.unwrap_or(false),
            is_null: metric.is_null.unwrap_or(false),
            quality: metric.properties.map_or(Ok(Quality::GOOD), quality)?,
            value: metric.value,
        })
    }

    /// Whether its value is a template, by its type or by how it is written.
    pub(super) fn is_template(&self, datatype: Option<u32>) -> bool {
        matches!(self.value, Some(wire::Value::Template(_))) || datatype == Some(super::value::TEMPLATE)
    }

    /// The members of an instance of a template; a definition has none that are values.
    pub(super) fn members(&self) -> Result<Vec<Result<Self, Refusal>>, Refusal> {
        let Some(wire::Value::Template(bytes)) = &self.value else { return Err(Refusal::Mismatch) };
        let template = wire::Template::decode(bytes.clone()).map_err(|_| Refusal::Form)?;
        if template.is_definition == Some(true) {
            return Ok(Vec::new());
        }
        if template.metrics.len() > MAX_METRICS {
            return Err(Refusal::Many(template.metrics.len()));
        }
        Ok(template.metrics.iter().map(Self::decode).collect())
    }
}

/// The quality that a metric's properties name; good where they name none.
fn quality(properties: Bytes) -> Result<Quality, Refusal> {
    let set = wire::PropertySet::decode(properties).map_err(|_| Refusal::Form)?;
    let Some(at) = set.keys.iter().take(MAX_PROPERTIES).position(|key| key == QUALITY) else {
        return Ok(Quality::GOOD);
    };
    // The keys have no values beside them: nothing can be said about the value.
    let Some(value) = set.values.get(at) else { return Ok(Quality::UNCERTAIN_SOURCE) };
    let value = wire::PropertyValue::decode(value.clone()).map_err(|_| Refusal::Form)?;
    if value.is_null == Some(true) {
        return Ok(Quality::UNCERTAIN_SOURCE);
    }
    let code = value.int.map(u64::from).or(value.long);
    Ok(code.map_or(Quality::UNCERTAIN_SOURCE, of_code))
}

/// 192 good, 0 bad and 500 stale are the specification's. What others write are the codes of
/// OPC DA: the two upper bits of the byte are the class.
fn of_code(code: u64) -> Quality {
    match code {
        192..=255 => Quality::GOOD,
        64..=127 => Quality::UNCERTAIN_SOURCE,
        500 => Quality::BAD_NO_ANSWER,
        _ => Quality::BAD_SOURCE,
    }
}

#[cfg(test)]
mod tests;
