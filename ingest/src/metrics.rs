//! Every Prometheus name of this service, in one place.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Whether the asker was told why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Denial {
    known: bool,
}

impl Denial {
    /// Answered 403 with reasons.
    pub const KNOWN: Denial = Denial { known: true };
    /// Answered 404.
    pub const UNKNOWN: Denial = Denial { known: false };
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answer {
    /// The route as it is written in its table.
    pub route: String,
    /// The status.
    pub status: u16,
}

/// What the sharing side counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Reads that were permitted.
    pub reads_started: Counter,
    /// Reads that a revocation or an end ended in their middle.
    pub reads_withdrawn: Counter,
    /// Rows handed on.
    pub rows_served: Counter,
    /// Reads that were not permitted.
    pub denials: Family<Denial, Counter>,
    /// HTTP answers.
    pub answers: Family<Answer, Counter>,
    /// Requests that are being answered.
    pub requests_open: Gauge,
}

impl Metrics {
    /// Enters all of them.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("sandan_ingest");
        registry.register("reads_started", "Reads that were permitted", self.reads_started.clone());
        registry.register("reads_withdrawn", "Reads ended by a revocation or expiry", self.reads_withdrawn.clone());
        registry.register("rows_served", "Readings and buckets handed on", self.rows_served.clone());
        registry.register("reads_denied", "Reads that no consent covered", self.denials.clone());
        registry.register("http_responses", "HTTP answers by route and status", self.answers.clone());
        registry.register("http_requests_open", "HTTP requests being answered", self.requests_open.clone());
    }
}
