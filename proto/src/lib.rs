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
pub mod exposition;
pub mod id;
pub mod invitation;
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    /// By message: the types of its fields, as the file has them.
    fn messages(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut message = "";
        for line in text.lines().map(|line| line.split("//").next().unwrap_or_default().trim()) {
            if let Some(name) = line.strip_prefix("message ").and_then(|rest| rest.split_whitespace().next()) {
                message = name;
            }
            for field in line.rsplit('{').next().unwrap_or_default().split(';').filter(|field| field.contains('=')) {
                let words = field.split_whitespace().filter(|word| !["repeated", "optional"].contains(word));
                found.entry(message).or_default().extend(words.take(1));
            }
        }
        found
    }

    #[test]
    fn the_wire_carries_no_reading_down() {
        let messages = messages(include_str!("../sandan/v1/sandan.proto"));
        let reach = |from: &'static str| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
            while let Some(name) = next.pop() {
                if seen.insert(name) {
                    next.extend(messages.get(name).into_iter().flatten());
                }
            }
            seen
        };
        assert!(reach("GatewayFrame").contains("Sealed") && reach("Batch").contains("F64Values"));
        for answer in ["IngestFrame", "EnrollResponse", "RenewResponse"] {
            let seen = reach(answer);
            for reading in ["Sealed", "Batch", "Group", "Column", "Packed", "double"] {
                assert!(!seen.contains(reading), "{answer} can carry {reading}");
            }
        }
        assert!(reach("IngestFrame").contains("Ack"));
    }
}
