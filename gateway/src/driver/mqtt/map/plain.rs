//! A payload that is one value, as text. Pure.

use super::shown;
use crate::config::JsonType;
use crate::driver::Raw;

/// Longest number or yes-or-no: beyond it the payload is something else.
const MAX_SCALAR_BYTES: usize = 64;

/// The value of a payload. The error is a reason that goes on from "a message on …".
pub(super) fn raw(payload: &[u8], kind: JsonType) -> Result<Raw, String> {
    let text = std::str::from_utf8(payload).map_err(|_| "is not text in UTF-8".to_owned())?;
    if kind == JsonType::Text {
        return Ok(Raw::Text(text.into()));
    }
    let text = text.trim_matches([' ', '\t', '\r', '\n', '\0']);
    if text.is_empty() {
        return Err("is empty".into());
    }
    if text.len() > MAX_SCALAR_BYTES {
        return Err(format!("is not one value: it has {} bytes", text.len()));
    }
    match kind {
        JsonType::Bool => switch(text),
        _ => number(text),
    }
}

fn switch(text: &str) -> Result<Raw, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" => Ok(Raw::Bit(true)),
        "false" | "0" | "off" => Ok(Raw::Bit(false)),
        _ => Err(format!("is neither true nor false (1 0 on off): `{}`", shown(text))),
    }
}

fn number(text: &str) -> Result<Raw, String> {
    if let Ok(integer) = text.parse() {
        return Ok(Raw::Integer(integer));
    }
    if let Ok(number) = text.parse() {
        return Ok(Raw::Number(number));
    }
    // Whether 1,234 is a thousand or one and a bit nobody knows but who wrote it.
    let is_comma = text.contains(',') && text.chars().all(|c| c.is_ascii_digit() || "+-.,eE".contains(c));
    Err(if is_comma {
        format!("has a comma in its number, which may mean anything; have it written with a point: `{}`", shown(text))
    } else {
        format!("is not a number: `{}`", shown(text))
    })
}
