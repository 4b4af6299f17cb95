//! `metrics`: the metric dictionary, for whoever writes a configuration.

use serde_json::json;

use super::table::table;
use crate::config::dictionary::{Dictionary, Metric, Process};

/// The metrics met in a process, or all.
pub fn text(process: Option<Process>) -> String {
    let rows: Vec<_> = of(process)
        .into_iter()
        .map(|metric| {
            [
                metric.id.to_string(),
                metric.unit.to_owned(),
                metric.kind.to_string(),
                metric.role.to_string(),
                metric.shown_range(),
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
        "metrics": of(process),
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&listed)?))
}

/// The process's own first, then what is met at any machine; each in the order of the file.
fn of(process: Option<Process>) -> Vec<&'static Metric> {
    let metrics = Dictionary::embedded().metrics().iter();
    let mut found: Vec<_> = metrics.filter(|metric| process.is_none_or(|process| metric.is_of(process))).collect();
    found.sort_by_key(|metric| process.is_some_and(|process| !metric.processes.contains(&process)));
    found
}
