//! Times of readings as the server has them.

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// 2000-01-01T00:00:00Z, from which the server counts, µs since 1970.
const SERVER_EPOCH_US: i64 = 946_684_800_000_000;

/// A `timestamptz`, as µs since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ts(pub i64);

impl Ts {
    /// The eight bytes of the binary format, saturating at the ends of what 64 bits hold.
    pub(super) fn to_server(self) -> i64 {
        self.0.saturating_sub(SERVER_EPOCH_US)
    }
    pub(super) fn from_server(us: i64) -> Self {
        Self(us.saturating_add(SERVER_EPOCH_US))
    }
}

impl ToSql for Ts {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.to_server().clamp(MIN_US, MAX_US).to_be_bytes());
        Ok(IsNull::No)
    }
    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

/// Bounds of a question, from year 4000 BC to 290000: the server refuses times beyond its own.
const MIN_US: i64 = -189_000_000_000_000_000;
const MAX_US: i64 = 9_000_000_000_000_000_000;

impl<'a> FromSql<'a> for Ts {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self::from_server(i64::from_be_bytes(raw.try_into()?)))
    }
    accepts!(TIMESTAMPTZ);
}
