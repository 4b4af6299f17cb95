//! Accounts: what the plant gave away against what its owner can read back.

use anyhow::Context;
use sandan_proto::reading::Value;

use super::gateway::Use;
use super::http::{Asker, Series};
use crate::plcsim::Plant;
use crate::plcsim::machine::{Kind, Point};

/// A time before every reading and one after them all, µs since 1970: 2020 and 2100.
pub const EVER: (i64, i64) = (1_577_836_800_000_000, 4_102_444_800_000_000);

/// One series of a plant without faults: the two lists that must be the same.
#[derive(Debug, Clone)]
pub struct Account {
    /// Which.
    pub series: Series,
    /// What the plant gave away, oldest first.
    pub served: Vec<Value>,
    /// What the owner reads back, without bad readings, oldest first.
    pub stored: Vec<Value>,
}

impl Account {
    /// Whether each value that was served is stored once, and nothing else.
    pub fn agrees(&self) -> bool {
        self.served.len() == self.stored.len()
            && self.served.iter().zip(&self.stored).all(|(served, stored)| same(served, stored))
    }
}

/// JSON shows 820.0 and 820 alike.
fn same(one: &Value, other: &Value) -> bool {
    one == other || one.as_f64().is_some_and(|value| other.as_f64() == Some(value))
}

/// The accounts of all series of a device.
pub fn accounts(plant: &Plant, used: &Use, firm: &str, owner: &Asker) -> anyhow::Result<Vec<Account>> {
    used.points().iter().map(|point| account(plant, used, point, firm, owner)).collect()
}

fn account(plant: &Plant, used: &Use, point: &Point, firm: &str, owner: &Asker) -> anyhow::Result<Account> {
    let series = used.series(firm, point);
    let stored = owner.readings(&series, EVER.0, EVER.1).with_context(|| format!("{series} cannot be read back"))?;
    let stored = stored.into_iter().filter_map(|reading| reading.value).collect();
    Ok(Account { series, served: served(plant, used, point), stored })
}

/// What the plant gave away of one point, oldest first.
pub fn served(plant: &Plant, used: &Use, point: &Point) -> Vec<Value> {
    let name = &used.device.name;
    if used.device.topic.is_none() {
        return plant.truth().served_by(name).iter().filter_map(|answer| answer.value(point)).collect();
    }
    let messages = plant.truth().published_by(name);
    messages.iter().filter(|message| message.acked).filter_map(|message| published(&message.payload, point)).collect()
}

/// The value of a point in a message.
pub(crate) fn published(payload: &str, point: &Point) -> Option<Value> {
    let payload: serde_json::Value = serde_json::from_str(payload).ok()?;
    let value = if point.name == "current" { &payload["current"]["rms"] } else { &payload[&point.name] };
    match point.kind {
        Kind::Bool => value.as_bool().map(Value::Bool),
        Kind::F32 | Kind::F64 => value.as_f64().map(Value::F64),
        _ => value.as_i64().map(Value::I64),
    }
}
