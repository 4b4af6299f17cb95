//! The owners' logs against what the members saw.

use std::collections::BTreeMap;

use sandan_ingest::audit::{Chain, Entry, Field, Kind, Verifier};
use sandan_ingest::store::control::Control;

use super::client::{Heard, Told};
use super::world::{FIRMS, METRICS, World, asset, firm};

/// Entries of a page.
const PAGE: usize = 1_000;

/// Entries and counted repetitions of all firms, and what is wrong with them.
pub(super) async fn check(world: &World, heard: &[Heard]) -> anyhow::Result<((u64, u64), Vec<String>)> {
    let (mut sums, mut faults) = ((0, 0), Vec::new());
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
            if let Err(what) = holds(&log, it) {
                faults.push(format!("{what}: entry {} of firm {owner}", it.receipt.number));
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
        for (what, logged, seen) in [
            ("reads", count(Kind::ReadStarted) + repeated("read_started"), seen(false)),
            ("denials", count(Kind::Denied) + repeated("denied"), seen(true)),
            (
                "rows",
                sum(Kind::ReadFinished, None, "rows") + sum(Kind::Repeated, Some("read_started"), "rows"),
                heard.iter().map(|it| it.rows[owner]).sum(),
            ),
        ] {
            if logged != seen {
                faults.push(format!("the log of firm {owner} has {logged} {what}, and there were {seen}"));
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
fn holds(log: &BTreeMap<u64, Entry>, it: &Told) -> Result<(), &'static str> {
    let entry = log.get(&it.receipt.number).ok_or("a receipt names an entry that is not there")?;
    if entry.hash != it.receipt.entry || entry.actor != it.actor {
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
