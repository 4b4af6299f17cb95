//! The protobuf messages of a Sparkplug B payload, as far as they are read.
//!
//! Field numbers and types: Eclipse Sparkplug 3.0, section 6.4.1. What is repeated or nested
//! is taken as the bytes that it is: a message of some bytes can then not make a thousand
//! times as much memory of itself, and nothing is read deeper than somebody asks for.

use bytes::Bytes;

/// The whole payload. Its `uuid` (4) and `body` (5) are for formats of others.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Payload {
    /// When it was sent, milliseconds since 1970.
    #[prost(uint64, optional, tag = "1")]
    pub(super) timestamp: Option<u64>,
    /// Each a [`Metric`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) metrics: Vec<Bytes>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) seq: Option<u64>,
}

/// One metric. Its `metadata` (8) describes files and parts of them, which are not taken.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Metric {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) alias: Option<u64>,
    /// When the value was captured, milliseconds since 1970.
    #[prost(uint64, optional, tag = "3")]
    pub(super) timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "4")]
    pub(super) datatype: Option<u32>,
    #[prost(bool, optional, tag = "5")]
    pub(super) is_historical: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    pub(super) is_transient: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub(super) is_null: Option<bool>,
    /// A [`PropertySet`].
    #[prost(bytes = "bytes", optional, tag = "9")]
    pub(super) properties: Option<Bytes>,
    #[prost(oneof = "Value", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18")]
    pub(super) value: Option<Value>,
}

/// What a metric's value is written as; which number it means, its datatype tells.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Value {
    #[prost(uint32, tag = "10")]
    Int(u32),
    #[prost(uint64, tag = "11")]
    Long(u64),
    #[prost(float, tag = "12")]
    Float(f32),
    #[prost(double, tag = "13")]
    Double(f64),
    #[prost(bool, tag = "14")]
    Bool(bool),
    #[prost(string, tag = "15")]
    Text(String),
    #[prost(bytes = "bytes", tag = "16")]
    Bytes(Bytes),
    /// A data set, which is not read.
    #[prost(bytes = "bytes", tag = "17")]
    DataSet(Bytes),
    /// A [`Template`].
    #[prost(bytes = "bytes", tag = "18")]
    Template(Bytes),
}

/// Properties of a metric: two lists of one length.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PropertySet {
    #[prost(string, repeated, tag = "1")]
    pub(super) keys: Vec<String>,
    /// Each a [`PropertyValue`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) values: Vec<Bytes>,
}

/// The value of one property, as far as a quality is written.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PropertyValue {
    #[prost(bool, optional, tag = "2")]
    pub(super) is_null: Option<bool>,
    #[prost(uint32, optional, tag = "3")]
    pub(super) int: Option<u32>,
    #[prost(uint64, optional, tag = "4")]
    pub(super) long: Option<u64>,
}

/// A definition or an instance of a template. Its parameters (3) are not measured.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Template {
    /// Each a [`Metric`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) metrics: Vec<Bytes>,
    #[prost(bool, optional, tag = "5")]
    pub(super) is_definition: Option<bool>,
}
