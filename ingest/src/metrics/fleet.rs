//! Figures of the fleet, summed up: the page is open to everyone who reaches the port, and
//! names neither a firm nor a gateway.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::fleet::{Board, ConditionId, Level, LinkState, Signals, State, View};

/// How all gateways are.
pub struct FleetCollector(pub Arc<Board>);

impl fmt::Debug for FleetCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetCollector")
    }
}

impl Collector for FleetCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (views, _) = self.0.views();
        let own = self.0.own_conditions();
        let mut out = Out(&mut encoder);
        let count = |many: usize| many as f64;

        let states = State::ALL
            .map(|state| ([("state", state.name())], count(views.iter().filter(|view| view.state == state).count())));
        out.family("gateways", "Gateways by state", &states)?;
        let links = LinkState::ALL.map(|state| {
            let those = views.iter().flat_map(|view| &view.links).filter(|link| link.state == state);
            ([("state", state.name())], count(those.count()))
        });
        out.family("links", "Devices by state", &links)?;

        // Of gateways that are not heard nobody knows.
        let counted =
            || views.iter().filter(|view| view.heard).flat_map(|view| &view.links).filter_map(|it| it.signals);
        let sum = |of: fn(&Signals) -> u32| counted().map(|it| f64::from(of(&it))).sum::<f64>();
        let signals = [
            ([("state", "good")], sum(|it| it.good)),
            ([("state", "uncertain")], sum(|it| it.uncertain)),
            ([("state", "stale")], sum(|it| it.stale)),
            ([("state", "bad")], sum(|it| it.bad)),
            ([("state", "never_seen")], sum(|it| it.never_seen)),
        ];
        out.family("signals", "Signals by state, of gateways that are heard and count them", &signals)?;

        let told = || own.iter().chain(views.iter().flat_map(|view| &view.conditions));
        let held = |id: ConditionId, level: Level| {
            let those = told().filter(|it| it.inhibited_by.is_none() && (it.id, it.level) == (id, level));
            ([("condition", id.name()), ("level", level.name())], count(those.count()))
        };
        let each = ConditionId::ALL.map(|id| [held(id, Level::Warn), held(id, Level::Critical)]);
        out.family("conditions", "What is wrong, by what and how bad", each.as_flattened())?;
        let hidden = count(told().filter(|it| it.inhibited_by.is_some()).count());
        out.gauge("conditions_inhibited", "What may be wrong behind something that is", Some(hidden))?;

        let first = |of: fn(&View) -> Option<i64>| views.iter().filter_map(of).min().map(|us| us as f64 / 1e6);
        let name = "gateway_contact_oldest_timestamp_seconds";
        out.gauge(name, "Last word of the gateway that is silent for longest", first(|view| view.contact_us))?;
        let kept = views.iter().filter_map(|view| view.spool).map(|spool| spool.readings as f64).sum();
        out.gauge("spooled_readings", "Readings that gateways keep and that are not stored yet", Some(kept))?;
        let stores = f64::from(u8::from(own.is_empty()));
        out.gauge("storing", "1 while records are stored", Some(stores))
    }
}

struct Out<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        let name = format!("sandan_ingest_{name}");
        let descriptor = self.0.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        value.map_or(Ok(()), |value| ConstGauge::new(value).encode(descriptor))
    }

    fn family<const LABELS: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: &[([(&'static str, &'static str); LABELS], f64)],
    ) -> fmt::Result {
        let name = format!("sandan_ingest_{name}");
        let mut family = self.0.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }
}
