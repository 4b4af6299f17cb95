//! `metrics`: the metric dictionary, for whoever writes a configuration.

use serde_json::json;

use super::table::table;
use crate::config::dictionary::{Dictionary, Metric, Process};

/// The metrics met in a process, or all.
pub fn text(process: Option<Process>) -> String {
    let rows: Vec<_> = of(process)
        .map(|metric| {
            [
                metric.id.to_string(),
                metric.unit.to_owned(),
                metric.kind.to_string(),
                metric.role.to_string(),
                metric.range.map_or_else(|| "-".into(), |[low, high]| format!("{low} … {high}")),
                metric.class.to_string(),
                metric.name.en.clone(),
                // Last: a terminal gives Hangul two columns, which the padding does not know.
                metric.name.ko.clone(),
            ]
        })
        .collect();
    table(["METRIC", "UNIT", "KIND", "ROLE", "RANGE", "CLASS", "ENGLISH", "KOREAN"], &rows)
}

/// The same with everything that the dictionary says.
pub fn json(process: Option<Process>) -> serde_json::Result<String> {
    let listed = json!({
        "version": Dictionary::embedded().version(),
        "metrics": of(process).collect::<Vec<_>>(),
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&listed)?))
}

fn of(process: Option<Process>) -> impl Iterator<Item = &'static Metric> {
    let metrics = Dictionary::embedded().metrics().iter();
    metrics.filter(move |metric| process.is_none_or(|process| metric.is_of(process)))
}
