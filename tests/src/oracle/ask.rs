//! What the oracle compares: rows off a plant's truth, the rest as the ingest tells it.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use sandan_proto::reading::Value;

use super::{Case, Cause, Gap, Row, Source, Stored};
use crate::harness::Use;
use crate::harness::account::{EVER, published};
use crate::harness::http::{Asker, Series, time_us};
use crate::plcsim::Plant;
use crate::plcsim::machine::{Area, serial_point};

/// Rows of a plant, and the series that they became. Only what carries a serial number
/// is compared: registers, not the bits beside them.
#[derive(Debug, Clone, Default)]
pub struct Readers {
    series: Vec<Series>,
    sources: Vec<Source>,
    rows: Vec<Row>,
}

impl Readers {
    /// What a plant gave away so far of these devices.
    pub fn of(plant: &Plant, uses: &[Use], firm: &str) -> Self {
        let mut readers = Self::default();
        for used in uses {
            if used.device.topic.is_some() {
                readers.add_publisher(plant, used, firm);
            } else {
                for area in [Area::Holding, Area::Input] {
                    readers.add_area(plant, used, area, firm);
                }
            }
        }
        readers
    }

    /// Rows that something else than a plant gave away.
    pub fn made(series: Vec<Series>, sources: Vec<Source>, rows: Vec<Row>) -> Self {
        Self { series, sources, rows }
    }

    fn number(&mut self, series: Series) -> usize {
        self.series.push(series);
        self.series.len() - 1
    }

    fn add_area(&mut self, plant: &Plant, used: &Use, area: Area, firm: &str) {
        let points: Vec<_> = used.device.points.iter().filter(|point| point.area == area).collect();
        if points.is_empty() {
            return;
        }
        let serial = self.number(used.series(firm, &serial_point(area)));
        let numbers: Vec<usize> = points.iter().map(|point| self.number(used.series(firm, point))).collect();
        let source = self.sources.len();
        self.sources.push(Source { name: format!("{} {}", used.device.name, area.word()), serial, repeats: false });
        for served in plant.truth().served_by(&used.device.name) {
            let Some(number) = served.serial.filter(|_| served.area == area) else { continue };
            let values = points.iter().zip(&numbers).filter_map(|(point, at)| Some((*at, served.value(point)?)));
            self.rows.push(Row { source, serial: number.into(), at_us: served.wall_us, values: values.collect() });
        }
    }

    fn add_publisher(&mut self, plant: &Plant, used: &Use, firm: &str) {
        let serial = self.number(Series::new(firm, &used.asset, "x_serial"));
        let points = used.points();
        let numbers: Vec<usize> = points.iter().map(|point| self.number(used.series(firm, point))).collect();
        let source = self.sources.len();
        self.sources.push(Source { name: used.device.name.clone(), serial, repeats: true });
        for message in plant.truth().published_by(&used.device.name).iter().filter(|message| message.acked) {
            let values =
                points.iter().zip(&numbers).filter_map(|(point, at)| Some((*at, published(&message.payload, point)?)));
            self.rows.push(Row {
                source,
                serial: message.serial.into(),
                at_us: message.wall_us,
                values: values.collect(),
            });
        }
    }

    /// Whether a row of every source is stored that was taken since then, µs since 1970.
    pub fn all_are_stored_since(&self, owner: &Asker, since_us: i64) -> anyhow::Result<bool> {
        for source in &self.sources {
            if owner.readings(&self.series[source.serial], since_us, EVER.1)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the last row of every source is stored; not when one gave nothing away yet.
    pub fn ends_are_stored(&self, owner: &Asker) -> anyhow::Result<bool> {
        for (at, source) in self.sources.iter().enumerate() {
            let Some(last) = self.rows.iter().rev().find(|row| row.source == at) else { return Ok(false) };
            // A message may have waited in the broker.
            let late_us = if source.repeats { 60_000_000 } else { 5_000_000 };
            let near = (last.at_us - 5_000_000, last.at_us + late_us);
            let readings = owner.readings(&self.series[source.serial], near.0, near.1)?;
            if !readings.iter().any(|reading| reading.value == Some(Value::I64(last.serial))) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the newest reading of everything that is polled is bad: its machine is gone, and
    /// what it answered before is stored.
    pub fn polls_have_ended(&self, owner: &Asker) -> anyhow::Result<bool> {
        for (at, source) in self.sources.iter().enumerate().filter(|(_, source)| !source.repeats) {
            let Some(last) = self.rows.iter().rev().find(|row| row.source == at) else { return Ok(false) };
            // Nearer than any clock that a test sets: what was read under a wrong one is not the newest.
            let near = (last.at_us - 5_000_000, last.at_us + 20_000_000);
            let readings = owner.readings(&self.series[source.serial], near.0, near.1)?;
            if readings.last().is_none_or(|newest| newest.value.is_some()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The case with what its owner reads back and what is declared; windows, dead
    /// letters and a clock that was set are for the caller to add.
    pub fn case(self, owner: &Asker, firm: &str) -> anyhow::Result<Case> {
        let mut stored = Vec::new();
        for (number, series) in self.series.iter().enumerate() {
            let readings =
                owner.readings(series, EVER.0, EVER.1).with_context(|| format!("{series} cannot be read back"))?;
            let kept = readings
                .into_iter()
                .filter_map(|reading| Some(Stored { series: number, time_us: reading.time_us, value: reading.value? }));
            stored.extend(kept);
        }
        Ok(Case {
            series: self.series.iter().map(ToString::to_string).collect(),
            sources: self.sources,
            rows: self.rows,
            stored,
            gaps: gaps(owner, firm)?,
            ..Case::default()
        })
    }
}

/// The declared gaps of a firm.
pub fn gaps(owner: &Asker, firm: &str) -> anyhow::Result<Vec<Gap>> {
    let causes = BTreeMap::from([
        ("restart", Cause::Restart),
        ("spool_full", Cause::SpoolFull),
        ("disk_full", Cause::DiskFull),
        ("damaged", Cause::Damaged),
        ("replay_window", Cause::ReplayWindow),
    ]);
    let mut gaps = Vec::new();
    for gap in owner.list(&format!("/v1/gaps?firm={firm}"), "gaps")? {
        let edge = |name: &str| if gap[name].is_null() { Ok(None) } else { time_us(&gap[name]).map(Some) };
        let Some(cause) = gap["cause"].as_str().and_then(|cause| causes.get(cause)) else {
            bail!("a gap has an unknown cause: {gap}");
        };
        let readings = gap["readings"].as_u64();
        gaps.push(Gap { cause: *cause, from_us: edge("from")?, to_us: edge("to")?, readings });
    }
    Ok(gaps)
}

/// Readings of a firm that were put aside, as its owner sees them.
pub fn dead_letters(owner: &Asker, firm: &str) -> anyhow::Result<u64> {
    let mut readings = 0;
    for record in owner.list(&format!("/v1/dead-letters?firm={firm}"), "dead_letters")? {
        for letter in record["letters"].as_array().context("a dead letter has no letters")? {
            readings += letter["readings"].as_u64().with_context(|| format!("a dead letter has no size: {record}"))?;
        }
    }
    Ok(readings)
}
