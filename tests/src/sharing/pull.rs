//! Reads over HTTP, as pages and as streams.

use anyhow::{Context, bail};
use sandan_proto::id::SeriesKey;
use serde_json::Value as Json;

use super::client::Client;
use super::judge::{Ended, Row, Served, Told};
use super::reference::Question;
use super::world::SECOND_US;
use crate::harness::http::{rfc3339, time_us};

/// Asks until all has come, or not all can come.
pub(super) fn ask(client: &mut Client, door: usize, key: &SeriesKey, served: &mut Served) -> anyhow::Result<()> {
    let http = client.world.doors[door].clone();
    let path = path(&served.question, key)?;
    let how = match client.chance.below(10) {
        0..3 => "&format=ndjson".to_owned(),
        3..6 => format!("&limit={}", 1 + client.chance.below(60)),
        _ => "&limit=10000".to_owned(),
    };
    let mut cursor = String::new();
    loop {
        let asked = if cursor.is_empty() { served.begun } else { client.world.now_us() };
        let answer = http.get(&client.token, &format!("{path}{how}{cursor}"))?;
        let when = (asked, client.world.now_us());
        let is_first = cursor.is_empty();
        let told = |is_denial| Told {
            question: served.question.clone(),
            actor: client.member.actor(),
            receipt: answer.receipt.clone(),
            is_denial,
        };
        let code = if answer.status == 200 { String::new() } else { answer.code() };
        match (answer.status, code.as_str()) {
            (200, _) => {
                let told = told(false);
                served.told.push(told);
            }
            (403, "not_covered") => {
                let told = told(true);
                served.told.push(told);
                served.ended = if is_first { Ended::Denied } else { Ended::Withdrawn };
                return Ok(());
            }
            (404, "no_such_series") => {
                served.ended = if is_first { Ended::Unknown } else { Ended::Withdrawn };
                return Ok(());
            }
            // No whole bucket lies in the range, which is told before anything is looked up.
            (400, "bad_query") if served.question.cells(client.world.data, SECOND_US).is_empty() => {
                served.ended = Ended::Left;
                return Ok(());
            }
            // Whether it was a read that ended, or never began, is not told.
            (_, "withdrawn") => {
                served.unsure += 1;
                served.ended = Ended::Withdrawn;
                return Ok(());
            }
            (429, "quota_exceeded") => {
                served.unsure += 1;
                served.ended = Ended::UsedUp;
                return Ok(());
            }
            (401, _) => {
                served.ended = Ended::Revoked;
                return Ok(());
            }
            (503, "store_away") => {
                served.unsure += 1;
                served.ended = Ended::Unconfirmed;
                return Ok(());
            }
            (status, _) => bail!("{path}{how} was answered {status}: {:?}", answer.body),
        }
        let next = match &answer.body {
            // A stream that has no end was ended; where a database stands behind it, also by one that did not
            // confirm the consent in time, which cannot be told from a withdrawal.
            None if client.world.patience_us > 0 => Err(Ended::Unconfirmed),
            None => Err(Ended::Cut),
            Some(body) if how.ends_with("ndjson") => lines(&served.question, body).map(|(rows, is_whole)| {
                served.rows.extend(rows.into_iter().map(|row| (row, when)));
                if is_whole { Ok(None) } else { Err(Ended::Cut) }
            })?,
            Some(_) => {
                let page = answer.json();
                let name = if served.question.bucket.is_some() { "buckets" } else { "readings" };
                let rows = page[name].as_array().context("a page has no rows")?;
                for row in rows {
                    let row = shown(&served.question, row)?;
                    served.rows.push((row, when));
                }
                Ok(page["next"].as_str().map(|next| format!("&cursor={next}")))
            }
        };
        match next {
            Ok(Some(next)) => cursor = next,
            Ok(None) => {
                served.ended = Ended::Complete;
                return Ok(());
            }
            Err(ended) => {
                served.ended = ended;
                return Ok(());
            }
        }
    }
}

fn path(it: &Question, key: &SeriesKey) -> anyhow::Result<String> {
    let SeriesKey { firm, asset, metric } = key;
    let (from, to) = (rfc3339(it.from_us)?, rfc3339(it.to_us)?);
    let bucket = it.bucket.as_ref().map_or_else(String::new, |(width, functions)| {
        let functions: Vec<&str> = functions.iter().map(|function| function.as_str()).collect();
        format!("&bucket={}s&functions={}", width / SECOND_US, functions.join(","))
    });
    let purpose = it.purpose.map_or_else(String::new, |purpose| format!("&purpose={purpose}"));
    Ok(format!("/v1/readings?firm={firm}&asset={asset}&metric={metric}&from={from}&to={to}{bucket}{purpose}"))
}

/// The rows of a stream, and whether it came to its end.
fn lines(it: &Question, body: &str) -> anyhow::Result<(Vec<Row>, bool)> {
    let (mut rows, mut is_whole) = (Vec::new(), false);
    for line in body.lines() {
        let line: Json = serde_json::from_str(line)?;
        is_whole |= line["end"].is_object();
        if line["time"].is_string() || line["start"].is_string() {
            rows.push(shown(it, &line)?);
        }
    }
    Ok((rows, is_whole))
}

fn shown(it: &Question, row: &Json) -> anyhow::Result<Row> {
    let number = |name: &str| row[name].as_f64().with_context(|| format!("{row} has no {name}"));
    Ok(match &it.bucket {
        None => {
            let at = time_us(&row["time"])?;
            Row { cell: (at, at), shown: vec![number("value")?] }
        }
        Some((width, functions)) => {
            let start = time_us(&row["start"])?;
            let shown = functions.iter().map(|function| number(function.as_str())).collect::<Result<_, _>>()?;
            Row { cell: (start, start + width), shown }
        }
    })
}
