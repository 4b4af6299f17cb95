//! Kills of a backup and of a restore.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::sender::{Known, Sent};
use super::stage::{CONFIG, Stage, compare};
use crate::harness::Ingest;

/// A backup that is whole, and what was stored then.
pub(super) struct Whole {
    dir: PathBuf,
    sent: Vec<(Vec<Known>, Sent)>,
}

impl Stage {
    /// Ends the ingest at a step of a backup. What that leaves is no backup, an earlier one still
    /// is, and the next one of the same name is.
    pub(super) fn end_backup_at(&mut self, step: &str) -> anyhow::Result<()> {
        let to = self.next_backup();
        // Others are passed once by each backup.
        let is_often = ["backup.copied-pages", "backup.copied-before-next"].contains(&step);
        let passes = if is_often { self.chance.below(3) } else { 0 };
        self.make_some();
        self.send_all()?;
        self.ingest.kill();
        let failpoints = format!("{step}={passes}*off->return");
        self.note(&failpoints);
        self.programs.set_env("FAILPOINTS", Some(&failpoints));
        self.ingest.start()?;
        self.programs.set_env("FAILPOINTS", None);
        if step == "backup.shared-before-next" {
            self.share_until_killed(&to)?;
        } else {
            let told = self.ask_for_backup(&to);
            ensure!(told.is_err(), "the backup was not cut short");
        }
        self.go_on()?;
        self.whole_or_none(to)
    }

    /// Something is shared with a backup that was made just before, unless retention came between.
    fn share_until_killed(&mut self, to: &Path) -> anyhow::Result<()> {
        for attempt in 0..5 {
            let before = self.path(&format!("before-{attempt}"));
            self.ingest.command(&["backup", &before.to_string_lossy()])?;
            let told = self.ingest.command(&["backup", &to.to_string_lossy(), "--since", &before.to_string_lossy()]);
            std::fs::remove_dir_all(&before)?;
            if told.is_err() {
                return Ok(());
            }
            std::fs::remove_dir_all(to)?;
        }
        anyhow::bail!("nothing was ever shared")
    }

    /// With the last one to share with, if there is one and the dice say so.
    fn ask_for_backup(&mut self, to: &Path) -> anyhow::Result<String> {
        let shares = self.chance.percent(70);
        let last = self.whole.last().filter(|_| shares).map(|whole| whole.dir.to_string_lossy().into_owned());
        let to = to.to_string_lossy();
        match &last {
            Some(last) => self.ingest.command(&["backup", &to, "--since", last]),
            None => self.ingest.command(&["backup", &to]),
        }
    }

    /// `kill -9` at any moment of a backup, while readings come in.
    pub(super) fn end_amid_backup(&mut self) -> anyhow::Result<()> {
        let to = self.next_backup();
        self.make_some();
        self.send_all()?;
        let after = Duration::from_millis(self.chance.below(400));
        let told = std::thread::scope(|scope| {
            let ingest = &self.ingest;
            let told = scope.spawn(|| ingest.command(&["backup", &to.to_string_lossy()]));
            std::thread::sleep(after);
            // The process, and not the handle, which the other thread has.
            ingest.kill_process();
            told.join()
        });
        let told = told.map_err(|_| anyhow::anyhow!("the command panicked"))?;
        self.note(format!("the backup was {}", if told.is_ok() { "done" } else { "cut short" }));
        self.go_on()?;
        ensure!(told.is_err() || is_whole(&to), "the command told of a backup that is none");
        self.whole_or_none(to)
    }

    /// What was killed is a whole backup or none, and then the next one of its name is one.
    fn whole_or_none(&mut self, to: PathBuf) -> anyhow::Result<()> {
        if is_whole(&to) {
            self.whole.push(Whole { dir: to, sent: self.sent() });
            return Ok(());
        }
        self.refuse_to_restore(&to)?;
        self.back_up(to)
    }

    /// Ends a restore at a step. A start refuses what that leaves; after clearing it away the
    /// restore works.
    pub(super) fn end_restore_at(&mut self, step: &str) -> anyhow::Result<()> {
        self.make_some();
        self.send_all()?;
        let to = self.next_backup();
        self.back_up(to)?;
        let passes = if step == "restore.copied-before-next" { self.chance.below(4) } else { 0 };
        let whole = self.whole.pop().context("nothing was backed up")?;
        let done = self.restore(&whole, Some(&format!("{step}={passes}*off->return")));
        self.whole.push(whole);
        done
    }

    /// Restores every backup that was made: each is as the store was then.
    pub(super) fn restore_all(&mut self) -> anyhow::Result<()> {
        let all = std::mem::take(&mut self.whole);
        for whole in &all {
            self.restore(whole, None)?;
        }
        Ok(())
    }

    fn next_backup(&self) -> PathBuf {
        self.path(&format!("backup-{}", self.whole.len()))
    }

    /// A backup that has to work, and to be exact.
    fn back_up(&mut self, to: PathBuf) -> anyhow::Result<()> {
        self.ask_for_backup(&to)?;
        self.ingest.command(&["backup", "--verify", &to.to_string_lossy()])?;
        self.whole.push(Whole { dir: to, sent: self.sent() });
        Ok(())
    }

    fn refuse_to_restore(&mut self, from: &Path) -> anyhow::Result<()> {
        let dir = self.path("refused");
        let other = Ingest::with(&self.programs.apart(), &dir, CONFIG)?;
        ensure!(other.command(&["restore", &from.to_string_lossy()]).is_err(), "{} was restored", from.display());
        ensure!(!dir.join("data/inbox.db").exists(), "what was refused left something");
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }

    /// Restores a backup beside the store, with a kill first where one is asked for, and compares
    /// what is there with what there was.
    fn restore(&mut self, whole: &Whole, killed_at: Option<&str>) -> anyhow::Result<()> {
        let dir = self.path("restored");
        let programs = self.programs.apart();
        let mut restored = Ingest::with(&programs, &dir, CONFIG)?;
        let from = whole.dir.to_string_lossy();
        if let Some(failpoints) = killed_at {
            self.note(failpoints);
            programs.set_env("FAILPOINTS", Some(failpoints));
            ensure!(restored.command(&["restore", &from]).is_err(), "the restore was not cut short");
            programs.set_env("FAILPOINTS", None);
            ensure!(restored.start().is_err(), "what a killed restore left was served");
            std::fs::remove_dir_all(dir.join("data"))?;
        }
        let told: serde_json::Value = serde_json::from_str(&restored.command(&["--json", "restore", &from])?)?;
        let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(whole.dir.join("manifest.json"))?)?;
        ensure!(told["timeline"].is_string() && told["timeline"] != manifest["timeline"], "no timeline began: {told}");
        restored.start()?;
        self.compared += compare(&restored, &self.members, &whole.sent)
            .with_context(|| format!("{} is not as the store was", whole.dir.display()))?;
        restored.kill();
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }
}

/// Whether it looks like a backup.
fn is_whole(dir: &Path) -> bool {
    dir.join("manifest.json").exists()
}
