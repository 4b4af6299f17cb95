//! Kills of what is done to a database.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::sender::Age;
use super::stage::{CONFIG, EAGER, Stage, compare, enroll, no_errors};
use crate::chance::Chance;
use crate::harness::{Ingest, PATIENCE};
use crate::servers;

impl Stage {
    /// Two processes begin with an empty database at once, and one ends at a step. The other goes
    /// on, and so does the one that ended when it is started again.
    pub(super) fn end_database_at(&mut self, step: &str) -> anyhow::Result<()> {
        let database = servers::plain();
        let store = format!("{CONFIG}[store]\nengine = \"postgres\"\nurl = \"{}\"\n", database.dsn());
        let programs = self.programs.apart();
        let dirs = [self.path("first"), self.path("second")];
        let mut first = Ingest::with(&programs, &dirs[0], &store)?;
        let mut second = Ingest::with(&self.programs.apart(), &dirs[1], &store)?;
        // The second step has the readings.
        let failpoints = format!("{step}={}*off->return", self.chance.below(2));
        self.note(&failpoints);
        programs.set_env("FAILPOINTS", Some(&failpoints));
        let together = self.chance.percent(50);
        let (ended, started) = if together {
            std::thread::scope(|scope| {
                let ended = scope.spawn(|| first.start());
                let started = second.start();
                (ended.join().unwrap_or_else(|_| Ok(())), started)
            })
        } else {
            (first.start(), second.start())
        };
        programs.set_env("FAILPOINTS", None);
        started.context("the other process")?;
        // Where both began at once the other may have taken the step.
        ensure!(together || ended.is_err(), "the step was not passed");
        first.kill();
        second.share_authority(&first)?;
        first.start()?;
        let (mut sender, member) = enroll(&self.runtime, &first, "firm-new", &dirs[0].join("gateway"))?;
        let mut chance = Chance::new(self.chance.bits());
        for age in Age::ALL {
            sender.make(&mut chance, age);
        }
        self.runtime.block_on(sender.session())?;
        first.kill();
        let sent = [(sender.known.clone(), sender.sent.clone())];
        self.compared += compare(&second, &[member], &sent)?;
        ensure!(second.terminate()?.success(), "the second process did not end in order");
        no_errors(&first)?;
        no_errors(&second)?;
        for dir in dirs {
            std::fs::remove_dir_all(dir)?;
        }
        Ok(())
    }

    /// Ends the one process on a database amid retention, and looks for everything after its next
    /// start, and once more after all is counted.
    pub(super) fn end_upkeep_at(&mut self, step: &str) -> anyhow::Result<()> {
        let database = servers::plain();
        let store = format!("{CONFIG}[store]\nengine = \"postgres\"\nurl = \"{}\"\n", database.dsn());
        let (programs, dir) = (self.programs.apart(), self.path("upkeep"));
        let mut ingest = Ingest::with(&programs, &dir, &store)?;
        ingest.start()?;
        let (mut sender, member) = enroll(&self.runtime, &ingest, "firm-kept", &dir.join("gateway"))?;
        let members = [member];
        for age in Age::ALL {
            for _ in 0..3 {
                sender.make(&mut self.chance, age);
            }
        }
        self.runtime.block_on(sender.session())?;
        ingest.kill();
        // Some series have something of each age; hours are counted once for the firm.
        let passes = if step == "database.counted-before-commit" { 0 } else { self.chance.below(3) };
        let failpoints = format!("{EAGER};{step}={passes}*off->return");
        self.note(&failpoints);
        programs.set_env("FAILPOINTS", Some(&failpoints));
        if ingest.start().is_ok() {
            let deadline = Instant::now() + PATIENCE;
            while !ingest.has_ended() {
                if Instant::now() > deadline {
                    bail!("the step was not passed");
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        programs.set_env("FAILPOINTS", None);
        ingest.start()?;
        let sent = [(sender.known.clone(), sender.sent.clone())];
        self.compared += compare(&ingest, &members, &sent).context("after the kill")?;
        // What comes late is beside what was counted, and then among it.
        for age in Age::ALL {
            sender.make(&mut self.chance, age);
        }
        self.runtime.block_on(sender.session())?;
        let sent = [(sender.known.clone(), sender.sent.clone())];
        self.compared += compare(&ingest, &members, &sent).context("with late readings")?;
        ensure!(ingest.terminate()?.success(), "the ingest did not end in order");
        no_errors(&ingest)?;
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }
}
