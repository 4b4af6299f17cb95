//! The gateway's Prometheus metrics. Every metric name stands in this file, and each
//! scrape is made from one look at [`Health`], so the figures agree with `/status`.
//! Labels are the devices of the configuration, nothing that comes from outside.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Health, LinkStatus, MessagesStatus};
use crate::clock;

/// A registry that shows this health.
pub fn registry(health: &Health) -> Registry {
    let mut registry = Registry::with_prefix("sandan_gateway");
    registry.register_collector(Box::new(Scrape(health.clone())));
    registry
}

#[derive(Debug)]
struct Scrape(Health);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let status = self.0.status(clock::monotonic_us());
        // Whoever scrapes reckons ages: one that stands still because nobody scrapes would lie.
        let now = clock::wall_us() as f64 / 1e6;
        let ago = |millis: u64| now - seconds(millis);
        let (spool, uplink) = (&status.spool, &status.uplink);
        let mut out = Out(&mut encoder);
        out.counter("readings", "Readings that passed the tag stage", status.readings_total)?;
        out.counter("readings_dropped", "Readings that the spool could not keep", status.readings_dropped_total)?;
        out.counter("readings_acked", "Readings that the ingest acknowledged", uplink.acked_total)?;
        out.counter("readings_dead_lettered", "Readings that the ingest could not store", uplink.dead_lettered_total)?;
        let help = "When the process started, since 1970";
        out.gauge("start_timestamp", help, Some(&Unit::Seconds), ago(status.uptime_ms))?;
        let config = &status.config;
        out.counter("config_reloads", "Changed configurations that were taken", config.reloads_total)?;
        out.counter("config_refusals", "Changed configurations that were refused", config.refusals_total)?;
        let help = "1 while the configuration that is there was refused, and the one before runs";
        out.gauge("config_refused", help, None, flag(config.refused.is_some()))?;
        out.gauge("uplink_connected", "1 while a session with the ingest is open", None, flag(uplink.connected))?;
        if let Some(expires_us) = uplink.certificate_expires_us {
            let (name, help) = ("certificate_expiry_timestamp", "When the certificate expires, since 1970");
            out.gauge(name, help, Some(&Unit::Seconds), expires_us as f64 / 1e6)?;
        }
        let (renewals, failures) = (uplink.certificate_renewals_total, uplink.certificate_failures_total);
        out.counter("certificate_renewals", "Renewals of the certificate", renewals)?;
        out.counter("certificate_renewal_failures", "Renewals that failed", failures)?;
        out.gauge("spool_unacked_records", "Records not acknowledged yet", None, spool.unacked_records as f64)?;
        out.gauge("spool_unacked_readings", "Readings not acknowledged yet", None, spool.unacked_readings as f64)?;
        let oldest = ago(spool.oldest_unacked_ms);
        let help = "When the oldest of them was made, since 1970; now while there is none";
        out.gauge("spool_oldest_unacked_timestamp", help, Some(&Unit::Seconds), oldest)?;
        let live = ago(spool.live_oldest_ms);
        let help = "When the oldest record of live data was made; now while there is none";
        out.gauge("spool_live_oldest_timestamp", help, Some(&Unit::Seconds), live)?;
        out.gauge("spool_backlog_records", "Records older than live data", None, spool.backlog_records as f64)?;
        out.gauge("spool_backlog_readings", "Readings in them", None, spool.backlog_readings as f64)?;
        let backlog = ago(spool.backlog_oldest_ms);
        let help = "When the oldest of them was made; now while there is none";
        out.gauge("spool_backlog_oldest_timestamp", help, Some(&Unit::Seconds), backlog)?;
        out.gauge("spool_used", "Bytes on disk", Some(&Unit::Bytes), spool.bytes_used as f64)?;
        out.gauge("spool_cap", "Bytes it may take", Some(&Unit::Bytes), spool.bytes_cap as f64)?;
        out.counter("spool_damaged_records", "Records that failed their checksum", spool.damaged_records_total)?;
        let help = "Bytes written to the spool's files";
        out.byte_counter("spool_written", help, spool.written_bytes_total)?;
        let waiting = ago(uplink.waiting_ms);
        let help = "Since when what is in flight waits for an acknowledgement; now while nothing is";
        out.gauge("uplink_waiting_timestamp", help, Some(&Unit::Seconds), waiting)?;
        let clock = &status.clock;
        let is_known = clock.source != "unknown";
        out.gauge("clock_known", "1 once the wall time of this boot is known", None, flag(is_known))?;
        let seconds_of = |millis: Option<i64>| millis.map(|millis| millis as f64 / 1_000.0);
        let (wall, stored) = (seconds_of(clock.deviation_ms), seconds_of(clock.stored_deviation_ms));
        out.known("clock_deviation", "Wall clock of the machine less the ingest's", &Unit::Seconds, wall)?;
        out.known("clock_stored_deviation", "Stored times less the ingest's", &Unit::Seconds, stored)?;
        let links = &status.links;
        out.link_gauge("link_up", "1 while a device is heard, 0 while it is not", None, links, |link| {
            (link.state != "unknown").then(|| flag(link.state != "down"))
        })?;
        let help = "When the last good value came, since 1970";
        out.link_gauge("link_last_good_timestamp", help, Some(&Unit::Seconds), links, |link| {
            link.last_good_age_ms.map(ago)
        })?;
        out.link_gauge("link_latency_p99", "Of the last five minutes", Some(&Unit::Seconds), links, |link| {
            Some(seconds(link.latency_p99_ms.into()))
        })?;
        out.link_counter("link_polls", "Requests or messages", links, |link| link.polls_total)?;
        out.link_counter("link_failures", "Those without values", links, |link| link.failures_total)?;
        out.link_counter("link_skipped_polls", "Polls left out, being late", links, |link| link.skipped_total)?;
        out.link_counter("link_ignored_messages", "Retained messages", links, |link| link.ignored_total)?;
        let brokers = &status.messages;
        let help = "Messages that could not be used, in whole or in part";
        out.broker_counter("dead_letters", help, brokers, |broker| broker.dead_letters_total)?;
        let help = "Dead letters for which their share of the spool had no room";
        out.broker_counter("dead_letters_refused", help, brokers, |broker| broker.dead_letters_refused_total)?;
        let help = "Messages whose topic names an asset or a metric that is not configured";
        out.broker_counter("unknown_topics", help, brokers, |broker| broker.unknown_topics_total)
    }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

fn flag(flag: bool) -> f64 {
    f64::from(u8::from(flag))
}

struct Out<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, counter.metric_type())?)
    }
    fn byte_counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, Some(&Unit::Bytes), counter.metric_type())?)
    }
    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, unit, gauge.metric_type())?)
    }
    /// A figure that has no value before it is known.
    fn known(&mut self, name: &str, help: &str, unit: &Unit, value: Option<f64>) -> fmt::Result {
        let kind = ConstGauge::new(0.0).metric_type();
        let descriptor = self.0.encode_descriptor(name, help, Some(unit), kind)?;
        value.map_or(Ok(()), |value| ConstGauge::new(value).encode(descriptor))
    }
    fn link_counter(
        &mut self,
        name: &str,
        help: &str,
        links: &[LinkStatus],
        value: impl Fn(&LinkStatus) -> u64,
    ) -> fmt::Result {
        let kind = ConstCounter::new(0u64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for link in links {
            ConstCounter::new(value(link)).encode(family.encode_family(&labels(link))?)?;
        }
        Ok(())
    }
    fn broker_counter(
        &mut self,
        name: &str,
        help: &str,
        brokers: &[MessagesStatus],
        value: impl Fn(&MessagesStatus) -> u64,
    ) -> fmt::Result {
        let kind = ConstCounter::new(0u64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for broker in brokers {
            ConstCounter::new(value(broker)).encode(family.encode_family(&[("endpoint", broker.endpoint.clone())])?)?;
        }
        Ok(())
    }
    fn link_gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        links: &[LinkStatus],
        value: impl Fn(&LinkStatus) -> Option<f64>,
    ) -> fmt::Result {
        let kind = ConstGauge::new(0.0).metric_type();
        let mut family = self.0.encode_descriptor(name, help, unit, kind)?;
        for link in links {
            if let Some(value) = value(link) {
                ConstGauge::new(value).encode(family.encode_family(&labels(link))?)?;
            }
        }
        Ok(())
    }
}

fn labels(link: &LinkStatus) -> [(&'static str, String); 2] {
    [("device", link.device.clone()), ("endpoint", link.endpoint.clone())]
}
