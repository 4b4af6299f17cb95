//! What a store takes to start, to list a firm's series, and to read a day of one.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use sandan_ingest::consent::{Form, Function, Grid, Permit};
use sandan_ingest::store::{Readings, Rows};
use sandan_proto::id::FirmId;
use serde_json::json;

use super::open;
use super::plant::{BEGAN_US, own};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// Rows of a chunk: as the API reads.
const CHUNK: usize = 10_000;

/// Rows of a whole read.
pub(super) async fn read(store: &dyn Readings, permit: &Permit) -> anyhow::Result<usize> {
    let (mut rows, mut cursor) = (0, None);
    loop {
        let chunk = store.read(permit, cursor, CHUNK).await?;
        rows += match chunk.rows {
            Rows::Raw(rows) => rows.len(),
            Rows::Buckets(rows) => rows.len(),
        };
        cursor = chunk.next;
        if cursor.is_none() {
            return Ok(rows);
        }
    }
}

/// The middle one, ms.
fn middle(mut took: Vec<f64>) -> f64 {
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Asks a store that `build` made, and prints what each question took.
pub(super) async fn ask(dir: &Path, times: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    let store = open(dir)?;
    let start_ms = ms(began);
    println!("{}", json!({ "figure": "start", "ms": start_ms }));

    let firm = FirmId::new("firm-000")?;
    let began = Instant::now();
    let series = store.series(&firm).await?;
    let first_ms = ms(began);
    let mut took = Vec::new();
    for _ in 0..times.max(1) {
        let began = Instant::now();
        store.series(&firm).await?;
        took.push(ms(began));
    }
    let line = json!({ "figure": "catalogue page", "series": series.len(), "first_ms": first_ms, "ms": middle(took) });
    println!("{line}");

    // The newest 24 whole hours that the store has, or what there is.
    let info = series.first().context("the store holds nothing; was it made by `build`?")?;
    let newest_us = info.newest_us.unwrap_or(BEGAN_US);
    let to_us = newest_us.div_euclid(HOUR_US) * HOUR_US;
    let from_us = (to_us - DAY_US).max(BEGAN_US);
    let seoul = Grid::Days { zone: jiff::tz::TimeZone::get("Asia/Seoul")? };
    let minutes = Form::buckets(60_000_000);
    for (name, form, functions, from_us, to_us) in [
        ("raw, one series-day", Form::Raw, &[][..], from_us, to_us),
        ("mean per hour, one series-day", Form::buckets(HOUR_US), &[Function::Mean], from_us, to_us),
        ("mean over time per hour, one series-day", Form::buckets(HOUR_US), &[Function::TimeMean], from_us, to_us),
        ("mean per minute, one series-day", minutes, &[Function::Mean], from_us, to_us),
        (
            "mean per day of Seoul, all",
            Form::Bucketed { grid: seoul },
            &[Function::Mean],
            BEGAN_US - DAY_US,
            to_us + DAY_US,
        ),
    ] {
        let mut took = Vec::new();
        let mut rows = 0;
        // A question of another series each time, all of which were asked once before.
        for round in 0..=times.max(1) {
            for info in series.iter().take(10) {
                let permit = own(&info.key, form.clone(), functions, from_us, to_us)?;
                let began = Instant::now();
                rows = read(&store, &permit).await?;
                if round > 0 {
                    took.push(ms(began));
                }
            }
        }
        println!("{}", json!({ "figure": name, "rows": rows, "ms": middle(took) }));
    }
    Ok(())
}
