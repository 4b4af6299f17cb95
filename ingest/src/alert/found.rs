//! What the fleet model finds, as conditions of alerts.

use std::collections::BTreeSet;

use sandan_proto::id::GatewayId;
use serde::{Deserialize, Serialize};

use super::kind::{Condition, Kind, Level, Subject};
use crate::fleet::{self, View};

/// What one process sees of the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    /// When, µs since 1970.
    pub(super) at_us: i64,
    /// Gateways that have a session there.
    pub(super) connected: BTreeSet<GatewayId>,
    /// What is wrong.
    pub(super) conditions: Vec<Condition>,
}

/// What the board shows as conditions.
pub(super) fn of_views(views: &[View], now_us: i64) -> Found {
    let connected = views.iter().filter(|view| view.connected).map(|view| view.id.clone()).collect();
    let conditions = views.iter().flat_map(|view| &view.conditions).filter_map(of_model).collect();
    Found { at_us: now_us, connected, conditions }
}

/// A condition of the model as one of alerts, which have the same names.
pub(super) fn of_model(it: &fleet::Condition) -> Option<Condition> {
    let kind: Kind = it.id.name().parse().ok()?;
    let level = match it.level {
        fleet::Level::Critical => Level::Critical,
        fleet::Level::Warn => Level::Warn,
        fleet::Level::Well | fleet::Level::Unknown => return None,
    };
    let subject = match (&it.gateway, &it.device) {
        (None, _) => Subject::Service,
        (Some(gateway), None) => Subject::Gateway(gateway.clone()),
        (Some(gateway), Some(device)) => Subject::Device { gateway: gateway.clone(), device: device.clone() },
    };
    // A share is said in percent; nobody is told of less than one of the rest.
    let factor = if kind == Kind::PollSuccess { 100.0 } else { 1.0 };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // cut to what it may be before
    let number = it.value.filter(|value| value.is_finite()).map(|value| (value.abs() * factor).min(1e15) as u64);
    // Maintenance is quiet, and not something above it that is wrong.
    let is_hidden = it.inhibited_by.is_some_and(|by| by != fleet::Parent::Maintenance);
    Some(Condition { kind, level, subject, since_us: it.since_us, number, is_hidden })
}

/// Joins what several processes see: a gateway is as the process says that has its session, and what nobody
/// has is as this one says.
pub(super) fn joined(own: Found, others: Vec<Found>) -> Vec<Condition> {
    let mut taken = own.connected.clone();
    let mut all: Vec<(BTreeSet<GatewayId>, Vec<Condition>)> = Vec::new();
    for other in others {
        let theirs: BTreeSet<_> = other.connected.difference(&taken).cloned().collect();
        taken.extend(theirs.iter().cloned());
        all.push((theirs, other.conditions));
    }
    let elsewhere: BTreeSet<GatewayId> = all.iter().flat_map(|(theirs, _)| theirs.iter().cloned()).collect();
    let is_of = |it: &Condition, ids: &BTreeSet<GatewayId>| it.subject.gateway().is_some_and(|id| ids.contains(id));
    let mut conditions: Vec<_> = own.conditions.into_iter().filter(|it| !is_of(it, &elsewhere)).collect();
    for (theirs, found) in all {
        conditions.extend(found.into_iter().filter(|it| is_of(it, &theirs)));
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(name: &str) -> GatewayId {
        GatewayId::new(name).unwrap()
    }

    fn away(name: &str) -> Condition {
        let subject = Subject::Gateway(gateway(name));
        let (kind, level) = (Kind::LastContact, Level::Critical);
        Condition { kind, level, subject, since_us: 0, number: None, is_hidden: false }
    }

    fn down(name: &str) -> Condition {
        let subject = Subject::Device { gateway: gateway(name), device: "plc".into() };
        Condition { kind: Kind::LinkDown, subject, ..away(name) }
    }

    #[test]
    fn every_condition_of_the_model_is_a_kind_of_alert() {
        for id in fleet::ConditionId::ALL {
            assert!(id.name().parse::<Kind>().is_ok(), "{}", id.name());
        }
    }

    #[test]
    fn a_gateway_that_calls_another_process_is_not_away() {
        let own = Found {
            at_us: 0,
            connected: [gateway("a/one")].into(),
            conditions: vec![down("a/one"), away("a/two"), away("a/three")],
        };
        let other = Found {
            at_us: 0,
            connected: [gateway("a/two")].into(),
            conditions: vec![away("a/one"), down("a/two"), away("a/three")],
        };
        let found = joined(own.clone(), vec![other]);
        assert_eq!(found, [down("a/one"), away("a/three"), down("a/two")]);
        assert_eq!(joined(own.clone(), Vec::new()), own.conditions);
    }
}
