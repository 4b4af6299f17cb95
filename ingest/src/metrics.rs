//! Every Prometheus name of this service, in one place.

mod fleet;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

pub use self::fleet::FleetCollector;
use crate::store::Readings;
use crate::store::metrics::LATENCY_BOUNDS_US;

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
    /// 1 while the witness could not be written.
    pub witness_behind: Gauge,
    /// Bytes left on the disk of the data directory.
    pub disk_free_bytes: Gauge,
    /// Bytes that have to be left.
    pub disk_reserve_bytes: Gauge,
    /// 1 while nothing more is acknowledged for want of room.
    pub disk_short: Gauge,
    /// Alerts that have lasted long enough to be told.
    pub alerts_firing: Gauge,
    /// Messages about alerts that are on their way.
    pub alert_messages_waiting: Gauge,
    /// Messages that a receiver took.
    pub alert_messages_sent: Counter,
    /// Tries at which a receiver did not.
    pub alert_message_failures: Counter,
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
        let behind = "1 while the witness could not be written";
        registry.register("witness_behind", behind, self.witness_behind.clone());
        let free = "Bytes left on the disk of the data directory";
        registry.register("disk_free_bytes", free, self.disk_free_bytes.clone());
        let least = "Bytes that have to be left there";
        registry.register("disk_reserve_bytes", least, self.disk_reserve_bytes.clone());
        let short = "1 while less is left, and nothing more is acknowledged";
        registry.register("disk_short", short, self.disk_short.clone());
        let firing = "Alerts that have lasted long enough to be told, in the process that tells";
        registry.register("alerts_firing", firing, self.alerts_firing.clone());
        let waiting = "Messages about alerts that are on their way";
        registry.register("alert_messages_waiting", waiting, self.alert_messages_waiting.clone());
        registry.register("alert_messages_sent", "Messages that receivers took", self.alert_messages_sent.clone());
        let failed = "Tries at which a receiver did not take a message";
        registry.register("alert_message_failures", failed, self.alert_message_failures.clone());
    }
}

/// What the store and the sessions count.
pub struct StoreCollector(pub Arc<dyn Readings>);

impl fmt::Debug for StoreCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreCollector")
    }
}

impl Collector for StoreCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let store = self.0.metrics();
        let counters = [
            ("commits", "Group commits that were synced", &store.commits),
            ("records", "Records stored, dead-lettered or noted as a gap", &store.records),
            ("readings", "Readings stored", &store.readings),
            ("payload_bytes", "Bytes of stored payloads", &store.bytes),
            ("duplicates", "Records that were durable before", &store.duplicates),
            ("gaps", "Gap records", &store.gaps),
            ("records_put_off", "Records to be sent later because their firm sends too fast", &store.put_off),
            ("recovered_readings", "Dead-lettered readings that a retry has stored", &store.recovered),
            ("sessions", "Sessions that were welcomed", &store.sessions),
            ("sessions_fenced", "Hellos refused because their spool was behind", &store.fenced),
            ("compactions", "Compactions done", &store.compactions),
            ("compaction_failures", "Compactions that failed", &store.compaction_failures),
            ("compacted_readings", "Readings moved into firm files", &store.compacted_readings),
            ("merged_readings", "Readings packed again, with others of their series", &store.merged_readings),
            ("retention_readings", "Readings that are gone, being past their retention", &store.retained_readings),
            ("commits_retried", "Group commits tried again because the database was away", &store.commits_retried),
            ("commits_uncertain", "Group commits that nobody knows the outcome of", &store.commits_uncertain),
            ("upkeeps", "Passes of the database's upkeep", &store.upkeeps),
            ("upkeep_failures", "Passes of the database's upkeep that failed", &store.upkeep_failures),
            ("hour_tallies", "Hours of series that a database counted, late ones again", &store.hours_counted),
            ("chunks_read", "Chunks read for pulls", &store.reads),
        ];
        for (name, help, counter) in counters {
            count(&mut encoder, name, help, counter.get())?;
        }
        let open = ConstGauge::new(store.sessions_open.get());
        let name = "sandan_ingest_sessions_open";
        open.encode(encoder.encode_descriptor(name, "Sessions open now", None, MetricType::Gauge)?)?;

        let name = "sandan_ingest_dead_lettered_readings";
        let mut dead =
            encoder.encode_descriptor(name, "Readings dead-lettered, by reason", None, MetricType::Counter)?;
        for (reason, _, readings) in store.dead_letters() {
            let reason = reason.as_str_name().trim_start_matches("DEAD_LETTER_REASON_").to_lowercase();
            ConstCounter::new(readings).encode(dead.encode_family(&[("reason", reason)])?)?;
        }

        let name = "sandan_ingest_commit_seconds";
        let mut latency =
            encoder.encode_descriptor(name, "Time of a group commit, with its sync", None, MetricType::Histogram)?;
        let counts = store.commit_latency.buckets();
        let bounds = LATENCY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::MAX]);
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let sum = store.commit_latency.sum_seconds();
        latency.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }
}

fn count(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let name = format!("sandan_ingest_{name}");
    ConstCounter::new(value).encode(encoder.encode_descriptor(&name, help, None, MetricType::Counter)?)
}
