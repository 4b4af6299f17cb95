//! Terms by flags and files: the record, field by field.

use std::path::PathBuf;

use sandan_proto::id::{AssetId, MetricId};
use serde_json::{Map, Value, json};

use crate::consent::{Function, Identity, OnwardUse, Purpose, Relation, Terms, dictionary};
use crate::time::{DAY_US, parse_duration, parse_time};

/// Until when copies are returned or deleted unless it is said otherwise, after the last read.
const RETURN_US: i64 = 30 * DAY_US;
/// The version of the record.
const VERSION: u32 = 2;

/// What terms say; what is not said stays as it is.
#[derive(Debug, Default, clap::Args)]
pub(super) struct TermArgs {
    /// A record, or a part of one, as TOML or JSON; flags go before it.
    #[arg(long = "terms", value_name = "FILE")]
    file: Option<PathBuf>,
    /// A machine; repeat for more.
    #[arg(long = "asset", value_name = "ASSET")]
    assets: Vec<AssetId>,
    /// What is measured; repeat for more.
    #[arg(long = "metric", value_name = "METRIC")]
    metrics: Vec<MetricId>,
    /// Every reading.
    #[arg(long, conflicts_with_all = ["floor", "functions", "benchmark"])]
    raw: bool,
    /// Only inside figures of a cohort of firms.
    #[arg(long, conflicts_with_all = ["floor", "functions"])]
    benchmark: bool,
    /// The smallest bucket, such as 60s; buckets are whole multiples of it.
    #[arg(long, value_name = "DURATION")]
    floor: Option<String>,
    /// mean, min, max, sum, count, first, last, `time_mean`, increase or durations; repeat for more.
    #[arg(long = "function", value_name = "FUNCTION")]
    functions: Vec<Function>,
    /// First observation time; `open` for the beginning.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Observation times before this; `open` for what is to come.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only the runs of this customer of the grantor; `all` for whatever the machine does.
    #[arg(long, value_name = "CUSTOMER")]
    runs_of: Option<String>,
    /// Reads may happen from this time on; now.
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// Reads may happen before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// What for; repeat for more.
    #[arg(long = "purpose", value_name = "PURPOSE")]
    purposes: Vec<Purpose>,
    /// What the one who reads is to the owner: competitor, customer, research or public.
    #[arg(long)]
    relation: Option<Relation>,
    /// Why it is asked.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// A person or unit who will hold it; repeat for more.
    #[arg(long = "holder", value_name = "NAME")]
    holders: Vec<String>,
    /// When copies are returned or deleted at the latest; 30 days after the last read.
    #[arg(long, value_name = "TIME")]
    return_by: Option<String>,
    /// named, or pseudonym.
    #[arg(long)]
    identity: Option<Identity>,
    /// How old a reading must be, such as 1d; 0s for none.
    #[arg(long, value_name = "DURATION")]
    minimum_age: Option<String>,
    /// Whether readings are covered that arrive after the approval, for times before it.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    late_data: Option<bool>,
    /// holders, internal, conclusions or publication.
    #[arg(long)]
    onward_use: Option<OnwardUse>,
    /// Rows a day.
    #[arg(long, value_name = "ROWS")]
    quota: Option<u64>,
    /// Fewest firms of a benchmark.
    #[arg(long, value_name = "FIRMS")]
    cohort_floor: Option<u32>,
}

impl TermArgs {
    /// A whole record: what has to be said is, and the rest is the least.
    pub(super) fn whole(self, now_us: i64) -> Result<Terms, String> {
        let said = [
            (self.assets.is_empty(), "--asset"),
            (self.metrics.is_empty(), "--metric"),
            (!self.raw && !self.benchmark && self.floor.is_none(), "--raw, or --floor and --function"),
            (self.until.is_none(), "--until"),
            (self.purposes.is_empty(), "--purpose"),
            (self.relation.is_none(), "--relation"),
            (self.reason.is_none(), "--reason"),
            (self.holders.is_empty(), "--holder"),
        ];
        let missing: Vec<_> = said.into_iter().filter(|(missing, _)| *missing).map(|(_, flag)| flag).collect();
        if self.file.is_none() && !missing.is_empty() {
            return Err(format!("terms are not whole: say {}, or name a file with --terms", missing.join(", ")));
        }
        let base = json!({
            "version": VERSION,
            "dictionary": dictionary().version,
            "identity": Identity::Named,
            "minimum_age_us": 0,
            "event": { "from_us": null, "to_us": null },
            "runs_of": null,
            "access": { "not_before_us": now_us },
            "late_data": false,
            "onward_use": OnwardUse::Holders,
            "quota_rows_per_day": null,
            "cohort_floor": null,
        });
        self.changing(base, now_us)
    }

    /// A record with what is said in it.
    pub(super) fn changing(self, mut base: Value, now_us: i64) -> Result<Terms, String> {
        if let Some(file) = &self.file {
            merge(&mut base, read(file, now_us)?);
        }
        self.put_into(&mut base, now_us)?;
        if base["return_by_us"].is_null()
            && let Some(until_us) = base["access"]["until_us"].as_i64()
        {
            base["return_by_us"] = json!(until_us.saturating_add(RETURN_US));
        }
        serde_json::from_value(base)
            .map_err(|error| format!("the terms are not whole, or say something unknown: {error}"))
    }

    fn put_into(self, it: &mut Value, now_us: i64) -> Result<(), String> {
        let time = |name: &str, text: &str| parse_time(text, now_us).map_err(|error| format!("--{name}: {error}"));
        let span = |name: &str, text: &str| parse_duration(text).map_err(|error| format!("--{name}: {error}"));
        let end =
            |name: &str, text: &str| if text == "open" { Ok(Value::Null) } else { time(name, text).map(Value::from) };
        if !self.assets.is_empty() {
            it["assets"] = json!(self.assets);
        }
        if !self.metrics.is_empty() {
            it["metrics"] = json!(self.metrics);
        }
        if self.raw {
            it["form"] = json!("raw");
        }
        if self.benchmark {
            it["form"] = json!("benchmark");
        }
        if self.floor.is_some() || !self.functions.is_empty() {
            let before = it["form"]["bucketed"].as_object().cloned().unwrap_or_default();
            let mut form = Value::Object(before);
            if let Some(floor) = &self.floor {
                form["floor_us"] = json!(span("floor", floor)?);
            }
            if !self.functions.is_empty() {
                form["functions"] = json!(self.functions);
            }
            it["form"] = json!({ "bucketed": form });
        }
        if let Some(from) = &self.from {
            it["event"]["from_us"] = end("from", from)?;
        }
        if let Some(to) = &self.to {
            it["event"]["to_us"] = end("to", to)?;
        }
        if let Some(customer) = self.runs_of {
            it["runs_of"] = if customer == "all" { Value::Null } else { json!(customer) };
        }
        if let Some(not_before) = &self.not_before {
            it["access"]["not_before_us"] = json!(time("not-before", not_before)?);
        }
        if let Some(until) = &self.until {
            it["access"]["until_us"] = json!(time("until", until)?);
        }
        if let Some(by) = &self.return_by {
            it["return_by_us"] = json!(time("return-by", by)?);
        }
        if let Some(age) = &self.minimum_age {
            it["minimum_age_us"] = json!(if age == "0s" { 0 } else { span("minimum-age", age)? });
        }
        if !self.purposes.is_empty() {
            it["purposes"] = json!(self.purposes);
        }
        if !self.holders.is_empty() {
            it["holders"] = json!(self.holders);
        }
        let plain = [
            ("relation", json!(self.relation)),
            ("reason", json!(self.reason)),
            ("identity", json!(self.identity)),
            ("late_data", json!(self.late_data)),
            ("onward_use", json!(self.onward_use)),
            ("quota_rows_per_day", json!(self.quota)),
            ("cohort_floor", json!(self.cohort_floor)),
        ];
        for (name, value) in plain {
            if !value.is_null() {
                it[name] = value;
            }
        }
        Ok(())
    }
}

/// Puts `over` over `base`, table by table.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                match base.get_mut(&name) {
                    Some(under @ Value::Object(_)) if value.is_object() => merge(under, value),
                    _ => drop(base.insert(name, value)),
                }
            }
        }
        (base, over) => *base = over,
    }
}

fn read(file: &PathBuf, now_us: i64) -> Result<Value, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| failed(&error))?;
    let is_toml = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let value: Value = if is_toml {
        toml::from_str(&text).map_err(|error| failed(&error))?
    } else {
        serde_json::from_str(&text).map_err(|error| failed(&error))?
    };
    let Value::Object(mut fields) = value else { return Err(failed(&"terms are a table")) };
    read_times(&mut fields, now_us).map_err(|error| failed(&error))?;
    Ok(Value::Object(fields))
}

/// Times and durations may be written as people write them, wherever a record has µs.
fn read_times(fields: &mut Map<String, Value>, now_us: i64) -> Result<(), String> {
    for (name, value) in fields.iter_mut() {
        match value {
            Value::Object(fields) => read_times(fields, now_us)?,
            Value::String(text) if name.ends_with("_us") => {
                let span = matches!(name.as_str(), "minimum_age_us" | "floor_us");
                let us = if span { parse_duration(text) } else { parse_time(text, now_us) };
                *value = json!(us.map_err(|error| format!("`{name}`: {error}"))?);
            }
            _ => {}
        }
    }
    Ok(())
}
