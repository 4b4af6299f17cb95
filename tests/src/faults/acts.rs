//! Each fault as it is done.

use std::time::Duration;

use anyhow::bail;
use sandan_gateway::clock;

use super::stage::{SYNC_MS, Stage, is_connected, is_fenced, ms};
use super::{Fault, disk};
use crate::harness::{PATIENCE, wait_for};
use crate::oracle::Cause;
use crate::proxy::Direction;

/// A step that is not passed by then is not on the way of this run.
const STEP_PATIENCE: Duration = Duration::from_secs(10);
/// A spool that is full within seconds.
const SMALL: &str = "spool.small=return;";
/// Debian's place of the library that sets clocks; `tests/run.sh` installs it.
const FAKETIME: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];

impl Stage {
    /// Whether it was done as it is called: a step may not be on the way of this run.
    pub(super) fn apply(&mut self, fault: Fault) -> anyhow::Result<bool> {
        self.first_fault_us.get_or_insert_with(clock::wall_us);
        match fault {
            Fault::GatewayAt(step) => self.end_gateway_at(step),
            Fault::IngestAt(step) => self.end_ingest_at(step),
            other => self.act(other).map(|()| true),
        }
    }

    fn act(&mut self, fault: Fault) -> anyhow::Result<()> {
        match fault {
            Fault::GatewayAt(_) | Fault::IngestAt(_) => Ok(()),
            Fault::GatewayKilled => {
                let ended = self.kill_gateway();
                self.pause(0..400);
                self.start_gateway(ended)
            }
            Fault::IngestKilled => {
                self.ingest.kill();
                self.pause(0..400);
                self.ingest.start()
            }
            Fault::GatewayStopped => {
                let ended = clock::wall_us();
                if !self.gateway.terminate()?.success() {
                    bail!("the gateway did not end in order");
                }
                self.start_gateway(ended)
            }
            Fault::IngestStopped => {
                if !self.ingest.terminate()?.success() {
                    bail!("the ingest did not end in order");
                }
                self.pause(0..400);
                self.ingest.start()
            }
            Fault::SpoolWiped => self.wipe_spool(),
            Fault::SpoolRestored => self.restore_spool(),
            Fault::DiskCloned => self.clone_disk(),
            Fault::DiskFull => self.fill_disk(),
            Fault::SpoolFull => self.fill_spool(),
            Fault::UnsyncedLost => self.lose_unsynced(),
            Fault::SegmentTruncated => self.damage(disk::truncate),
            Fault::BitsFlipped => self.damage(disk::flip_bits),
            Fault::Cut => {
                for _ in 0..=self.chance.below(3) {
                    self.proxy.cut();
                    self.pause(50..700);
                }
                Ok(())
            }
            Fault::LineDown => {
                self.take_line_down();
                self.pause(300..1500);
                self.bring_line_up();
                Ok(())
            }
            Fault::HalfOpen => {
                self.proxy.swallow(Direction::Up, true);
                self.proxy.swallow(Direction::Down, true);
                self.pause(300..1500);
                self.proxy.heal();
                Ok(())
            }
            Fault::AcksLost => {
                self.proxy.swallow(Direction::Down, true);
                self.pause(300..1500);
                self.proxy.heal();
                Ok(())
            }
            Fault::PacketsLate => {
                let (delay, loss) = (self.chance.within(5..150), self.chance.within(1..20));
                self.proxy.worsen(delay, loss);
                self.pause(500..1800);
                self.proxy.heal();
                Ok(())
            }
            Fault::LineNarrow => {
                self.proxy.narrow(self.chance.within(2_000..30_000));
                self.pause(500..1800);
                self.proxy.heal();
                Ok(())
            }
            Fault::IngestRestored => self.restore_ingest(false),
            Fault::IngestRestoredLate => self.restore_ingest(true),
            Fault::SeriesTaken => self.claim_series(),
            Fault::GatewayClock => self.set_gateway_clock(),
            Fault::IngestClock => self.set_ingest_clock(),
        }
    }

    /// When it ended, µs since 1970.
    fn kill_gateway(&mut self) -> i64 {
        self.gateway.kill();
        clock::wall_us()
    }

    fn start_gateway(&mut self, ended_us: i64) -> anyhow::Result<()> {
        self.gateway.start()?;
        self.lost_by_restart(ended_us);
        Ok(())
    }

    /// Starts the gateway so that it ends at a step, and again so that it does not.
    /// Whether it was the step that ended it.
    fn end_gateway_at(&mut self, step: &str) -> anyhow::Result<bool> {
        let ended = self.kill_gateway();
        // Others are passed once or twice by each start.
        let is_often = ["spool.append", "spool.written", "spool.synced", "recorder.", "uplink.frame", "uplink.ack"]
            .iter()
            .any(|often| step.starts_with(often));
        let fills = step.starts_with("spool.displaced");
        let passes = if is_often { self.chance.below(4) } else { 0 };
        self.gateway_programs
            .set_env("FAILPOINTS", Some(&format!("{}{step}={passes}*off->return", if fills { SMALL } else { "" })));
        let down = clock::wall_us();
        if fills {
            self.take_line_down();
        }
        let started = self.gateway.start();
        self.gateway_programs.set_env("FAILPOINTS", None);
        let mut hit = started.is_err();
        if started.is_ok() {
            self.lost_by_restart(ended);
            hit = self.step_ends(|stage| stage.gateway.has_ended());
        }
        let ended = if hit && started.is_err() { ended } else { clock::wall_us() };
        self.note(format!("the gateway ended {}", if hit { "at its step" } else { "without it" }));
        self.gateway.kill();
        self.start_gateway(ended)?;
        if fills {
            self.bring_line_up();
            self.flows("readings to be stored behind the gap")?;
            self.lost_to_the_cap(down);
        }
        Ok(hit)
    }

    fn end_ingest_at(&mut self, step: &str) -> anyhow::Result<bool> {
        self.ingest.kill();
        // A session begins once; firms are packed a few times a second, once there is something.
        let passes = match step.split(['.', '-']).next() {
            Some("serve") => 0,
            Some("compact") => self.chance.below(2),
            _ if step == "session.epoch-granted-before-welcome" || step == "session.births-registered" => 0,
            _ => self.chance.below(6),
        };
        let points = format!("compact.eager=return;{step}={passes}*off->return");
        self.ingest_programs.set_env("FAILPOINTS", Some(&points));
        let started = self.ingest.start();
        self.ingest_programs.set_env("FAILPOINTS", None);
        let mut hit = started.is_err();
        if started.is_ok() {
            if step.starts_with("serve.") {
                self.pause(200..700);
                hit = !self.ingest.terminate()?.success();
                self.note(format!("the ingest's end was {}", if hit { "cut short" } else { "in order" }));
                self.ingest.start()?;
                return Ok(hit);
            }
            hit = self.step_ends(|stage| stage.ingest.has_ended());
        }
        self.note(format!("the ingest ended {}", if hit { "at its step" } else { "without it" }));
        self.ingest.kill();
        self.ingest.start()?;
        Ok(hit)
    }

    fn step_ends(&mut self, mut ended: impl FnMut(&mut Self) -> bool) -> bool {
        let deadline = std::time::Instant::now() + STEP_PATIENCE;
        while std::time::Instant::now() < deadline {
            if ended(self) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn wipe_spool(&mut self) -> anyhow::Result<()> {
        let down = clock::wall_us();
        self.take_line_down();
        self.pause(200..800);
        self.gateway.kill();
        std::fs::remove_dir_all(self.spool())?;
        self.bring_line_up();
        self.gateway.start()?;
        self.gone(down);
        self.release()
    }

    fn restore_spool(&mut self) -> anyhow::Result<()> {
        let ended = self.kill_gateway();
        let image = self.path("image");
        disk::copy_dir(&self.spool(), &image)?;
        let image_us = clock::wall_us();
        self.start_gateway(ended)?;
        // Until the image is an old one: something was stored under a newer epoch.
        self.flows("readings to be stored behind the image")?;
        self.pause(100..500);
        // An image knows no message of later: what were given again would be stored again.
        self.still_broker()?;
        let ended = self.kill_gateway();
        std::fs::remove_dir_all(self.spool())?;
        disk::copy_dir(&image, &self.spool())?;
        std::fs::remove_dir_all(&image)?;
        self.gateway.start()?;
        self.wake_broker()?;
        self.gone(ended);
        // The image's last reading lies before the first kill: its gap reaches back there.
        let rows_from = ended - ms(SYNC_MS);
        self.explain(Cause::Restart, (rows_from, image_us - ms(2 * SYNC_MS + 1_000)), false);
        self.release()
    }

    /// Two gateways from one image, on the same machines: one of them is refused.
    fn clone_disk(&mut self) -> anyhow::Result<()> {
        let ended = self.kill_gateway();
        let name = format!("clone-{}", self.chance.below(1_000_000));
        let mut twin = self.twin(&name)?;
        disk::copy_dir(&self.path("gateway/state"), &self.path(&name).join("state"))?;
        self.gateway.start()?;
        twin.start()?;
        self.lost_by_restart(ended);
        let both = clock::wall_us();
        let twin_lost = wait_for("one of two copies to be refused", PATIENCE, || {
            match (is_fenced(&self.gateway), is_fenced(&twin)) {
                (false, true) => Some(true),
                (true, false) => Some(false),
                _ => None,
            }
        })?;
        let winner = if twin_lost { &self.gateway } else { &twin };
        wait_for("the other copy to be connected", PATIENCE, || is_connected(winner).then_some(()))?;
        if is_fenced(winner) {
            bail!("both copies are refused");
        }
        self.note(format!("the {} is refused", if twin_lost { "copy" } else { "first" }));
        if twin_lost {
            twin.kill();
        } else {
            // The copy goes on in its place.
            self.gateway.kill();
            twin.kill();
            let at = clock::wall_us();
            std::fs::remove_dir_all(self.path("gateway/state"))?;
            disk::copy_dir(&self.path(&name).join("state"), &self.path("gateway/state"))?;
            self.start_gateway(at)?;
        }
        // What the refused one had read was its alone.
        self.gone(both);
        Ok(())
    }

    /// Writes fail for a while; then there is room again. Nothing is lost by it.
    fn fill_disk(&mut self) -> anyhow::Result<()> {
        let ended = self.kill_gateway();
        let (well, full) = (self.chance.within(2..6), self.chance.within(4..12));
        self.gateway_programs.set_env("FAILPOINTS", Some(&format!("spool.write={well}*off->{full}*return->off")));
        let started = self.gateway.start();
        self.gateway_programs.set_env("FAILPOINTS", None);
        started?;
        self.lost_by_restart(ended);
        wait_for("the disk to be full", PATIENCE, || {
            let lines = self.gateway.log().lines();
            lines.iter().any(|line| line.contains("cannot sync the spool")).then_some(())
        })?;
        self.flows("readings to be stored once there is room")
    }

    /// The line is down for longer than the spool has room for: the oldest goes.
    fn fill_spool(&mut self) -> anyhow::Result<()> {
        let ended = self.kill_gateway();
        self.gateway_programs.set_env("FAILPOINTS", Some(SMALL));
        let started = self.gateway.start();
        self.gateway_programs.set_env("FAILPOINTS", None);
        started?;
        self.lost_by_restart(ended);
        self.flows("readings to be stored from a small spool")?;
        let down = clock::wall_us();
        self.take_line_down();
        wait_for("the spool to be full", PATIENCE, || {
            let lines = self.gateway.log().lines();
            lines.iter().any(|line| line.contains("spool is full")).then_some(())
        })?;
        self.pause(0..2000);
        self.bring_line_up();
        // Until the session is back the oldest goes on to go.
        self.flows("readings to be stored behind the gap")?;
        self.lost_to_the_cap(down);
        // Full size again from here on.
        let ended = self.kill_gateway();
        self.start_gateway(ended)
    }

    fn lose_unsynced(&mut self) -> anyhow::Result<()> {
        let ended = self.kill_gateway();
        self.gateway_programs.set_env("FAILPOINTS", Some("spool.written-before-sync=3*off->return"));
        let started = self.gateway.start();
        self.gateway_programs.set_env("FAILPOINTS", None);
        started?;
        self.lost_by_restart(ended);
        if !self.step_ends(|stage| stage.gateway.has_ended()) {
            bail!("the gateway did not write");
        }
        let ended = clock::wall_us();
        self.gateway.kill();
        let spool = self.spool();
        let said = disk::lose_last_write(&spool, &mut self.chance)?;
        self.note(said);
        self.start_gateway(ended)
    }

    /// Hurts the newest segment while it holds what nobody else has.
    fn damage(
        &mut self,
        how: fn(&std::path::Path, &mut crate::chance::Chance) -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        let down = clock::wall_us();
        self.take_line_down();
        self.pause(500..1200);
        self.gateway.kill();
        let spool = self.spool();
        let said = how(&spool, &mut self.chance)?;
        self.note(said);
        self.gateway.start()?;
        self.lost_unsent(down);
        self.bring_line_up();
        Ok(())
    }

    /// Seconds of a jump: within what any clock may be off by, or far beyond it.
    fn jump(&mut self, bounds: &[i64]) -> i64 {
        let by = *self.chance.one(bounds);
        if self.chance.percent(50) { by } else { -by }
    }

    fn set_gateway_clock(&mut self) -> anyhow::Result<()> {
        let by = self.jump(&[30, 240, 7_200]);
        let ended = self.kill_gateway();
        let file = self.fake_clock("gateway-clock", true)?;
        let programs = self.gateway_programs.clone();
        self.start_gateway(ended)?;
        self.pause(300..700);
        std::fs::write(&file, format!("{by:+}\n"))?;
        self.note(format!("the gateway's clock jumps by {by} s"));
        self.flows("readings to be stored after the jump")?;
        // Also a start under the clock that is wrong.
        if self.chance.percent(50) {
            let ended = self.kill_gateway();
            self.start_gateway(ended)?;
            self.flows("readings to be stored after a start under a wrong clock")?;
        }
        std::fs::write(&file, "+0\n")?;
        unset_clock(&programs);
        self.clock_off_us = self.clock_off_us.max(by.abs() * 1_000_000);
        Ok(())
    }

    fn set_ingest_clock(&mut self) -> anyhow::Result<()> {
        // Less than the five minutes beyond which readings are of the future.
        let by = self.jump(&[30, 120, 200]);
        self.ingest.kill();
        let file = self.fake_clock("ingest-clock", false)?;
        let programs = self.ingest_programs.clone();
        self.ingest.start()?;
        self.pause(300..700);
        std::fs::write(&file, format!("{by:+}\n"))?;
        self.note(format!("the ingest's clock jumps by {by} s"));
        self.flows("readings to be stored after the jump")?;
        std::fs::write(&file, "+0\n")?;
        unset_clock(&programs);
        self.clock_off_us = self.clock_off_us.max(by.abs() * 1_000_000);
        Ok(())
    }

    /// The next starts read their wall clock off by what the file says.
    fn fake_clock(&mut self, name: &str, gateway: bool) -> anyhow::Result<std::path::PathBuf> {
        let file = self.path(name);
        let programs = if gateway { &self.gateway_programs } else { &self.ingest_programs };
        for (name, value) in fake_clock(&file)? {
            programs.set_env(name, Some(&value));
        }
        Ok(file)
    }
}

/// The environment of a program whose wall clock is off by what the file says; it says nothing yet.
pub(crate) fn fake_clock(file: &std::path::Path) -> anyhow::Result<[(&'static str, String); 5]> {
    let Some(library) = FAKETIME.iter().find(|path| std::path::Path::new(path).exists()) else {
        bail!("libfaketime is not installed: tests/run.sh installs it");
    };
    std::fs::write(file, "+0\n")?;
    let one = || "1".to_owned();
    Ok([
        ("LD_PRELOAD", (*library).to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_string_lossy().into_owned()),
        ("FAKETIME_NO_CACHE", one()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", one()),
        ("DONT_FAKE_MONOTONIC", one()),
    ])
}

fn unset_clock(programs: &crate::harness::Programs) {
    for name in [
        "LD_PRELOAD",
        "FAKETIME_TIMESTAMP_FILE",
        "FAKETIME_NO_CACHE",
        "FAKETIME_DONT_FAKE_MONOTONIC",
        "DONT_FAKE_MONOTONIC",
    ] {
        programs.set_env(name, None);
    }
}
