//! From a JSON payload to raw values. Pure.

use sandan_proto::reading::Quality;
use serde_json::Value;

use crate::config::{Pick, Step};
use crate::driver::{Raw, Reading};

/// The raw values of those signals whose path the payload has. A payload may bring some
/// of them and leave others to the next; null is the source's own "no value".
pub fn readings(payload: &Value, picks: &[Pick]) -> Vec<Reading> {
    picks
        .iter()
        .filter_map(|pick| {
            let raw = match find(payload, &pick.steps)? {
                Value::Null => Raw::Failed(Quality::BAD_SOURCE),
                Value::Bool(bit) => Raw::Bit(*bit),
                Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                    (Some(integer), _) => Raw::Integer(integer),
                    (None, Some(number)) => Raw::Number(number),
                    (None, None) => Raw::Failed(Quality::BAD_UNDECODABLE),
                },
                Value::String(text) => Raw::Text(text.clone()),
                Value::Array(_) | Value::Object(_) => Raw::Failed(Quality::BAD_UNDECODABLE),
            };
            Some(Reading::new(pick.signal, raw))
        })
        .collect()
}

fn find<'v>(payload: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    steps.iter().try_fold(payload, |value, step| match value {
        Value::Object(object) => object.get(&step.key),
        Value::Array(array) => array.get(step.index?),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
