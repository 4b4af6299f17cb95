//! A store of very many readings, made in minutes.

use std::path::Path;
use std::time::Instant;

use sandan_ingest::store::Readings;
use sandan_proto::batch::{Column, Group, Values};
use sandan_proto::reading::ValueType;
use serde_json::json;

use super::open;
use super::plant::{Plant, Series};
use crate::chance::Chance;

/// Series of one firm, all of one device, so that they share their times.
const SERIES: u64 = 100;
/// Seconds of one batch.
const BATCH_S: i64 = 100;
/// Readings a series after which a firm is packed, as the service does.
const PACKED: u64 = 4_096;

/// One firm at work.
struct Firm {
    plant: Plant,
    chance: Chance,
    /// The present value of each series, in tenths.
    tenths: Vec<i64>,
    waiting: u64,
}

impl Firm {
    /// The next seconds of all series: each walks by tenths, and a poll is some ms late.
    fn work(&mut self, from_s: i64, seconds: i64) -> Group {
        let times_us: Vec<i64> = (from_s..from_s + seconds)
            .map(|second| second * 1_000_000 + self.chance.below(6).cast_signed() * 1_000)
            .collect();
        let column = |(series, tenths): (u32, &mut i64)| {
            let mut bits = self.chance.bits() | 1;
            let values = times_us.iter().map(|_| {
                // Xorshift: the bench is not to wait for its chance.
                bits ^= bits << 13;
                bits ^= bits >> 7;
                bits ^= bits << 17;
                *tenths += (bits % 7).cast_signed() - 3;
                *tenths as f64 / 10.0
            });
            Column { series, quality: Vec::new(), values: Values::F64(values.collect()) }
        };
        let columns = (0..).zip(&mut self.tenths).map(column).collect();
        Group { times_us, columns }
    }
}

/// Fills a new store with `readings` over `series`, one a second each.
pub(super) async fn build(dir: &Path, readings: u64, series: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    let store = open(dir)?;
    let mut firms = Vec::new();
    for number in 0..series.div_ceil(SERIES) {
        let of = (0..SERIES)
            .map(|at| Series { asset: format!("press-{}", at / 10), metric: format!("x_{at}"), of: ValueType::F64 })
            .collect::<Vec<_>>();
        let plant = Plant::connect(&store, &format!("firm-{number:03}/gw"), &of).await?;
        let tenths = (0..SERIES).map(|at| 1_000 + at.cast_signed()).collect();
        firms.push(Firm { plant, chance: Chance::new(number), tenths, waiting: 0 });
    }
    let seconds = (readings / (firms.len() as u64 * SERIES)).cast_signed();
    let mut told = Instant::now();
    let mut from_s = 0;
    while from_s < seconds {
        let length = BATCH_S.min(seconds - from_s);
        for firm in &mut firms {
            let group = firm.work(from_s, length);
            firm.plant.deliver(&store, std::slice::from_ref(&group)).await?;
            firm.waiting += length.cast_unsigned();
            if firm.waiting >= PACKED {
                firm.plant.settle(0).await?;
                store.compact(&firm.plant.firm()).await?;
                firm.waiting = 0;
            }
        }
        if told.elapsed().as_secs() >= 30 {
            told = Instant::now();
            eprintln!("{} % after {} s", from_s * 100 / seconds, began.elapsed().as_secs());
        }
        from_s += length;
    }
    for firm in &mut firms {
        firm.plant.settle(0).await?;
        store.compact(&firm.plant.firm()).await?;
    }
    drop(store);
    let took = began.elapsed().as_secs_f64();
    let stored = seconds.cast_unsigned() * firms.len() as u64 * SERIES;
    let bytes = super::bytes::size_of(dir)?;
    let line = json!({
        "figure": "build",
        "readings": stored,
        "series": firms.len() as u64 * SERIES,
        "seconds": took,
        "readings_per_s": stored as f64 / took,
        "bytes": bytes,
        "bytes_per_reading": bytes as f64 / stored as f64,
    });
    println!("{line}");
    Ok(())
}
