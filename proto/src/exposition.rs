//! `/metrics` as whoever asks reads it: `OpenMetrics`, or the text format that was before it.
//!
//! Both services encode `OpenMetrics`; this is the one place that knows how the older format
//! differs. Pure.

use std::fmt::Write;

/// Content type of the `OpenMetrics` text format.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Content type of the older text format, for whoever does not ask for the other.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page for a request with this `Accept` header, from the `OpenMetrics` one: its content type,
/// and the text.
pub fn negotiate(accept: Option<&str>, open_metrics: String) -> (&'static str, String) {
    if accept.is_some_and(asks_for_open_metrics) {
        return (OPEN_METRICS, open_metrics);
    }
    (TEXT, to_text(&open_metrics))
}

/// Whether it names the format with a weight above 0. Prometheus names it first where it can read it.
fn asks_for_open_metrics(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|weight| weight.parse::<f64>().ok());
        is_named && weight.is_none_or(|weight| weight > 0.0)
    })
}

/// In the older format a counter is called as its samples are, with `_total`; it has neither units
/// nor an end mark, and no exemplars, which nobody here makes.
fn to_text(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    // What was said of a metric whose type comes with the next line.
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            help = said.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|said| said.split_once(' ')) {
            let total = if kind == "counter" { "_total" } else { "" };
            let kind = if kind == "unknown" { "untyped" } else { kind };
            if let Some((_, said)) = help.take().filter(|(of, _)| *of == name) {
                let _ = writeln!(out, "# HELP {name}{total} {said}");
            }
            let _ = writeln!(out, "# TYPE {name}{total} {kind}");
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP a_readings Readings kept.\n# TYPE a_readings counter\na_readings_total 4\n\
                        # HELP a_wait_seconds Waits.\n# TYPE a_wait_seconds gauge\n# UNIT a_wait_seconds seconds\n\
                        a_wait_seconds{of=\"#1\"} 0.5\n# EOF\n";

    #[test]
    fn whoever_does_not_ask_for_open_metrics_gets_the_older_format() {
        let text = "# HELP a_readings_total Readings kept.\n# TYPE a_readings_total counter\na_readings_total 4\n\
                    # HELP a_wait_seconds Waits.\n# TYPE a_wait_seconds gauge\na_wait_seconds{of=\"#1\"} 0.5\n";
        let refused = "application/openmetrics-text;q=0, text/plain";
        for accept in [None, Some("*/*"), Some("text/plain;version=0.0.4"), Some(refused)] {
            assert_eq!(negotiate(accept, PAGE.into()), (TEXT, text.into()), "{accept:?}");
        }
    }

    #[test]
    fn prometheus_gets_open_metrics() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for accept in [prometheus, "application/openmetrics-text", "text/plain, Application/OpenMetrics-Text; q=0.1"] {
            assert_eq!(negotiate(Some(accept), PAGE.into()), (OPEN_METRICS, PAGE.into()), "{accept}");
        }
    }
}
