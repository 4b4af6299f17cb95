//! What gateway and ingest say to each other: the wire messages, the typed ids,
//! validated records and the limits on everything that comes from outside.
//!
//! The order follows the data: an id names a series, a value with a quality is a
//! reading, readings make a batch, a batch is sealed into a record of a lane, and
//! births say what the batch's series are.
//!
//! This crate does no I/O and knows neither service.

pub mod batch;
pub mod births;
pub mod id;
pub mod limits;
pub mod reading;
pub mod record;

/// The generated messages and services of `sandan/v1/sandan.proto`.
#[allow(clippy::pedantic, missing_docs, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("sandan.v1");
}

/// The version of the protocol that this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;
