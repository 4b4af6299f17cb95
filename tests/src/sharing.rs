//! Sharing under load: eight members of four firms read, agree, narrow, hold and take back at random, and
//! each answer is held against [`reference`], which says cell by cell who may see what.
//!
//! Agreements have all the terms of the record, and go all the way over HTTP; readings come late, officers
//! rule, lots are put down and rosters change meanwhile. In files, half of the members read through
//! `Access`, the only door to readings, and half over a port of this process; or all of them at the second
//! of two processes on one PostgreSQL database, at whose first everything is decided. What it shows: no cell is
//! served without a consent that covers it, none is withheld that has one, nothing is served after a
//! revocation has returned, nor elsewhere a second later, and the owner's log holds each read and its rows.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::chance::Chance;

mod client;
mod draw;
mod http;
mod judge;
mod life;
mod log;
mod pull;
pub mod reference;
mod world;

use client::Client;
use judge::Heard;
use world::World;

use crate::harness::Programs;

/// Members at work.
const CLIENTS: usize = 8;
/// Faults that are told of.
const TOLD: usize = 20;

/// When it ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After so many reads.
    Decisions(u64),
    /// Then.
    Time(Instant),
}

/// Where it is played.
#[derive(Debug, Clone, Copy)]
pub enum Stage<'a> {
    /// In files and in this process, half of it over HTTP.
    Files,
    /// Over HTTP alone, at two processes on one PostgreSQL database.
    Processes(&'a Programs),
}

/// What it came to.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// Seconds.
    pub took_s: f64,
    /// Reads that were asked for, each of which was decided on.
    pub decisions: u64,
    /// Reads that came to their end.
    pub complete: u64,
    /// Reads that a withdrawal ended in their middle.
    pub withdrawn: u64,
    /// Reads that their reader left.
    pub left: u64,
    /// Reads of a member whose token was revoked.
    pub revoked: u64,
    /// Reads that ended with the rows of their day.
    pub used_up: u64,
    /// Reads of which it could not be confirmed in time that a consent held.
    pub unconfirmed: u64,
    /// Reads by a pseudonym that gave something.
    pub pseudonyms: u64,
    /// Denials with reasons.
    pub denied: u64,
    /// Questions for what the asker may not know of.
    pub unknown: u64,
    /// Readings and buckets that were served, each of which was looked at.
    pub cells: u64,
    /// Consents and amendments that came into force.
    pub grants: u64,
    /// Consents that were revoked or relinquished.
    pub revocations: u64,
    /// Times that one was narrowed, amended, held or let go.
    pub changes: u64,
    /// Entries of all firms' logs, and repetitions that they count.
    pub log: (u64, u64),
    /// The longest that something was served after its consent had gone, µs.
    pub latest_us: i64,
    /// What is wrong, and the number of all that was.
    pub faults: (Vec<String>, u64),
}

impl Figures {
    /// Whether everything was as it has to be.
    pub fn is_good(&self) -> bool {
        self.faults.1 == 0
    }

    fn add(&mut self, heard: &Heard) {
        self.decisions += heard.decisions;
        self.complete += heard.complete;
        self.withdrawn += heard.withdrawn;
        self.left += heard.left;
        self.revoked += heard.revoked;
        self.used_up += heard.used_up;
        self.unconfirmed += heard.unconfirmed;
        self.pseudonyms += heard.pseudonyms;
        self.changes += heard.changes;
        self.denied += heard.denied;
        self.unknown += heard.unknown;
        self.cells += heard.cells;
        self.grants += heard.grants;
        self.revocations += heard.revocations;
        self.latest_us = self.latest_us.max(heard.latest_us);
        heard.faults.iter().for_each(|fault| self.fault(fault.clone()));
    }

    fn fault(&mut self, fault: String) {
        self.faults.1 += 1;
        if self.faults.0.len() < TOLD {
            self.faults.0.push(fault);
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { took_s, decisions, cells, grants, revocations, log: (entries, repeated), .. } = self;
        writeln!(
            f,
            "{took_s:.0} s, {decisions} decisions, {grants} consents granted, {} changed and {revocations} revoked",
            self.changes
        )?;
        writeln!(
            f,
            "{} reads complete ({} by a pseudonym), {} withdrawn, {} at the end of a quota, {} unconfirmed, {} left, \
             {} of revoked members, {} denied, {} not found; {cells} cells",
            self.complete,
            self.pseudonyms,
            self.withdrawn,
            self.used_up,
            self.unconfirmed,
            self.left,
            self.revoked,
            self.denied,
            self.unknown
        )?;
        writeln!(f, "{entries} entries in the logs, which count {repeated} repetitions")?;
        write!(f, "served after its consent had gone: {} µs at the latest", self.latest_us)?;
        if !self.is_good() {
            write!(f, "\nwrong: {}, the first of which are", self.faults.1)?;
        }
        self.faults.0.iter().try_for_each(|fault| write!(f, "\n  WRONG: {fault}"))
    }
}

/// Plays it in `dir`.
pub fn play(stage: Stage<'_>, dir: &Path, seed: u64, until: Until, told: impl Fn(String)) -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    runtime.block_on(async {
        let began = Instant::now();
        let world = Arc::new(match stage {
            Stage::Files => World::in_files(dir, seed).await?,
            Stage::Processes(programs) => World::in_processes(programs, dir, seed).await?,
        });
        let began_us = world.now_us();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client::new(&world, number, Chance::new(seed.wrapping_mul(31) + number as u64)).await?;
            tasks.spawn(client.work(until));
        }
        let mut telling = tokio::time::interval(Duration::from_secs(30));
        telling.tick().await;
        let mut heard = Vec::new();
        loop {
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    Some(ended) => heard.push(ended??),
                    None => break,
                },
                _ = telling.tick() => told(format!("{} decisions after {:.0?}", world.decisions(), began.elapsed())),
            }
        }
        let mut figures = Figures::default();
        for heard in &heard {
            figures.add(heard);
        }
        world.finish().await?;
        let (sums, faults) = log::check(&world, began_us, &heard).await?;
        figures.log = sums;
        for fault in faults {
            figures.fault(fault);
        }
        figures.took_s = began.elapsed().as_secs_f64();
        Ok(figures)
    })
}
