//! Limits on what comes from outside, each with its reason.

/// Largest payload of one sealed batch, encoded. Bounds what one frame can make
/// the receiver allocate; a second of 50,000 readings fits.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Largest gRPC message: a payload, its header fields, and births of
/// [`MAX_SERIES`] series with names of ordinary length.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// Most series one gateway may declare. Ten times the largest plant seen in the
/// register maps this was designed after.
pub const MAX_SERIES: usize = 20_000;
/// Longest text value, unit, name or path, in bytes.
pub const MAX_TEXT_BYTES: usize = 1_024;
/// Most readings in one batch.
pub const MAX_READINGS_PER_BATCH: usize = 200_000;
/// Most lanes one gateway may have open.
pub const MAX_LANES: usize = 64;
/// Most links one health report may carry.
pub const MAX_LINKS: usize = 2_000;

/// The limits as they are told to a gateway in `Welcome`.
pub fn wire() -> crate::v1::Limits {
    let narrow = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
    crate::v1::Limits {
        max_payload_bytes: narrow(MAX_PAYLOAD_BYTES),
        max_series: narrow(MAX_SERIES),
        max_text_bytes: narrow(MAX_TEXT_BYTES),
        max_readings_per_batch: narrow(MAX_READINGS_PER_BATCH),
    }
}
