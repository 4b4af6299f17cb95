//! One row as the other side will see it. Its values are made up: the page is read by both
//! sides before anything is agreed to, so it must not show a reading. What the grantor's own
//! data would look like, a dry run shows to the grantor alone.

use super::Name;
use super::text::{PageOf, grantor, machines, seoul, word};
use crate::consent::lexicon;
use crate::consent::terms::{Function, Identity, SharedForm};
use crate::time::SECOND_US;

/// The number of a measured quantity.
const VALUE: &str = "123.4";
/// That of a state: a code.
const STATE: &str = "1";

/// The row in Korean and English.
pub(super) fn example(of: &PageOf<'_>) -> (String, String) {
    let terms = of.terms;
    let (Some(asset), Some(metric)) = (terms.assets.first(), terms.metrics.first()) else {
        return ("보이는 것이 없습니다".to_owned(), "nothing is seen".to_owned());
    };
    if terms.form == SharedForm::Benchmark {
        let none = "따로 보이지 않고, 여러 업체를 합친 통계에만 들어갑니다";
        return (none.to_owned(), "nothing by itself, only figures of a cohort of firms".to_owned());
    }
    let known = lexicon::word(metric);
    let name = known.map_or_else(|| Name::new(metric.as_str(), metric.as_str()), |it| it.name.clone());
    let unit = known.map_or("1", |it| it.unit.as_str());
    let value = if known.is_some_and(|it| it.is_state) { STATE } else { VALUE };
    let machine = match terms.identity() {
        Identity::Pseudonym => machine_under_pseudonym(),
        Identity::Named => {
            let mut one = terms.clone();
            one.assets = [asset.clone()].into();
            machines(&PageOf { terms: &one, ..*of })
        }
    };
    let from = terms.event.from_us.unwrap_or(terms.access.not_before_us);
    let (time_us, cells_ko, cells_en) = match &terms.form {
        SharedForm::Bucketed { floor_us, functions } => {
            let start_us = from.div_euclid((*floor_us).max(1)).saturating_mul(*floor_us);
            let cells = |korean| {
                let cell = |function: &Function| {
                    let count = (floor_us / SECOND_US).clamp(1, 3_600).to_string();
                    let shown = match function {
                        Function::Count => count.as_str(),
                        Function::Durations => "1: 60s",
                        _ => value,
                    };
                    format!("{} {shown}", word(*function, korean))
                };
                functions.iter().map(cell).collect::<Vec<_>>().join(" | ")
            };
            (start_us, cells(true), cells(false))
        }
        _ => (from, value.to_owned(), value.to_owned()),
    };
    let time = seoul(time_us);
    let (firm_ko, firm_en) = grantor(of);
    (
        format!("{time} | {firm_ko} | {} | {} | {cells_ko} | {unit}", machine.0, name.ko),
        format!("{time} | {firm_en} | {} | {} | {cells_en} | {unit}", machine.1, name.en),
    )
}

fn machine_under_pseudonym() -> (String, String) {
    ("가명을 쓰는 설비".to_owned(), "a machine under a pseudonym".to_owned())
}
