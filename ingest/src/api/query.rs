//! Query strings: raw as they come, then checked once.

use std::collections::BTreeSet;

use axum::http::HeaderMap;
use jiff::tz::TimeZone;
use sandan_proto::id::{AssetId, FirmId, MetricId, SeriesKey};
use serde::Deserialize;

use super::csv::Style;
use super::{Problem, negotiate};
use crate::access::{Follow, LatePlace, MAX_LATE_US, Place, ReadCursor};
use crate::consent::{Form, Function, Grid, Manner, Purpose, Request, align};
use crate::time::{DAY_US, SECOND_US, parse_duration, parse_time, show_duration, shown};

/// Rows of a page unless it is said otherwise.
const DEFAULT_PAGE: usize = 1_000;
/// Most rows of a page: one chunk of the store, some megabytes of text.
pub(super) const MAX_PAGE: usize = 10_000;
/// The greatest number: the stores count in signed ones.
const MAX_NUMBER: u64 = i64::MAX.cast_unsigned();
/// How late a reading of a live stream may come unless it is said otherwise.
const LATE_US: i64 = 3_600 * SECOND_US;
/// The widest bucket.
const MAX_BUCKET_US: i64 = 366 * DAY_US;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Series {
    pub(super) firm: Option<FirmId>,
    pub(super) after: Option<String>,
    pub(super) limit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gaps {
    pub(super) firm: Option<FirmId>,
    pub(super) limit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    pub(super) firm: Option<FirmId>,
    pub(super) after: Option<String>,
    pub(super) limit: Option<String>,
    pub(super) format: Option<AuditFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AuditFormat {
    Json,
    Ndjson,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfFirm {
    pub(super) firm: Option<FirmId>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Readings {
    firm: FirmId,
    asset: AssetId,
    metric: MetricId,
    from: String,
    to: Option<String>,
    bucket: Option<String>,
    tz: Option<String>,
    function: Option<String>,
    functions: Option<String>,
    purpose: Option<String>,
    format: Option<FormatWord>,
    bom: Option<String>,
    formulas: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Live {
    firm: FirmId,
    asset: AssetId,
    metric: MetricId,
    from: Option<String>,
    bucket: Option<String>,
    tz: Option<String>,
    function: Option<String>,
    functions: Option<String>,
    purpose: Option<String>,
    late: Option<String>,
}

impl Live {
    /// What `asker` follows, a new stream from now on unless it is said otherwise.
    pub(super) fn check(self, asker: FirmId, place: Option<&str>, now_us: i64) -> Result<Follow, Problem> {
        let from_us = self.from.map_or(Ok(now_us), |from| parse_time(&from, now_us))?;
        if !(0..=now_us).contains(&from_us) {
            return Err(Problem::query("`from` is a time from 1970 until now; what is yet to come is followed anyway"));
        }
        let late_us = self.late.map_or(Ok(LATE_US), |late| parse_duration(&late))?;
        if !(0..=MAX_LATE_US).contains(&late_us) {
            return Err(Problem::query(&format!("`late` is at most {}", show_duration(MAX_LATE_US))));
        }
        if self.function.is_some() && self.functions.is_some() {
            return Err(Problem::query("`functions` and `function` are the same: write one of them"));
        }
        let functions = self.functions.as_deref().or(self.function.as_deref());
        let (form, functions) = form(self.bucket.as_deref(), self.tz.as_deref(), functions)?;
        let purpose = self.purpose.map(|it| it.parse()).transpose().map_err(|error: String| Problem::query(&error))?;
        let series = SeriesKey { firm: self.firm, asset: self.asset, metric: self.metric };
        let manner = Manner { purpose, ..Manner::default() };
        let request = Request { asker, series, form, functions, from_us, to_us: now_us, manner };
        Ok(Follow { request, late_us, place: place.map(parse_place).transpose()? })
    }
}

/// `format=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FormatWord {
    Json,
    Ndjson,
    Csv,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Ndjson,
    Csv(Style),
}

impl FormatWord {
    /// What is offered to `Accept`.
    const OFFERS: [(&str, FormatWord); 3] = [
        ("application/json", FormatWord::Json),
        ("application/x-ndjson", FormatWord::Ndjson),
        ("text/csv", FormatWord::Csv),
    ];

    fn accepted(headers: &HeaderMap) -> Result<Self, Problem> {
        let offers = Self::OFFERS.map(|(offer, _)| offer);
        let chosen = negotiate::media(headers, &offers).ok_or_else(|| Problem::not_acceptable(&offers))?;
        Ok(Self::OFFERS.into_iter().find(|(offer, _)| *offer == chosen).map_or(Self::Json, |(_, word)| word))
    }
}

impl Format {
    fn new(word: FormatWord, bom: Option<&str>, formulas: Option<&str>) -> Result<Self, Problem> {
        match word {
            _ if word != FormatWord::Csv && (bom.is_some() || formulas.is_some()) => {
                Err(Problem::query("`bom` and `formulas` are of CSV: format=csv"))
            }
            FormatWord::Json => Ok(Self::Json),
            FormatWord::Ndjson => Ok(Self::Ndjson),
            FormatWord::Csv => {
                let guarded = match formulas {
                    None | Some("guard") => true,
                    Some("keep") => false,
                    Some(_) => return Err(Problem::query("`formulas` is guard or keep")),
                };
                Ok(Self::Csv(Style { bom: flag("bom", bom)?, guarded }))
            }
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv(_) => "text/csv; charset=utf-8",
        }
    }
}

/// How much of the range one answer gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// So many rows, and where the next begin.
    Page(usize),
    /// All that is left of it, as a stream.
    Whole,
}

/// A checked pull.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) series: SeriesKey,
    pub(super) form: Form,
    pub(super) functions: BTreeSet<Function>,
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    pub(super) purpose: Option<Purpose>,
    pub(super) format: Format,
    pub(super) extent: Extent,
    pub(super) cursor: Option<ReadCursor>,
}

impl Readings {
    pub(super) fn check(self, headers: &HeaderMap, now_us: i64) -> Result<Pull, Problem> {
        let from_us = parse_time(&self.from, now_us)?;
        let to_us = self.to.map_or(Ok(now_us), |to| parse_time(&to, now_us))?;
        if self.function.is_some() && self.functions.is_some() {
            return Err(Problem::query("`functions` and `function` are the same: write one of them"));
        }
        let functions = self.functions.as_deref().or(self.function.as_deref());
        let (form, functions) = form(self.bucket.as_deref(), self.tz.as_deref(), functions)?;
        if from_us >= to_us {
            return Err(Problem::query("`from` must be before `to`"));
        }
        if align(&form, from_us, to_us).is_none() {
            return Err(Problem::query(
                "no whole bucket lies between `from` and `to`: buckets start at multiples of their width since 1970-01-01T00:00:00Z, days of a `tz` at its midnights",
            ));
        }
        let word = self.format.map_or_else(|| FormatWord::accepted(headers), Ok)?;
        let format = Format::new(word, self.bom.as_deref(), self.formulas.as_deref())?;
        let limit = page_limit(self.limit.as_deref(), MAX_PAGE)?;
        let is_page = format == Format::Json || self.limit.is_some();
        let purpose = self.purpose.map(|it| it.parse()).transpose().map_err(|error: String| Problem::query(&error))?;
        Ok(Pull {
            series: SeriesKey { firm: self.firm, asset: self.asset, metric: self.metric },
            form,
            functions,
            from_us,
            to_us,
            purpose,
            format,
            extent: if is_page { Extent::Page(limit) } else { Extent::Whole },
            cursor: self.cursor.as_deref().map(parse_cursor).transpose()?,
        })
    }
}

fn form(
    bucket: Option<&str>,
    tz: Option<&str>,
    functions: Option<&str>,
) -> Result<(Form, BTreeSet<Function>), Problem> {
    let Some(bucket) = bucket else {
        return match (functions, tz) {
            (None, None) => Ok((Form::Raw, BTreeSet::new())),
            (Some(_), _) => Err(Problem::query("`functions` needs a `bucket`, such as bucket=60s")),
            (None, Some(_)) => Err(Problem::query("`tz` needs a `bucket` of a day: bucket=1d")),
        };
    };
    let width_us = parse_duration(bucket)?;
    if !(SECOND_US..=MAX_BUCKET_US).contains(&width_us) {
        return Err(Problem::query(&format!("a bucket is from 1s to {}", show_duration(MAX_BUCKET_US))));
    }
    let grid = match tz {
        None => Grid::Fixed { width_us },
        // An hour of a zone that is whole hours off begins where one of UTC does; what else a
        // width could mean in a time zone is not to be guessed.
        Some(_) if width_us != DAY_US => {
            return Err(Problem::query(
                "`tz` is for days: bucket=1d. Other buckets start at multiples of their width since 1970-01-01T00:00:00Z",
            ));
        }
        Some(name) => Grid::Days { zone: zone(name)? },
    };
    let words = functions.unwrap_or(Function::Mean.as_str());
    let functions =
        words.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|error: String| Problem::query(&error))?;
    Ok((Form::Bucketed { grid }, functions))
}

fn zone(name: &str) -> Result<TimeZone, Problem> {
    let refused = || Problem::query(&format!("`{}` is not a time zone: write one such as Asia/Seoul", shown(name)));
    // Only names: the zone files of this machine are none of the caller's.
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte));
    if !plain || name.starts_with('/') {
        return Err(refused());
    }
    TimeZone::get(name).map_err(|_| refused())
}

/// A number of the query, which must be read as text to be told in our words.
pub(super) fn number(name: &str, text: Option<&str>) -> Result<Option<u64>, Problem> {
    let parse = |text: &str| match text.parse() {
        Ok(number) if number <= MAX_NUMBER => Ok(number),
        _ => Err(Problem::query(&format!("`{name}` is a whole number from 0 on, not `{}`", shown(text)))),
    };
    text.map(parse).transpose()
}

/// True or false, which is what it is where it is left out.
pub(super) fn flag(name: &str, text: Option<&str>) -> Result<bool, Problem> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::query(&format!("`{name}` is true or false"))),
    }
}

pub(super) fn page_limit(limit: Option<&str>, max: usize) -> Result<usize, Problem> {
    let limit = number("limit", limit)?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    match limit {
        None => Ok(DEFAULT_PAGE.min(max)),
        Some(limit) if (1..=max).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::query(&format!("`limit` is from 1 to {max}"))),
    }
}

/// `firm/asset/metric`, as `next` of a page says it.
pub(super) fn series_after(text: &str) -> Result<SeriesKey, Problem> {
    let mut parts = text.split('/');
    let mut key = || {
        let (firm, asset, metric) = (parts.next()?, parts.next()?, parts.next()?);
        let key = SeriesKey { firm: firm.parse().ok()?, asset: asset.parse().ok()?, metric: metric.parse().ok()? };
        parts.next().is_none().then_some(key)
    };
    key().ok_or_else(|| Problem::query("`after` is firm/asset/metric, as `next` of the page before says it"))
}

/// `from_us.skip.commit`, opaque to callers.
pub(super) fn show_cursor(cursor: &ReadCursor) -> String {
    format!("{}.{}.{}", cursor.from_us, cursor.skip, cursor.as_of.unwrap_or(i64::MAX))
}

fn parse_cursor(text: &str) -> Result<ReadCursor, Problem> {
    let parts: Vec<&str> = text.split('.').collect();
    let parsed = || {
        let [from, skip, commit] = parts.as_slice() else { return None };
        Some(ReadCursor::new(0, from.parse().ok()?, skip.parse().ok()?).as_of(commit.parse().ok()?))
    };
    parsed().ok_or_else(|| crate::access::AccessError::Cursor.into())
}

/// `edge_us.skip.commit`, and where it is among late ones `.from_us.at_us.skip.commit`; opaque to
/// callers.
pub(super) fn show_place(place: &Place) -> String {
    let Place { edge_us, skip, commit, late } = place;
    let late = late.as_ref().map(|it| format!(".{}.{}.{}.{}", it.from_us, it.at_us, it.skip, it.through));
    format!("{edge_us}.{skip}.{commit}{}", late.unwrap_or_default())
}

fn parse_place(text: &str) -> Result<Place, Problem> {
    let parts: Vec<&str> = text.split('.').collect();
    let parsed = || {
        let [edge_us, skip, commit, late @ ..] = parts.as_slice() else { return None };
        let late = match late {
            [] => None,
            [from_us, at_us, skip, through] => Some(LatePlace {
                from_us: from_us.parse().ok()?,
                at_us: at_us.parse().ok()?,
                skip: skip.parse().ok()?,
                through: through.parse().ok()?,
            }),
            _ => return None,
        };
        Some(Place { edge_us: edge_us.parse().ok()?, skip: skip.parse().ok()?, commit: commit.parse().ok()?, late })
    };
    parsed().ok_or_else(|| crate::access::AccessError::Cursor.into())
}
