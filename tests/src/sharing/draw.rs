//! What is agreed to and ruled, drawn at random, and the same as the product writes it.

use sandan_ingest::consent::{
    AccessWindow, Agreed, AllianceRule, EventWindow, Function, Identity, Layer, OnwardUse, Prohibition, Purpose,
    Relation, Run as RealRun, Sensitive, SharedForm, Terms,
};
use sandan_ingest::store::control::RunEntry;

use super::reference::{Alliance, House, More, Paper, Run, Shared, Stretch};
use super::world::{ASSETS, FIRMS, METRICS, SECOND_US, SECONDS, asset, firm};
use crate::chance::Chance;

/// Widths of buckets and of floors, s.
const WIDTHS: [i64; 7] = [1, 2, 5, 10, 20, 30, 60];
/// Those of floors that are rules for all.
const COARSE: [i64; 2] = [2, 5];
const FUNCTIONS: [Function; 7] =
    [Function::Mean, Function::Min, Function::Max, Function::Sum, Function::Count, Function::First, Function::Last];
const PURPOSES: [Purpose; 3] = [Purpose::Quality, Purpose::Energy, Purpose::Maintenance];
const CUSTOMERS: [&str; 2] = ["가람기계", "누리전자"];
/// What most consents last for.
const HOUR_US: i64 = 3_600 * SECOND_US;

/// Some of them, and at least one.
pub(super) fn some<T: Clone>(chance: &mut Chance, of: &[T]) -> Vec<T> {
    let mut some: Vec<T> = of.iter().filter(|_| chance.percent(60)).cloned().collect();
    if some.is_empty() {
        some.push(chance.one(of).clone());
    }
    some
}

pub(super) fn width(chance: &mut Chance) -> i64 {
    *chance.one(&WIDTHS) * SECOND_US
}

pub(super) fn functions(chance: &mut Chance) -> Vec<Function> {
    some(chance, &FUNCTIONS)
}

pub(super) fn purpose(chance: &mut Chance) -> Option<Purpose> {
    chance.percent(90).then(|| *chance.one(&PURPOSES))
}

pub(super) fn number(chance: &mut Chance, below: usize) -> usize {
    usize::try_from(chance.below(below as u64)).unwrap_or(0)
}

/// Seconds of the readings, in order.
pub(super) fn window(chance: &mut Chance, data: Stretch, longest: u64) -> Stretch {
    let from = chance.below(SECONDS.unsigned_abs() - 1).cast_signed();
    let length = 1 + chance.below(longest).cast_signed();
    (data.0 + from * SECOND_US, (data.0 + (from + length) * SECOND_US).min(data.1))
}

/// Terms in full or, now and then, short.
pub(super) fn paper(chance: &mut Chance, data: Stretch, now_us: i64) -> Paper {
    let more = chance.percent(75).then(|| more(chance));
    let shared = match chance.below(20) {
        0 if more.as_ref().is_some_and(|more| more.runs_of.is_none()) => Shared::Benchmark,
        0..8 => Shared::Raw,
        _ => Shared::Bucketed(width(chance), functions(chance)),
    };
    let (from, to) = window(chance, data, 400);
    let event = (chance.percent(50).then_some(from), chance.percent(50).then_some(to));
    // Most stand until they are ended; some begin and end by themselves, within a second or so.
    let (wait, life) = match chance.below(12) {
        0 => (chance.below(1_000_000), 500_000 + chance.below(2_000_000)),
        1 => (0, 500_000 + chance.below(3_000_000)),
        _ => (0, HOUR_US.unsigned_abs()),
    };
    let begin = now_us + wait.cast_signed();
    let access = (begin, begin + life.cast_signed());
    let more = more.map(|more| More { return_by: access.1, ..more });
    let metrics: Vec<usize> = (0..METRICS.len()).collect();
    let assets: Vec<usize> = (0..ASSETS).collect();
    Paper { assets: some(chance, &assets), metrics: some(chance, &metrics), shared, event, access, more }
}

fn more(chance: &mut Chance) -> More {
    More {
        // One to come now and then, under which nothing means anything yet.
        dictionary: if chance.percent(3) { 2 } else { 1 },
        is_named: chance.percent(75),
        is_competitor: chance.percent(20),
        age_us: if chance.percent(70) { 0 } else { chance.below(400).cast_signed() * SECOND_US },
        runs_of: chance.percent(20).then(|| number(chance, CUSTOMERS.len())),
        late: chance.percent(50),
        purposes: some(chance, &PURPOSES),
        quota: chance.percent(20).then(|| 1 + chance.below(400)),
        return_by: 0,
    }
}

/// Less, by one or several of the terms.
pub(super) fn narrower(chance: &mut Chance, wider: &Paper) -> Paper {
    let mut it = wider.clone();
    if chance.percent(30) {
        it.assets = some(chance, &it.assets.clone());
    }
    if chance.percent(30) {
        it.metrics = some(chance, &it.metrics.clone());
    }
    it.shared = match it.shared {
        Shared::Raw if chance.percent(30) => Shared::Bucketed(width(chance), functions(chance)),
        Shared::Bucketed(floor, functions) if chance.percent(50) => {
            Shared::Bucketed(floor * (1 + chance.below(3)).cast_signed(), some(chance, &functions))
        }
        same => same,
    };
    if let (Some(from), true) = (it.event.0, chance.percent(40)) {
        let later = from + chance.below(30).cast_signed() * SECOND_US;
        it.event.0 = Some(it.event.1.map_or(later, |to| later.min(to - SECOND_US)).max(from));
    }
    if let Some(more) = &mut it.more {
        more.age_us += if chance.percent(30) { chance.below(20).cast_signed() * SECOND_US } else { 0 };
        more.late &= chance.percent(70);
        more.is_named &= chance.percent(90);
        if chance.percent(30) {
            more.purposes = some(chance, &more.purposes.clone());
        }
        more.quota = match more.quota {
            None => chance.percent(10).then(|| 1 + chance.below(400)),
            Some(rows) => Some(rows.div_ceil(1 + chance.below(2))),
        };
    }
    it
}

/// The same in the product's words.
pub(super) fn terms(it: &Paper) -> anyhow::Result<Terms> {
    let agreed = it.more.as_ref().map(|more| {
        Box::new(Agreed {
            dictionary: more.dictionary,
            identity: if more.is_named { Identity::Named } else { Identity::Pseudonym },
            relation: if more.is_competitor { Relation::Competitor } else { Relation::Customer },
            reason: "치수 불량의 원인을 찾기 위해".to_owned(),
            holders: ["품질팀".to_owned()].into(),
            return_by_us: more.return_by,
            minimum_age_us: more.age_us,
            runs_of: more.runs_of.map(|number| CUSTOMERS[number].to_owned()),
            late_data: more.late,
            purposes: more.purposes.iter().copied().collect(),
            onward_use: OnwardUse::Holders,
            quota_rows_per_day: more.quota,
            cohort_floor: None,
        })
    });
    Ok(Terms {
        assets: it.assets.iter().map(|number| asset(*number).parse()).collect::<Result<_, _>>()?,
        metrics: it.metrics.iter().map(|number| METRICS[*number].parse()).collect::<Result<_, _>>()?,
        form: match &it.shared {
            Shared::Raw => SharedForm::Raw,
            Shared::Bucketed(floor_us, functions) => {
                SharedForm::Bucketed { floor_us: *floor_us, functions: functions.iter().copied().collect() }
            }
            Shared::Benchmark => SharedForm::Benchmark,
        },
        event: EventWindow { from_us: it.event.0, to_us: it.event.1 },
        access: AccessWindow { not_before_us: it.access.0, until_us: it.access.1 },
        agreed,
    })
}

/// A firm's floor under all its consents; mostly none.
pub(super) fn house(chance: &mut Chance) -> House {
    let age = if chance.percent(80) { 0 } else { chance.below(100).cast_signed() * SECOND_US };
    House { floor_us: chance.percent(20).then(|| *chance.one(&COARSE) * SECOND_US), age_us: age }
}

pub(super) fn layer(it: &House) -> Layer {
    Layer { floor_us: it.floor_us, minimum_age_us: it.age_us }
}

/// What the alliance rules; `strict` where it may have a floor and prohibit.
pub(super) fn alliance(chance: &mut Chance, strict: bool) -> Alliance {
    let house = if strict { house(chance) } else { House::default() };
    let any = |chance: &mut Chance, of: usize| chance.percent(60).then(|| number(chance, of));
    let mut forbidden = Vec::new();
    if strict && chance.percent(40) {
        let (owner, reader) = (any(chance, FIRMS), any(chance, FIRMS));
        forbidden.push((owner, reader, Some(number(chance, METRICS.len()))));
    }
    let sensitive = (10 * SECOND_US, 60 * SECOND_US, vec![Function::Mean, Function::Sum, Function::Count]);
    Alliance { house, sensitive, forbidden }
}

pub(super) fn real_alliance(it: &Alliance) -> anyhow::Result<AllianceRule> {
    let (floor_us, minimum_age_us, functions) = &it.sensitive;
    let prohibition = |(owner, reader, metric): &(Option<usize>, Option<usize>, Option<usize>)| {
        anyhow::Ok(Prohibition {
            grantor: owner.map(firm),
            grantee: reader.map(firm),
            metric: metric.map(|number| METRICS[number].parse()).transpose()?,
            ..Prohibition::default()
        })
    };
    Ok(AllianceRule {
        prohibitions: it.forbidden.iter().map(prohibition).collect::<Result<_, _>>()?,
        layer: layer(&it.house),
        sensitive: Sensitive {
            floor_us: *floor_us,
            minimum_age_us: *minimum_age_us,
            functions: functions.iter().copied().collect(),
        },
    })
}

/// A lot of a customer: over, going on, or with its end foretold.
pub(super) fn run(chance: &mut Chance, data: Stretch) -> Run {
    let (from, to) = window(chance, data, 120);
    let (asset, customer) = (number(chance, ASSETS), number(chance, CUSTOMERS.len()));
    Run { asset, customer, from, to: chance.percent(80).then_some(to) }
}

pub(super) fn real_run(number: usize, it: &Run) -> anyhow::Result<RunEntry> {
    let (asset, customer) = (asset(it.asset).parse()?, CUSTOMERS[it.customer].to_owned());
    Ok(RunEntry { id: format!("lot-{number}"), run: RealRun { asset, customer, from_us: it.from, to_us: it.to } })
}
