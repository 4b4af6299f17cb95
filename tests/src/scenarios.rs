//! Faults as an operator meets them: the real programs, a simulated plant, a line that can be
//! cut, a database of their own and a webhook. Of each fault: the state that the fleet shows,
//! the sentence that is told, by which alert, how soon, and how soon its end is told.
//!
//! The programs run with short heartbeats and waits; what is promised is reckoned from these, as
//! the table of `docs/fleet.md` is from the usual ones. A test that is slow is no broken promise:
//! what a busy machine may take on top is [`BUSY`].

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value as Json;

use crate::harness::wait_for;

pub mod acts;
mod hook;
mod pace;
mod rig;
pub mod table;

pub use hook::{Hook, Told};
pub use pace::{Pace, Promise};
pub use rig::{Build, Rig};

/// What starting processes and commands beside other tests may take on top of a promise.
const BUSY: Duration = Duration::from_secs(40);

/// What is to be seen of a fault.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// In English, and in Korean.
    pub fault: [&'static str; 2],
    /// The gateway's state while it lasts.
    pub state: &'static str,
    /// That of its worst device.
    pub link: &'static str,
    /// The alert that is told, alone; none where nobody is to be told.
    pub alert: Option<&'static str>,
    /// How soon.
    pub told: Promise,
    /// How soon its end is, once it is mended. Without an alert: until all is well again.
    pub ended: Promise,
}

/// A fault as it was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What was to be seen, and was.
    pub expected: Expected,
    /// What was told of it in English and in Korean, without times and numbers.
    pub sentence: Option<[String; 2]>,
    /// How soon it was told, and its end.
    pub took: [Duration; 2],
}

/// Breaks it, waits for all that is expected, mends it and waits for the end.
pub fn play(
    rig: &mut Rig,
    expected: Expected,
    break_it: impl FnOnce(&mut Rig) -> anyhow::Result<()>,
    mend_it: impl FnOnce(&mut Rig) -> anyhow::Result<()>,
) -> anyhow::Result<Seen> {
    let name = expected.fault[0];
    let outcome = act(rig, expected, break_it, mend_it);
    outcome.with_context(|| {
        let (told, fleet, log) = (rig.hook.told(), rig.fleet_in_words(), rig.ingest.log().tail());
        format!("{name}: told {told:?}; the fleet: {fleet}; the ingest:\n{log}")
    })
}

fn act(
    rig: &mut Rig,
    expected: Expected,
    break_it: impl FnOnce(&mut Rig) -> anyhow::Result<()>,
    mend_it: impl FnOnce(&mut Rig) -> anyhow::Result<()>,
) -> anyhow::Result<Seen> {
    rig.is_well("all to be well before")?;
    ensure!(rig.hook.told().is_empty(), "something was told before the fault");
    let [told_in, ended_in] = [expected.told, expected.ended].map(|promise| promise.within(&rig.pace) + BUSY);
    let began = Instant::now();
    break_it(rig)?;
    wait_for("the state that the fleet shows of it", told_in, || {
        let fleet = rig.fleet().ok()?;
        is_shown(&fleet, &rig.gateway_id, expected).then_some(())
    })?;
    let first = match expected.alert {
        Some(kind) => Some(wait_for(&format!("the alert {kind}"), told_in, || rig.hook.find("firing", kind, "en"))?),
        None => None,
    };
    let told_after = first.as_ref().map_or_else(|| began.elapsed(), |told| told.at.duration_since(began));
    let mended = Instant::now();
    mend_it(rig)?;
    let end = expected
        .alert
        .map(|kind| wait_for(&format!("the end of {kind}"), ended_in, || rig.hook.find("resolved", kind, "en")));
    rig.is_well("all to be well again")?;
    // What was mended before its end was asked for ended at once.
    let ended_after = end.transpose()?.map_or_else(|| mended.elapsed(), |end| end.at.saturating_duration_since(mended));
    ensure!(told_after <= told_in, "it was told after {told_after:?}");
    ensure!(ended_after <= ended_in, "its end was told after {ended_after:?}");
    let sentence = match expected.alert {
        Some(kind) => {
            let korean = wait_for("the same in Korean", BUSY, || rig.hook.find("firing", kind, "ko"))?;
            first.map(|english| [hook::sentence(&english.what), hook::sentence(&korean.what)])
        }
        None => None,
    };
    // One fault is one alarm: begun once, ended once, and nothing else beside it.
    let told: Vec<Told> = rig.hook.told().into_iter().filter(|it| it.language == "en").collect();
    let count = |event: &str| told.iter().filter(|it| it.event == event).count();
    let once = usize::from(expected.alert.is_some());
    ensure!(count("firing") == once && count("resolved") == once, "not begun and ended once");
    ensure!(told.iter().all(|it| Some(it.kind.as_str()) == expected.alert), "something else was told too");
    Ok(Seen { expected, sentence, took: [told_after, ended_after] })
}

/// Whether the fleet shows what is expected while the fault lasts.
fn is_shown(fleet: &Json, gateway: &str, expected: Expected) -> bool {
    let Some(view) = fleet["views"].as_array().and_then(|views| views.iter().find(|view| view["id"] == gateway)) else {
        return false;
    };
    let worst = view["links"].as_array().and_then(|links| links.first()).map(|link| &link["state"]);
    let link = worst.and_then(Json::as_str).unwrap_or_default();
    let conditions = fleet["own"].as_array().into_iter().chain(view["conditions"].as_array()).flatten();
    let told = conditions.filter(|it| it["inhibited_by"].is_null());
    let named: Vec<_> = told.filter_map(|it| it["id"].as_str()).collect();
    // What a machine that is not reached leaves of its signals.
    let bad = view["links"][0]["signals"]["bad"].as_u64().unwrap_or(0);
    let is_counted = expected.link != "down" || bad > 0;
    // A silent one is offline a while later: whoever looks late sees that.
    let is_later = expected.state == "silent" && view["state"] == "offline";
    (view["state"] == expected.state || is_later)
        && is_counted
        && link == expected.link
        && expected.alert.is_none_or(|kind| named.contains(&kind))
}
