//! What a changed configuration changes. Pure.
//!
//! An endpoint whose line, devices and places of values are the same goes on as it is, with
//! its connection and its cadence; its signals may have other deadbands, units or policies,
//! for those are the tag stage's. Any other endpoint is stopped in order and begun anew.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::{Config, Endpoint};

/// From the configuration that runs to another one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// By endpoint of the new configuration: which one of the old it goes on as.
    pub(super) endpoints: Vec<Option<usize>>,
    /// By device of the new configuration: which one of the old goes on in it.
    pub(super) devices: Vec<Option<usize>>,
    /// By signal of the old configuration: its place in the new one, where there is one of its
    /// name.
    pub(super) signals: Vec<Option<u32>>,
}

/// What cannot be changed while the gateway runs, and was.
pub(super) fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let changed = [
        ("gateway", old.gateway != new.gateway),
        ("state_dir", old.state_dir != new.state_dir),
        ("[http]", old.http != new.http),
        ("[spool]", old.spool != new.spool),
        ("[uplink]", old.uplink != new.uplink),
    ];
    let changed = changed.into_iter().filter(|(_, is_changed)| *is_changed);
    changed.map(|(key, _)| format!("`{key}` was changed, which needs a restart")).collect()
}

pub(super) fn plan(old: &Config, new: &Config) -> Plan {
    let before: Vec<_> = (0..old.endpoints.len()).map(|index| Plain::of(old, index)).collect();
    let same = |index| {
        let now = Plain::of(new, index);
        before.iter().position(|before| *before == now)
    };
    let endpoints: Vec<_> = (0..new.endpoints.len()).map(same).collect();
    let names: HashMap<_, _> = old.devices.iter().enumerate().map(|(index, device)| (&device.name, index)).collect();
    let goes_on = |device: &crate::config::Device| {
        let old = names.get(&device.name).copied();
        endpoints[device.endpoint].and(old)
    };
    let places: HashMap<_, u32> = new
        .signals
        .iter()
        .zip(0..)
        .map(|(signal, index)| ((&new.devices[signal.device].name, &signal.name), index))
        .collect();
    let place = |signal: &crate::config::Signal| places.get(&(&old.devices[signal.device].name, &signal.name)).copied();
    Plan {
        devices: new.devices.iter().map(goes_on).collect(),
        signals: old.signals.iter().map(place).collect(),
        endpoints,
    }
}

/// An endpoint with names in the place of indices.
#[derive(Debug, PartialEq)]
struct Plain {
    endpoint: Endpoint,
    devices: Vec<(String, String, Duration)>,
    signals: Vec<String>,
}

impl Plain {
    fn of(config: &Config, index: usize) -> Self {
        let mut plain = Self { endpoint: config.endpoints[index].clone(), devices: Vec::new(), signals: Vec::new() };
        let (devices, signals) = (&mut plain.devices, &mut plain.signals);
        plain.endpoint.renumber(
            &mut |device| {
                let it = &config.devices[*device];
                devices.push((it.name.clone(), it.address.clone(), it.interval));
                *device = devices.len();
            },
            &mut |signal| {
                signals.push(config.signals[*signal as usize].name.clone());
                *signal = u32::try_from(signals.len()).unwrap_or(u32::MAX);
            },
        );
        plain
    }
}

#[cfg(test)]
mod tests;
