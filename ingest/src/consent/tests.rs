mod decide;
mod edges;
mod life;
mod matrix;
mod offers;
mod officers;
mod pages;
mod props;
mod record;
mod vectors;

use std::fmt::Write;
use std::path::PathBuf;

use sandan_proto::id::{FirmId, GroupId, SeriesKey};

use super::*;
use crate::id::ConsentId;
use crate::time::SECOND_US;

const S: i64 = SECOND_US;
/// The consents of the matrix begin and end here.
const NOT_BEFORE: i64 = 1_000 * S;
const UNTIL: i64 = 2_000 * S;
/// When the matrix is asked.
const NOW: i64 = 1_500 * S;

fn firm(id: &str) -> FirmId {
    FirmId::new(id).unwrap()
}

fn group(id: &str) -> GroupId {
    GroupId::new(id).unwrap()
}

fn series(asset: &str, metric: &str) -> SeriesKey {
    SeriesKey { firm: firm("hanbit"), asset: asset.parse().unwrap(), metric: metric.parse().unwrap() }
}

fn press() -> SeriesKey {
    series("press-1", "press_force")
}

/// Terms in the short form.
fn terms(assets: &[&str], metrics: &[&str], form: SharedForm) -> Terms {
    Terms {
        assets: assets.iter().map(|id| id.parse().unwrap()).collect(),
        metrics: metrics.iter().map(|id| id.parse().unwrap()).collect(),
        form,
        event: EventWindow { from_us: None, to_us: None },
        access: AccessWindow { not_before_us: NOT_BEFORE, until_us: UNTIL },
        agreed: None,
    }
}

/// What the full form says beyond: for quality, and bounded by nothing.
fn agreed() -> Agreed {
    Agreed {
        dictionary: 1,
        identity: Identity::Named,
        relation: Relation::Customer,
        reason: "치수 불량의 원인을 찾기 위해".to_owned(),
        holders: ["품질팀".to_owned()].into(),
        return_by_us: UNTIL,
        minimum_age_us: 0,
        runs_of: None,
        late_data: true,
        purposes: [Purpose::Quality].into(),
        onward_use: OnwardUse::Holders,
        quota_rows_per_day: None,
        cohort_floor: None,
    }
}

/// The force of press-1 in the full form.
fn full(form: SharedForm, change: impl FnOnce(&mut Agreed)) -> Terms {
    let mut agreed = agreed();
    change(&mut agreed);
    Terms { agreed: Some(Box::new(agreed)), ..terms(&["press-1"], &["press_force"], form) }
}

fn bucketed(floor_s: i64, functions: &[Function]) -> SharedForm {
    SharedForm::Bucketed { floor_us: floor_s * S, functions: functions.iter().copied().collect() }
}

fn consent(number: u128, terms: Terms) -> Consent {
    Consent {
        id: ConsentId::numbered(number),
        grantor: firm("hanbit"),
        grantee: firm("saesol"),
        status: Status::Active,
        terms: StoredTerms::Known(terms),
    }
}

fn grant(number: u128, terms: Terms) -> Grant {
    Grant {
        id: ConsentId::numbered(number),
        grantee: Grantee::Firm(firm("saesol")),
        status: Status::Active,
        terms: StoredTerms::Known(terms),
        mark: Some(Mark { at_us: 300 * S, commit: 40 }),
    }
}

fn snapshot(consents: Vec<Consent>) -> Snapshot {
    Snapshot::new(firm("hanbit"), 7, consents)
}

fn under(grants: Vec<Grant>, rules: Rules) -> Snapshot {
    Snapshot::of(firm("hanbit"), 7, grants, rules)
}

fn raw(asker: &str, series: SeriesKey, from: i64, to: i64) -> Request {
    Request {
        asker: firm(asker),
        series,
        form: Form::Raw,
        functions: BTreeSet::new(),
        from_us: from * S,
        to_us: to * S,
        manner: Manner::default(),
    }
}

fn buckets(asker: &str, width_s: i64, functions: &[Function], from_s: i64, to_s: i64) -> Request {
    Request {
        form: Form::buckets(width_s * S),
        functions: functions.iter().copied().collect(),
        ..raw(asker, press(), from_s, to_s)
    }
}

/// The same for quality, through a door that keeps every duty.
fn kept(request: Request) -> Request {
    let holds = Holds { commits: true, quotas: true };
    Request { manner: Manner { purpose: Some(Purpose::Quality), holds, ..request.manner }, ..request }
}

fn ranges(snapshot: &Snapshot, request: &Request, now_us: i64) -> Vec<(i64, i64)> {
    decide(snapshot, request, now_us).map_or_else(
        |_| Vec::new(),
        |decision| decision.permits.iter().map(|permit| (permit.from_us(), permit.to_us())).collect(),
    )
}

/// An answer as the matrix prints it, in seconds.
fn shown(answer: &Result<Decision, Denial>) -> String {
    match answer {
        Ok(decision) => {
            let mut text = "served".to_owned();
            for permit in &decision.permits {
                let _ = write!(text, " [{}, {})", permit.from_us() / S, permit.to_us() / S);
                if let Some(commit) = permit.through_commit() {
                    let _ = write!(text, " to commit {commit}");
                }
                if let Some((_, rows)) = permit.quota() {
                    let _ = write!(text, " {rows} rows");
                }
            }
            text
        }
        Err(Denial { known: false, .. }) => "not found".to_owned(),
        Err(Denial { reasons, .. }) => {
            let codes: BTreeSet<_> = reasons.iter().map(|reason| reason.why.code()).collect();
            format!("denied: {}", codes.into_iter().collect::<Vec<_>>().join(", "))
        }
    }
}

/// A file that people review, below tests/cases/consent.
fn case(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/consent").join(name)
}

/// Compares with a reviewed file; `SANDAN_BLESS=1` writes it anew.
fn assert_reviewed(name: &str, found: &str) {
    let file = case(name);
    if std::env::var_os("SANDAN_BLESS").is_some() {
        std::fs::write(&file, found).unwrap();
    }
    let reviewed = std::fs::read_to_string(&file).unwrap_or_default();
    for (number, (found, wanted)) in found.lines().zip(reviewed.lines()).enumerate() {
        assert_eq!(found, wanted, "{name}, line {}", number + 1);
    }
    assert_eq!(found.lines().count(), reviewed.lines().count(), "{name} has more lines or fewer");
}
