//! Questions over HTTP, as a member's script asks them.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use sandan_proto::reading::Value;
use serde_json::Value as Json;

use super::PATIENCE;

/// Readings asked for at once: the most that there are on a page.
const PAGE: usize = 10_000;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
    /// The body of a 200, or an error that shows the answer.
    pub fn ok(self) -> anyhow::Result<Json> {
        match self.status {
            200 => serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body)),
            status => bail!("it answered {status}: {}", self.body),
        }
    }
}

/// A reading as the API shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// Observation time, µs since 1970.
    pub time_us: i64,
    /// None when it is bad.
    pub value: Option<Value>,
    /// `good`, `bad(…)`, …
    pub quality: String,
}

/// Someone with a token at an HTTP address.
#[derive(Debug, Clone)]
pub struct Asker {
    base: String,
    token: Option<String>,
    agent: ureq::Agent,
}

impl Asker {
    /// Asks without a token when there is none.
    pub fn new(address: SocketAddr, token: Option<&str>) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        Self { base: format!("http://{address}"), token: token.map(str::to_owned), agent: config.into() }
    }

    /// GET of a path with its query.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.call().with_context(|| format!("no answer to GET {path}"))?;
        let header =
            |name| response.headers().get(name).and_then(|value: &ureq::http::HeaderValue| value.to_str().ok());
        let content_type = header("content-type").unwrap_or_default().to_owned();
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(u64::MAX).read_to_string()?;
        Ok(Answer { status, content_type, body })
    }

    /// Everything of one series in [from, to), page by page.
    pub fn readings(&self, series: &Series, from_us: i64, to_us: i64) -> anyhow::Result<Vec<Read>> {
        let path = format!("{}&limit={PAGE}", series.path(from_us, to_us)?);
        let mut readings = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}{cursor}"))?.ok()?;
            for reading in page["readings"].as_array().context("the answer has no readings")? {
                readings.push(Read {
                    time_us: time_us(&reading["time"])?,
                    value: serde_json::from_value(reading["value"].clone())?,
                    quality: reading["quality"].as_str().unwrap_or("good").to_owned(),
                });
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(readings),
            }
        }
    }

    /// All pages of a list: `/v1/series`, `/v1/audit?firm=…`, `/v1/gaps?firm=…`.
    pub fn list(&self, path: &str, key: &str) -> anyhow::Result<Vec<Json>> {
        let mut items = Vec::new();
        let mut next = String::new();
        let join = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{next}"))?.ok()?;
            items.extend(page[key].as_array().with_context(|| format!("the answer has no {key}"))?.iter().cloned());
            // The audit goes on after an entry's number, other lists by a cursor.
            next = match &page["next"] {
                Json::String(cursor) => format!("{join}cursor={cursor}"),
                Json::Number(after) => format!("{join}after={after}"),
                _ => return Ok(items),
            };
        }
    }
}

/// The name of a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Series {
    pub firm: String,
    pub asset: String,
    pub metric: String,
}

impl Series {
    /// `firm`, `asset` and `metric`.
    pub fn new(firm: &str, asset: &str, metric: &str) -> Self {
        Self { firm: firm.into(), asset: asset.into(), metric: metric.into() }
    }
    /// The path that reads it.
    pub fn path(&self, from_us: i64, to_us: i64) -> anyhow::Result<String> {
        let Self { firm, asset, metric } = self;
        let (from, to) = (rfc3339(from_us)?, rfc3339(to_us)?);
        Ok(format!("/v1/readings?firm={firm}&asset={asset}&metric={metric}&from={from}&to={to}"))
    }
}

impl std::fmt::Display for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.firm, self.asset, self.metric)
    }
}

/// `2026-11-23T06:47:41.25Z`.
pub fn rfc3339(time_us: i64) -> anyhow::Result<String> {
    Ok(jiff::Timestamp::from_microsecond(time_us)?.to_string())
}

/// µs since 1970 of a time in an answer.
pub fn time_us(time: &Json) -> anyhow::Result<i64> {
    let text = time.as_str().with_context(|| format!("{time} is not a time"))?;
    Ok(text.parse::<jiff::Timestamp>()?.as_microsecond())
}
