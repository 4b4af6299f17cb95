//! How much memory and processor time a process takes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

/// Clock ticks a second of `/proc`, the same on every Linux that this runs on.
const TICKS_PER_S: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Memory {
    proc: PathBuf,
    /// Seconds and KiB.
    looks: Vec<(f64, f64)>,
}

impl Memory {
    pub(super) fn of(process: u32) -> Self {
        Self { proc: format!("/proc/{process}").into(), looks: Vec::new() }
    }

    pub(super) fn look(&mut self, at: Duration) -> anyhow::Result<()> {
        let status = std::fs::read_to_string(self.proc.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib = line.trim().trim_end_matches(" kB").parse()?;
        self.looks.push((at.as_secs_f64(), kib));
        Ok(())
    }

    pub(super) fn last_kib(&self) -> f64 {
        self.looks.last().map_or(0.0, |(_, kib)| *kib)
    }

    /// User and system time so far, s.
    pub(super) fn processor_s(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(self.proc.join("stat"))?;
        // What is before may hold anything: the program's name.
        let (_, rest) = stat.rsplit_once(')').context("not a stat line")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
        Ok((ticks(11) + ticks(12)) / TICKS_PER_S)
    }

    /// KiB at its begin and its end as a line through all looks of the second half has it, and
    /// the line's slope in KiB an hour.
    pub(super) fn second_half(&self) -> (f64, f64, f64) {
        let half = &self.looks[self.looks.len() / 2..];
        let count = half.len().max(1) as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| half.iter().map(of).sum::<f64>() / count;
        let (at, kib) = (mean(|look| look.0), mean(|look| look.1));
        let spread: f64 = half.iter().map(|look| (look.0 - at).powi(2)).sum();
        let slope = half.iter().map(|look| (look.0 - at) * (look.1 - kib)).sum::<f64>() / spread.max(f64::MIN_POSITIVE);
        let on_line = |look: Option<&(f64, f64)>| look.map_or(0.0, |look| kib + slope * (look.0 - at));
        (on_line(half.first()), on_line(half.last()), slope * 3_600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_through_the_second_half_tells_the_growth() {
        let looks = (0..100).map(|at| (f64::from(at), if at < 50 { 9.0 } else { 1_000.0 + f64::from(at) })).collect();
        let memory = Memory { proc: PathBuf::new(), looks };
        let (middle, end, hourly) = memory.second_half();
        assert!((middle - 1_050.0).abs() < 1e-6 && (end - 1_099.0).abs() < 1e-6 && (hourly - 3_600.0).abs() < 1e-6);
        let mut own = Memory::of(std::process::id());
        own.look(Duration::ZERO).unwrap();
        assert!(own.last_kib() > 100.0 && own.processor_s().unwrap() >= 0.0);
    }
}
