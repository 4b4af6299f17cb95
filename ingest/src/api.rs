//! HTTP/JSON for members under `/v1`, and the two pages for machines, `/healthz` and
//! `/metrics`.
//!
//! It promises that every route stands in a table with its guard, that an answer is
//! bounded, and that a CSV which a revocation ends breaks off (the connection is
//! aborted before the last chunk), so that it cannot be taken for a whole one. It reads
//! through `access` only and must not know the store.

mod alerts;
mod audit;
mod compress;
mod consents;
mod csv;
mod dead_letters;
mod errors;
mod etag;
mod gaps;
mod groups;
mod guard;
mod limits;
mod live;
mod negotiate;
mod officers;
mod openapi;
mod problem;
mod query;
mod rate;
mod readings;
mod routes;
mod runs;
mod series;
mod watch;

use std::sync::Arc;

use prometheus_client::registry::Registry;

pub use self::limits::{Slots, limited};
pub use self::problem::{Code, Problem};
pub use self::rate::{Limiter, Rates};
pub use self::routes::{router, routes};
use crate::access::Access;
use crate::auth::Auth;

/// What the handlers share.
pub struct Api {
    /// The door.
    pub access: Arc<Access>,
    /// Who calls.
    pub auth: Auth,
    /// How many requests a token and a firm may send.
    pub limiter: Limiter,
    /// Requests of members that are being worked on.
    pub slots: Arc<Slots>,
    /// What `/metrics` shows.
    pub registry: Registry,
}

#[cfg(test)]
mod tests;
