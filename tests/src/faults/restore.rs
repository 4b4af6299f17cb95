//! Faults of the store's side: a backup that is put back, and series that are another's.

use anyhow::{Context, bail};
use sandan_gateway::clock;

use super::disk;
use super::stage::{FIRM, SYNC_MS, Stage, ms};
use crate::harness::{PATIENCE, wait_for};
use crate::oracle::Cause;
use crate::oracle::ask::dead_letters;

/// A spool that keeps almost nothing of what was acknowledged.
const SMALL: &str = "spool.small=return";
/// Readings of the second gateway that are put aside before it ends.
const ENOUGH: u64 = 500;

impl Stage {
    /// The store of some time ago in the place of the store: gateways send again what came
    /// since. `late`: after they have removed some of it.
    pub(super) fn restore_ingest(&mut self, late: bool) -> anyhow::Result<()> {
        if late {
            let ended = clock::wall_us();
            self.gateway.kill();
            self.gateway_programs.set_env("FAILPOINTS", Some(SMALL));
            let started = self.gateway.start();
            self.gateway_programs.set_env("FAILPOINTS", None);
            started?;
            self.lost_by_restart(ended);
            self.flows("readings to be stored from a small spool")?;
            // What waited, or what was read while a busy machine did not answer.
            self.lost_to_the_cap(ended);
        }
        let number = self.chance.below(1_000_000);
        let backup = self.path(&format!("backup-{number}"));
        let to = backup.to_string_lossy().into_owned();
        let (asked, there) = (clock::wall_us(), disk::segments(&self.spool())?);
        self.ingest.command(&["backup", &to, "--with-keys"])?;
        self.flows("readings to be stored behind the backup")?;
        if late {
            // The newest of then, so that what came since is among what is removed.
            let newest = there.last().context("the spool has no segment")?;
            wait_for("the spool to remove what the backup has not", PATIENCE, || (!newest.exists()).then_some(()))?;
        }
        self.pause(0..500);
        self.ingest.kill();
        std::fs::remove_dir_all(self.path("ingest/data"))?;
        let said = self.ingest.command(&["restore", &to])?;
        self.note(said.replace('\n', " "));
        self.ingest.start()?;
        self.flows("readings to be stored in the restored store")?;
        if late {
            let from = self.unacknowledged_since(asked) - ms(SYNC_MS) - ms(1_200);
            self.explain(Cause::ReplayWindow, (from, from), true);
            self.lost_to_the_cap(asked);
            // Full size again from here on.
            let ended = clock::wall_us();
            self.gateway.kill();
            self.gateway.start()?;
            self.lost_by_restart(ended);
        }
        std::fs::remove_dir_all(&backup)?;
        Ok(())
    }

    /// From here on the ingest does something wrong, as `FAILPOINTS` says it; gives back once
    /// it was done.
    pub(super) fn break_ingest(&mut self, how: &str) -> anyhow::Result<()> {
        self.ingest.kill();
        self.ingest_programs.set_env("FAILPOINTS", Some(how));
        self.ingest.start()?;
        let acked = |stage: &Self| stage.gateway.status().ok()?["uplink"]["acked_total"].as_u64();
        let before = acked(self).context("the gateway shows no acknowledged readings")?;
        let some_more = || acked(self).filter(|acked| *acked > before + ENOUGH).map(drop);
        wait_for("readings to be acknowledged", PATIENCE, some_more)
    }

    /// A second gateway reads the same machines into the same series. They belong to the
    /// first: all that it reads is put aside.
    pub(super) fn claim_series(&mut self) -> anyhow::Result<()> {
        let before = dead_letters(&self.owner, FIRM)?;
        let name = format!("second-{}", self.chance.below(1_000_000));
        let mut stranger = self.stranger(&name)?;
        stranger.start()?;
        wait_for("readings of another's series to be put aside", PATIENCE, || {
            (dead_letters(&self.owner, FIRM).ok()? > before + ENOUGH).then_some(())
        })?;
        if !stranger.terminate()?.success() {
            bail!("the second gateway did not end in order: {}", stranger.log().tail());
        }
        Ok(())
    }
}
