//! The page in words, Korean and English, made of the terms and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::Timestamp;
use sandan_proto::id::AssetId;

use super::acts::acts;
use super::example::example;
use super::{Name, PageHash};
use crate::consent::lexicon;
use crate::consent::signs::plain;
use crate::consent::terms::{Agreed, Function, Identity, SharedForm, Terms};
use crate::id::ConsentId;
use crate::time::{DAY_US, HOUR_US, MINUTE_US, SECOND_US};

/// The format that the hash is over; another wording is another one.
const FORMAT: &str = "sandan consent page 1";

/// What a page is made of.
#[derive(Debug, Clone, Copy)]
pub struct PageOf<'a> {
    /// The consent.
    pub id: ConsentId,
    /// The version that it will have once it is agreed to.
    pub version: u32,
    /// The firm that owns the readings.
    pub grantor: &'a Name,
    /// The firm or group that may read them.
    pub grantee: &'a Name,
    /// What is agreed to.
    pub terms: &'a Terms,
    /// Names of the machines that both sides may know of; one without a name goes by its id.
    /// Under a pseudonym none is told.
    pub assets: &'a BTreeMap<AssetId, Name>,
}

/// One page, as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// For those who read Korean.
    pub korean: String,
    /// For those who read English. It says the same.
    pub english: String,
    /// Binds both to the terms.
    pub hash: PageHash,
}

/// A line of the page in both languages: its head and its text.
struct Line(&'static str, String, &'static str, String);

/// Makes the page. The same terms and names give the same page, to the byte.
///
/// Both sides read the same one before either has agreed to anything. So it holds nothing that
/// only one of them may know: its example is made up, and a firm that goes by a pseudonym is
/// named neither by its name nor by those of its machines.
pub fn page(of: &PageOf<'_>) -> Page {
    let mut lines = shared(of);
    lines.extend(of.terms.agreed.as_ref().map(|agreed| promised(agreed)).unwrap_or_default());
    let (row_ko, row_en) = example(of);
    lines.push(Line("보이는 모습(지어낸 값)", row_ko, "Looks like (made-up values)", row_en));
    let (law_ko, law_en) = acts(of.terms);
    let (from_ko, from_en) = grantor(of);
    let mut korean = format!(
        "설비 데이터 제공 동의서\n\n제공하는 업체: {from_ko}\n받는 쪽: {}\n동의 번호 {}, 제{}판\n\n",
        plain(&of.grantee.ko),
        of.id,
        of.version
    );
    let mut english = format!(
        "Consent to share machine data\n\nShared by: {from_en}\nShared with: {}\nConsent {}, version {}\n\n",
        plain(&of.grantee.en),
        of.id,
        of.version
    );
    for Line(head_ko, ko, head_en, en) in &lines {
        let _ = writeln!(korean, "{head_ko}: {ko}");
        let _ = writeln!(english, "{head_en}: {en}");
    }
    korean.push_str("\n철회하면 그때부터 새로 읽을 수 없습니다. 이미 가져간 사본은 철회로 사라지지 않습니다.\n");
    english.push_str("\nRevoking stops new reads, not copies already taken.\n");
    let _ = writeln!(korean, "관련될 수 있는 법률(안내이며 법률 자문이 아닙니다): {law_ko}");
    let _ = writeln!(english, "Acts that may apply (information, not advice): {law_en}");
    let terms = serde_json::to_string(of.terms).unwrap_or_default();
    let (id, version) = (of.id.to_string(), of.version.to_string());
    let hash = PageHash::of(&[FORMAT, &id, &version, &terms, &korean, &english]);
    Page { korean, english, hash }
}

/// Whose readings they are, as far as the other side learns it.
pub(super) fn grantor(of: &PageOf<'_>) -> (String, String) {
    match of.terms.identity() {
        Identity::Named => (plain(&of.grantor.ko), plain(&of.grantor.en)),
        Identity::Pseudonym => ("가명을 쓰는 업체".to_owned(), "a firm that goes by a pseudonym".to_owned()),
    }
}

/// The machines, as far as the other side learns of them.
pub(super) fn machines(of: &PageOf<'_>) -> (String, String) {
    let assets = &of.terms.assets;
    if of.terms.identity() == Identity::Pseudonym {
        return (format!("가명을 쓰는 설비 {}대", assets.len()), format!("{} under pseudonyms", assets.len()));
    }
    names(assets.iter().map(|id| (id.as_str(), of.assets.get(id))))
}

/// Which observation times, and of whose runs.
pub(super) fn times(terms: &Terms) -> (String, String) {
    let (from, to) = (terms.event.from_us, terms.event.to_us);
    let customer = terms.agreed.as_ref().and_then(|agreed| agreed.runs_of.as_deref());
    let runs =
        |ko: &str, en: &str| customer.map_or_else(Default::default, |it| (format!("{ko} {it}"), format!("{en} {it}")));
    let (runs_ko, runs_en) = runs(", 다음 고객의 작업만:", ", only the runs of");
    let times_ko = match (from, to) {
        (None, None) => "모든 시간".to_owned(),
        (from, None) => format!("{} 부터 계속", or(from, "처음")),
        (from, to) => format!("{} 부터 {} 전까지", or(from, "처음"), or(to, "")),
    };
    let times_en = match (from, to) {
        (None, None) => "of any time".to_owned(),
        _ => format!("from {}, before {}", or(from, "the beginning"), or(to, "any time to come")),
    };
    (times_ko + &runs_ko, times_en + &runs_en)
}

/// What is measured.
pub(super) fn metrics(terms: &Terms) -> (String, String) {
    names(terms.metrics.iter().map(|id| (id.as_str(), lexicon::word(id).map(|word| &word.name))))
}

fn shared(of: &PageOf<'_>) -> Vec<Line> {
    let terms = of.terms;
    let (assets_ko, assets_en) = machines(of);
    let (mut metrics_ko, mut metrics_en) = metrics(terms);
    if let Some(agreed) = &terms.agreed {
        let _ = write!(metrics_ko, " (사전 제{}판)", agreed.dictionary);
        let _ = write!(metrics_en, " (dictionary version {})", agreed.dictionary);
    }
    let (form_ko, form_en) = form(&terms.form);
    let (times_ko, times_en) = times(terms);
    let access = terms.access;
    let (nbf, until) = (seoul(access.not_before_us), seoul(access.until_us));
    vec![
        Line("설비", assets_ko, "Machines", assets_en),
        Line("항목", metrics_ko, "Metrics", metrics_en),
        Line("형태", form_ko, "Form", form_en),
        Line("측정 시간", times_ko, "Measured", times_en),
        Line("열람 기간", format!("{nbf} 부터 {until} 전까지"), "Readable", format!("from {nbf}, before {until}")),
    ]
}

fn promised(agreed: &Agreed) -> Vec<Line> {
    let purposes = |word: fn(&crate::consent::Purpose) -> &'static str| {
        agreed.purposes.iter().map(word).collect::<Vec<_>>().join(", ")
    };
    let holders = agreed.holders.iter().cloned().collect::<Vec<_>>().join(", ");
    let age = agreed.minimum_age_us;
    let (age_ko, age_en) = match age {
        0 => ("바로".to_owned(), "at once".to_owned()),
        _ => (format!("측정 후 {} 지난 것만", duration(age, true)), format!("once {} old", duration(age, false))),
    };
    let late = if agreed.late_data {
        ("승인 뒤에 도착한 그 전의 측정값도 포함합니다", "also what arrives after the approval for times before it")
    } else {
        (
            "승인 뒤에 도착한 그 전의 측정값은 포함하지 않습니다",
            "not what arrives after the approval for times before it",
        )
    };
    let quota = agreed.quota_rows_per_day;
    let quota_ko = quota.map_or_else(|| "정하지 않음".to_owned(), |rows| format!("하루 {rows}행"));
    let quota_en = quota.map_or_else(|| "no bound".to_owned(), |rows| format!("{rows} rows a day"));
    let by = seoul(agreed.return_by_us);
    let mut lines = vec![
        Line("이름", agreed.identity.korean().to_owned(), "Names", agreed.identity.english().to_owned()),
        Line("관계", agreed.relation.korean().to_owned(), "Relation", agreed.relation.english().to_owned()),
        Line("이유", agreed.reason.clone(), "Reason", agreed.reason.clone()),
        Line("목적", purposes(|it| it.korean()), "Purposes", purposes(|it| it.english())),
        Line("보유자", holders.clone(), "Holders", holders),
        Line("활용", agreed.onward_use.korean().to_owned(), "Onward use", agreed.onward_use.english().to_owned()),
        Line("시점", age_ko, "Age", age_en),
        Line("늦은 데이터", late.0.to_owned(), "Late data", late.1.to_owned()),
        Line("한도", quota_ko, "Quota", quota_en),
        Line(
            "반환·삭제",
            format!("{by} 까지, 받는 쪽이 확인서를 냅니다"),
            "Return or delete",
            format!("by {by}, which the grantee attests"),
        ),
    ];
    if let Some(floor) = agreed.cohort_floor {
        lines.push(Line("비교 집단", format!("{floor}개 업체 이상"), "Cohort", format!("of {floor} firms or more")));
    }
    lines
}

fn names<'a>(ids: impl Iterator<Item = (&'a str, Option<&'a Name>)>) -> (String, String) {
    let (mut ko, mut en) = (Vec::new(), Vec::new());
    for (id, name) in ids {
        // The id stands beside the name: names change, and two machines may share one.
        let with = |name: &str| match plain(name) {
            name if name.is_empty() => id.to_owned(),
            name => format!("{name} ({id})"),
        };
        ko.push(with(name.map_or("", |it| &it.ko)));
        en.push(with(name.map_or("", |it| &it.en)));
    }
    (ko.join(", "), en.join(", "))
}

pub(super) fn form(form: &SharedForm) -> (String, String) {
    match form {
        SharedForm::Raw => ("측정값 하나하나 (원본)".to_owned(), "every reading (raw)".to_owned()),
        SharedForm::Bucketed { floor_us, functions } => (
            format!("{} 또는 그 배수로 묶은 {}", duration(*floor_us, true), list(functions, true)),
            format!("{} of {} and multiples of it", list(functions, false), duration(*floor_us, false)),
        ),
        SharedForm::Benchmark => {
            ("여러 업체를 합친 비교 통계 안에서만".to_owned(), "only inside figures of a cohort of firms".to_owned())
        }
    }
}

fn list(functions: &BTreeSet<Function>, korean: bool) -> String {
    functions.iter().map(|function| word(*function, korean)).collect::<Vec<_>>().join(", ")
}

/// A statistic's name.
pub(super) fn word(function: Function, korean: bool) -> &'static str {
    match (function, korean) {
        (Function::Mean, true) => "평균",
        (Function::Min, true) => "최솟값",
        (Function::Max, true) => "최댓값",
        (Function::Sum, true) => "합계",
        (Function::Count, true) => "개수",
        (Function::First, true) => "첫 값",
        (Function::Last, true) => "마지막 값",
        (Function::TimeMean, true) => "시간 평균",
        (Function::Increase, true) => "증가량",
        (Function::Durations, true) => "상태별 시간",
        (Function::TimeMean, false) => "time mean",
        (function, false) => function.as_str(),
    }
}

/// In the unit that is exact, down to seconds.
fn duration(us: i64, korean: bool) -> String {
    let units =
        [(DAY_US, "일", "day"), (HOUR_US, "시간", "hour"), (MINUTE_US, "분", "minute"), (SECOND_US, "초", "second")];
    let (unit, ko, en) =
        units.into_iter().find(|(unit, _, _)| us % unit == 0).unwrap_or((1, "마이크로초", "microsecond"));
    let count = us / unit;
    if korean {
        return format!("{count}{ko}");
    }
    format!("{count} {en}{}", if count == 1 { "" } else { "s" })
}

fn or(us: Option<i64>, open: &str) -> String {
    us.map_or_else(|| open.to_owned(), seoul)
}

/// The time in Seoul, to the second; to the microsecond where there is one.
pub(super) fn seoul(us: i64) -> String {
    let us = us.clamp(Timestamp::MIN.as_microsecond(), Timestamp::MAX.as_microsecond());
    let zone = jiff::tz::offset(9).to_time_zone();
    let time = Timestamp::from_microsecond(us).unwrap_or_default().to_zoned(zone).datetime();
    format!("{} {} (KST)", time.date(), time.time())
}
