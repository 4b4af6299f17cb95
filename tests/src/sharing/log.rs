//! The owners' logs against what the members saw.

use std::collections::BTreeMap;

use sandan_ingest::access::Receipt;
use sandan_ingest::audit::{Chain, Entry, Field, Kind, Verifier};

use super::judge::{Heard, Told};
use super::world::{FIRMS, METRICS, World, asset, firm};

/// A day, of which quotas are.
const DAY_US: i64 = 86_400_000_000;
/// Entries of a page.
const PAGE: usize = 1_000;

/// Entries and counted repetitions of all firms, and what is wrong with them.
pub(super) async fn check(world: &World, began_us: i64, heard: &[Heard]) -> anyhow::Result<((u64, u64), Vec<String>)> {
    let (mut sums, mut faults) = ((0, 0), Vec::new());
    let day = |time_us: i64| time_us.div_euclid(DAY_US);
    let is_one_day = day(began_us) == day(world.now_us());
    for owner in 0..FIRMS {
        let chain = Chain::Firm(firm(owner));
        let (mut verifier, mut log) = (Verifier::new(chain.clone()), BTreeMap::new());
        loop {
            let page = world.control.audit(&chain, log.len() as u64, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for entry in page {
                verifier.take(&entry)?;
                log.insert(entry.number, entry);
            }
        }
        verifier.finish(&world.control.audit_head(&chain).await?)?;
        let told: Vec<&Told> = heard.iter().flat_map(|it| &it.told).filter(|it| it.question.owner == owner).collect();
        for it in &told {
            let Some(receipt) = &it.receipt else { continue };
            if let Err(what) = holds(&log, it, receipt) {
                faults.push(format!("{what}: entry {} of firm {owner}", receipt.number));
            }
        }
        let sum = |kind: Kind, of: Option<&str>, name: &str| -> i64 {
            let entries = log.values().filter(|entry| entry.kind == kind);
            let entries = entries.filter(|entry| of.is_none_or(|of| entry.detail.get("of") == Some(&of.into())));
            entries.map(|entry| number(entry, name)).sum()
        };
        let count = |kind| log.values().filter(|entry| entry.kind == kind).count() as i64;
        let repeated = |of: &str| sum(Kind::Repeated, Some(of), "times");
        let seen = |is_denial| told.iter().filter(|it| it.is_denial == is_denial).count() as i64;
        let (unsure_rows, unsure) = heard.iter().fold((0, 0), |sum, it| {
            let (rows, answers) = it.unsure[owner];
            (sum.0 + rows, sum.1 + answers)
        });
        let (reads, denials) =
            (count(Kind::ReadStarted) + repeated("read_started"), count(Kind::Denied) + repeated("denied"));
        let rows = sum(Kind::ReadFinished, None, "rows") + sum(Kind::Repeated, Some("read_started"), "rows");
        let taken: i64 = heard.iter().map(|it| it.rows[owner]).sum();
        for (what, logged, least, most) in [
            ("reads", reads, seen(false), seen(false) + unsure),
            ("denials", denials, seen(true), seen(true) + unsure),
            ("reads and denials", reads + denials, seen(false) + seen(true), seen(false) + seen(true) + unsure),
            ("rows", rows, taken, taken + unsure_rows),
        ] {
            if !(least..=most).contains(&logged) {
                faults.push(format!("the log of firm {owner} has {logged} {what}, and there were {least} to {most}"));
            }
        }
        for deal in &world.books()[owner].deals {
            let quota = deal
                .states
                .possible((i64::MIN, i64::MAX))
                .into_iter()
                .filter_map(|state| state.paper.as_ref()?.more.as_ref().map(|more| more.quota.unwrap_or(u64::MAX)));
            // Of a run across midnight no more is said: there are two days' rows.
            if is_one_day && quota.max().is_some_and(|rows| deal.spent.0 > rows) {
                faults.push(format!("{} rows were served under {}, beyond its quota", deal.spent.0, deal.id));
            }
        }
        sums.0 += log.len() as u64;
        sums.1 += u64::try_from(repeated("read_started") + repeated("denied"))?;
    }
    Ok((sums, faults))
}

fn number(entry: &Entry, name: &str) -> i64 {
    match entry.detail.get(name) {
        Some(Field::Number(number)) => *number,
        _ => 0,
    }
}

/// Whether the entry that a receipt names says what was asked.
fn holds(log: &BTreeMap<u64, Entry>, it: &Told, receipt: &Receipt) -> Result<(), &'static str> {
    let entry = log.get(&receipt.number).ok_or("a receipt names an entry that is not there")?;
    if entry.hash != receipt.entry || entry.actor != it.actor {
        return Err("a receipt names another entry");
    }
    if entry.kind != (if it.is_denial { Kind::Denied } else { Kind::ReadStarted }) {
        return Err("an answer is logged as something else");
    }
    let question = &it.question;
    let text = |name: &str| match entry.detail.get(name) {
        Some(Field::Text(text)) => text.as_str(),
        _ => "",
    };
    let time = |name: &str| text(name).parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond);
    let width = question.bucket.as_ref().map_or(0, |(width, _)| *width);
    let says = text("asker") == firm(question.asker).as_str()
        && text("asset") == asset(question.asset)
        && text("metric") == METRICS[question.metric]
        && time("from") == Some(question.from_us)
        && time("to") == Some(question.to_us)
        && number(entry, "width_us") == width;
    if says { Ok(()) } else { Err("an entry does not say what was asked") }
}
