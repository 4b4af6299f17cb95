//! Kills while a store of an older build gets this build's layout.
//!
//! `tests/cases/stores` holds one store of each layout there was, and what was sent to it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::sender::{Age, Known, Sent};
use super::stage::{CONFIG, Stage, compare, enroll, no_errors};
use crate::harness::{Ingest, PATIENCE, Programs, wait_for};

/// Whose store it is.
const FIRM: &str = "firm-1";
/// The files of a store, as they are named here.
const FILES: [(&str, &str); 3] =
    [("control.db.zst", "control.db"), ("inbox.db.zst", "inbox.db"), ("firm.db.zst", "firms/1.db")];
/// What was sent to it.
const SENT: &str = "sent.json.zst";
const LEVEL: i32 = 19;

/// A store of an older build.
pub struct Old {
    dir: PathBuf,
}

impl Old {
    /// All of them.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/stores");
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let dir = entry?.path();
            if dir.is_dir() {
                all.push(Self { dir });
            }
        }
        all.sort_by(|a, b| a.dir.cmp(&b.dir));
        Ok(all)
    }

    /// Layouts of the control data, the inbox and the firm's file.
    pub fn layouts(&self) -> anyhow::Result<[u32; 3]> {
        let mut layouts = [0; 3];
        for ((name, _), layout) in FILES.iter().zip(&mut layouts) {
            *layout = user_version(&self.unpacked(name)?);
        }
        Ok(layouts)
    }

    fn unpacked(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.dir.join(name);
        let packed = std::fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(zstd::decode_all(packed.as_slice())?)
    }

    fn sent(&self) -> anyhow::Result<Vec<(Vec<Known>, Sent)>> {
        let sent: Vec<(Age, Vec<(i64, i64)>)> = serde_json::from_slice(&self.unpacked(SENT)?)?;
        let sent = sent.into_iter().map(|(age, rows)| (age, rows.into_iter().collect())).collect();
        Ok(vec![(Known::all(FIRM), sent)])
    }

    fn put_into(&self, data: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(data.join("firms"))?;
        std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o700))?;
        for (name, file) in FILES {
            std::fs::write(data.join(file), self.unpacked(name)?)?;
        }
        Ok(())
    }
}

/// Layouts of a backup, which holds files without logs, in the order of [`Old::layouts`].
fn layouts_of(backup: &Path) -> anyhow::Result<[u32; 3]> {
    let mut layouts = [0; 3];
    for ((_, file), layout) in FILES.iter().zip(&mut layouts) {
        *layout = user_version(&std::fs::read(backup.join(file)).with_context(|| (*file).to_owned())?);
    }
    Ok(layouts)
}

/// Layouts that this build gives a new store, in the order of [`Old::layouts`].
pub fn newest(programs: &Programs) -> anyhow::Result<[u32; 3]> {
    let stage = Stage::set(programs, 0)?;
    stage.newest_layouts()
}

/// Where `SQLite` keeps it: bytes 60 to 63 of the header.
fn user_version(file: &[u8]) -> u32 {
    file.get(60..64).and_then(|it| it.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Makes such a store in a new directory: some of it packed, some waiting, some old.
pub fn preserve(programs: &Programs, to: &Path, seed: u64) -> anyhow::Result<()> {
    let mut stage = Stage::set(programs, seed)?;
    stage.make_some();
    stage.send_all()?;
    let backup = stage.path("preserved");
    stage.ingest.command(&["backup", &backup.to_string_lossy()])?;
    std::fs::create_dir(to).with_context(|| to.display().to_string())?;
    let pack = |name: &str, bytes: &[u8]| std::fs::write(to.join(name), zstd::encode_all(bytes, LEVEL)?);
    for (name, file) in FILES {
        pack(name, &std::fs::read(backup.join(file))?)?;
    }
    let sent = stage.senders[0].sent.iter().map(|(age, rows)| (*age, rows.iter().collect::<Vec<_>>()));
    pack(SENT, &serde_json::to_vec(&sent.collect::<Vec<_>>())?)?;
    Ok(())
}

impl Stage {
    fn newest_layouts(&self) -> anyhow::Result<[u32; 3]> {
        let backup = self.path("newest");
        if !backup.exists() {
            self.ingest.command(&["backup", &backup.to_string_lossy()])?;
        }
        layouts_of(&backup)
    }

    /// Ends the first start of this build on an older store at a step, and looks for everything
    /// after the second.
    pub(super) fn end_layout_at(&mut self, step: &str) -> anyhow::Result<()> {
        let dir = self.path("old");
        let programs = self.programs.apart();
        let mut ingest = Ingest::with(&programs, &dir, CONFIG)?;
        let newest = self.newest_layouts()?;
        let mut fit = Vec::new();
        for old in Old::all()? {
            let layouts = old.layouts()?;
            let is_older: Vec<usize> = (0..3).filter(|at| layouts[*at] < newest[*at]).collect();
            let passes = if step.starts_with("control.") {
                usize::from(is_older.contains(&0))
            } else {
                is_older.iter().filter(|at| **at > 0).count()
            };
            if passes > 0 {
                fit.push((old, passes as u64));
            }
        }
        ensure!(!fit.is_empty(), "no older store has anything to change there");
        let at = usize::try_from(self.chance.below(fit.len() as u64)).unwrap_or(0);
        let (old, passes) = fit.swap_remove(at);
        old.put_into(&dir.join("data"))?;
        let failpoints = format!("{step}={}*off->return", self.chance.below(passes));
        self.note(format!("{}: {failpoints}", old.dir.display()));
        programs.set_env("FAILPOINTS", Some(&failpoints));
        let started = ingest.start();
        if started.is_ok() {
            // A firm's file is changed when it is first opened.
            let token = ingest.add_member(FIRM, "박바다")?;
            let told = compare(&ingest, &[token], &old.sent()?);
            ensure!(told.is_err(), "the step was not passed");
            wait_for("the ingest to end at its step", PATIENCE, || ingest.has_ended().then_some(()))?;
        }
        programs.set_env("FAILPOINTS", None);
        ingest.start()?;
        let (mut sent, mut members) = (old.sent()?, vec![ingest.add_member(FIRM, "김하늘")?]);
        self.compared += compare(&ingest, &members, &sent).with_context(|| old.dir.display().to_string())?;
        ingest.command(&["audit", "verify", FIRM])?;
        // It takes new readings, and what it has then outlives another kill.
        let (mut sender, member) = enroll(&self.runtime, &ingest, "firm-new", &dir.join("gateway"))?;
        for age in Age::ALL {
            sender.make(&mut self.chance, age);
        }
        self.runtime.block_on(sender.session())?;
        sent.push((sender.known.clone(), sender.sent.clone()));
        members.push(member);
        ingest.kill();
        ingest.start()?;
        self.compared += compare(&ingest, &members, &sent).context("after another kill")?;
        ensure!(ingest.terminate()?.success(), "the ingest did not end in order");
        no_errors(&ingest)?;
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }
}
