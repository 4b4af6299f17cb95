//! `[retention]`: how long readings are kept, then their minutes, then their hours.

use sandan_proto::id::{FirmId, MetricId};

use super::table::Table;
use crate::retention::{Classes, Retention};
use crate::time::{DAY_US, parse_duration, show_duration};

/// The shortest: a gateway that was offline over a long weekend still gets its backlog in.
const MIN_US: i64 = 4 * DAY_US;
/// The longest that is not for ever: 20 years.
pub(super) const MAX_US: i64 = 7_305 * DAY_US;
/// What stands for no end.
const FOREVER: &str = "forever";

/// A fault in it is noted, and ends the loading.
pub(super) fn classes(table: Option<&Table<'_>>) -> Classes {
    let Some(table) = table else { return Classes::default() };
    let all = times(table, Retention::default());
    let mut except = metrics(table, None, all);
    for (name, firm) in table.table("firm").iter().flat_map(Table::tables) {
        let own = times(&firm, all);
        match FirmId::new(name) {
            Ok(id) => {
                except.push((Some(id.clone()), None, own));
                except.extend(metrics(&firm, Some(&id), own));
            }
            Err(error) => firm.fault(firm.at(), error.to_string(), "name a firm as `firm list` does"),
        }
        firm.finish();
    }
    table.finish();
    Classes { all, except }
}

/// The exceptions of single metrics, `[….metric.NAME]`; what they leave out is as around them.
fn metrics(
    table: &Table<'_>,
    firm: Option<&FirmId>,
    otherwise: Retention,
) -> Vec<(Option<FirmId>, Option<MetricId>, Retention)> {
    let mut except = Vec::new();
    for (name, metric) in table.table("metric").iter().flat_map(Table::tables) {
        let own = times(&metric, otherwise);
        metric.finish();
        match MetricId::new(name) {
            Ok(id) => except.push((firm.cloned(), Some(id), own)),
            Err(error) => metric.fault(metric.at(), error.to_string(), "name a metric as `GET /v1/series` does"),
        }
    }
    except
}

fn times(table: &Table<'_>, otherwise: Retention) -> Retention {
    let raw_us = kept(table, "readings", otherwise.raw_us);
    // What is coarser outlives what it was made of, also where only the latter is said.
    let minutes_us = kept(table, "minutes", otherwise.minutes_us.max(raw_us));
    let hours_us = kept(table, "hours", otherwise.hours_us.max(minutes_us));
    for (coarse, coarse_us, fine, fine_us) in
        [("minutes", minutes_us, "readings", raw_us), ("hours", hours_us, "minutes", minutes_us)]
    {
        if coarse_us < fine_us {
            let what = format!("`{coarse}` are kept for {}, and {fine} for {}", shown(coarse_us), shown(fine_us));
            table.fault(
                table.at(),
                what,
                &format!("keep {coarse} at least as long as {fine}, from which they are made"),
            );
        }
    }
    Retention { raw_us, minutes_us, hours_us }
}

fn kept(table: &Table<'_>, key: &'static str, otherwise: i64) -> i64 {
    let Some(it) = table.text(key) else { return otherwise };
    if it.value == FOREVER {
        return i64::MAX;
    }
    let bounds = format!("from {} to {}", show_duration(MIN_US), show_duration(MAX_US));
    let refused = match parse_duration(it.value) {
        Ok(us) if (MIN_US..=MAX_US).contains(&us) => return us,
        Ok(_) => it.refuse(table, &bounds, "write it like \"90d\", or \"forever\""),
        Err(_) => {
            let hint = "write a whole number and s, m, h or d, like \"90d\", or \"forever\"";
            it.refuse(table, &format!("a duration {bounds}"), hint)
        }
    };
    refused.unwrap_or(otherwise)
}

/// For people: `90d`, or `forever`.
pub(crate) fn shown(us: i64) -> String {
    if us == i64::MAX { FOREVER.to_owned() } else { show_duration(us) }
}
