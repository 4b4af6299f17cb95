//! The store under test, what it was sent, and how the two are compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::sender::{Age, Known, Sender, Sent};
use super::{Kill, Work};
use crate::chance::Chance;
use crate::harness::http::{Asker, Series, rfc3339, time_us};
use crate::harness::{Ingest, PATIENCE, Programs, wait_for};

/// Readings are taken whatever their age, because some firm keeps such; of these firms' old ones
/// minutes and hours are left.
pub(super) const CONFIG: &str = "[retention]\nreadings = \"90d\"\n[retention.firm.archive]\nreadings = \"7000d\"\n";
/// Work that otherwise comes by the hour and by the day comes at once.
const PACKS: &str = "compact.eager=return";
/// The same for retention.
pub(super) const EAGER: &str = "compact.eager=return;retain.eager=return";
/// How long a step may take to come after something was sent that brings it about.
const STEP_COMES: Duration = Duration::from_secs(2);
/// A firm's file before anything is packed in it.
const PACKED_BYTES: u64 = 8_192;
/// Before the first kill, so that there is something to lose.
const FIRST_BATCHES: u64 = 2;

/// One store, and who sends to it.
pub(super) struct Stage {
    pub(super) chance: Chance,
    pub(super) programs: Programs,
    pub(super) ingest: Ingest,
    pub(super) senders: Vec<Sender>,
    pub(super) members: Vec<String>,
    /// How many firms there were, with those that are erased: an id is never another's.
    firms: u32,
    pub(super) compared: u64,
    pub(super) whole: Vec<super::backups::Whole>,
    pub(super) runtime: tokio::runtime::Runtime,
    notes: Vec<String>,
    /// Last: it goes when the programs in it have ended.
    dir: tempfile::TempDir,
}

impl Stage {
    /// An ingest with two firms that have something stored.
    pub(super) fn set(programs: &Programs, seed: u64) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("sandan-kill-").tempdir()?;
        let programs = programs.apart();
        let mut ingest = Ingest::with(&programs, &dir.path().join("ingest"), CONFIG)?;
        let mut chance = Chance::new(seed);
        if chance.percent(30) {
            // It is killed in the making of its files, too.
            programs.set_env("FAILPOINTS", Some("file.made-before-commit=return"));
            ensure!(ingest.start().is_err(), "it started although it was ended");
            programs.set_env("FAILPOINTS", None);
        }
        // Packed files of every firm to begin with.
        programs.set_env("FAILPOINTS", Some(PACKS));
        let started = ingest.start();
        programs.set_env("FAILPOINTS", None);
        started?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut stage = Self {
            chance,
            programs,
            ingest,
            senders: Vec::new(),
            members: Vec::new(),
            firms: 0,
            compared: 0,
            whole: Vec::new(),
            runtime,
            notes: Vec::new(),
            dir,
        };
        stage.add_firm()?;
        stage.add_firm()?;
        for age in Age::ALL {
            for sender in &mut stage.senders {
                (0..FIRST_BATCHES).for_each(|_| sender.make(&mut stage.chance, age));
            }
        }
        stage.send_all()?;
        let firms = stage.path("ingest/data/firms");
        wait_for("both firms to be packed", PATIENCE, || {
            // Longer than a file in which nothing is packed: its log is copied into it after that.
            let is_packed = |name| std::fs::metadata(firms.join(name)).is_ok_and(|file| file.len() > PACKED_BYTES);
            ["1.db", "2.db"].into_iter().all(is_packed).then_some(())
        })?;
        stage.ingest.kill();
        stage.go_on()?;
        Ok(stage)
    }

    /// A firm, its gateway and its member.
    fn add_firm(&mut self) -> anyhow::Result<()> {
        self.firms += 1;
        let firm = format!("firm-{}", self.firms);
        let (sender, member) = enroll(&self.runtime, &self.ingest, &firm, &self.path(&firm))?;
        self.senders.push(sender);
        self.members.push(member);
        Ok(())
    }

    pub(super) fn play(&mut self, kills: &[Kill]) -> anyhow::Result<()> {
        for kill in kills {
            self.note(kill);
            let done = match *kill {
                Kill::At(step, work @ (Work::Packing | Work::Retention)) => self.end_at(step, work),
                Kill::At(step, Work::Erasure) => self.end_erasure_at(step),
                Kill::At(step, Work::Backup) => self.end_backup_at(step),
                Kill::At(step, Work::Restore) => self.end_restore_at(step),
                Kill::At(step, Work::Layout) => self.end_layout_at(step),
                Kill::At(step, Work::Database) => self.end_database_at(step),
                Kill::At(step, Work::Upkeep) => self.end_upkeep_at(step),
                Kill::Amid(Work::Backup | Work::Restore) => self.end_amid_backup(),
                Kill::Amid(_) => self.end_amid(),
            };
            done.with_context(|| kill.to_string())?;
            self.compare().with_context(|| format!("after {kill}"))?;
        }
        self.restore_all().context("what was backed up before")?;
        ensure!(self.ingest.terminate()?.success(), "the ingest did not end in order");
        no_errors(&self.ingest)
    }

    /// Starts the ingest so that it ends at a step, and again so that it does not.
    fn end_at(&mut self, step: &str, work: Work) -> anyhow::Result<()> {
        let passes = match work {
            // The next file that is made is a new firm's.
            _ if step.starts_with("file.") => {
                self.add_firm()?;
                0
            }
            Work::Retention => self.chance.below(6),
            _ => self.chance.below(3),
        };
        self.ingest.kill();
        self.start_hurried(&format!("{EAGER};{step}={passes}*off->return"), |stage| {
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline {
                stage.make_some();
                // It ends at any moment of this.
                let _ = stage.send_all();
                let comes = Instant::now() + STEP_COMES;
                while Instant::now() < comes {
                    if stage.ingest.has_ended() {
                        return Ok(());
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            bail!("the step was never passed {} times", passes + 1)
        })?;
        self.go_on()
    }

    /// Ends it amid the erasing of a firm, which the next start makes up for.
    fn end_erasure_at(&mut self, step: &str) -> anyhow::Result<()> {
        self.add_firm()?;
        self.make_some();
        self.send_all()?;
        let firm = format!("firm-{}", self.firms);
        let erase = ["--json", "erase", &firm, "--yes", &firm];
        self.ingest.kill();
        let mut was_asked = false;
        self.start_hurried(&format!("{PACKS};{step}=return"), |stage| {
            was_asked = true;
            let told = stage.ingest.command(&erase);
            let Err(error) = told else { bail!("the erasing was not cut short") };
            wait_for("the step to be passed", PATIENCE, || stage.ingest.has_ended().then_some(()))
                .with_context(|| format!("the command said: {error:#}"))
        })?;
        ensure!(was_asked, "it ended before it was asked");
        self.senders.pop();
        self.members.pop();
        self.go_on()?;
        let left = self.ingest.command(&erase)?;
        ensure!(left.contains("\"series\":0") && left.contains("\"gateways\":0"), "{firm} has {left}");
        Ok(())
    }

    /// Kills it at any moment of packing and retention.
    fn end_amid(&mut self) -> anyhow::Result<()> {
        self.ingest.kill();
        let after = Duration::from_millis(self.chance.within(20..1_500));
        self.start_hurried(EAGER, |stage| {
            stage.make_some();
            let until = Instant::now() + after;
            // It may end before all is sent: the time is up, whatever it is at.
            let _ = stage.send_until(Some(until));
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
            Ok(())
        })?;
        self.go_on()
    }

    /// Starts it with failpoints. It may end before it is ready: that is what they are for.
    fn start_hurried(
        &mut self,
        failpoints: &str,
        then: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.note(failpoints);
        self.programs.set_env("FAILPOINTS", Some(failpoints));
        let started = self.ingest.start();
        self.programs.set_env("FAILPOINTS", None);
        if started.is_ok() { then(self) } else { Ok(()) }
    }

    /// Starts it as it was, and sends what was not acknowledged.
    pub(super) fn go_on(&mut self) -> anyhow::Result<()> {
        self.ingest.kill();
        self.ingest.start().context("after the kill")?;
        self.send_all().context("what was not acknowledged is sent again")
    }

    pub(super) fn make_some(&mut self) {
        for sender in &mut self.senders {
            for _ in 0..self.chance.within(2..5) {
                let age = *self.chance.one(&Age::ALL);
                sender.make(&mut self.chance, age);
            }
        }
    }

    pub(super) fn send_all(&mut self) -> anyhow::Result<()> {
        self.send_until(None)
    }

    fn send_until(&mut self, until: Option<Instant>) -> anyhow::Result<()> {
        let limit = until.unwrap_or_else(|| Instant::now() + PATIENCE);
        let all = futures::future::try_join_all(self.senders.iter_mut().map(Sender::session));
        self.runtime.block_on(async {
            tokio::time::timeout_at(limit.into(), all).await.context("not everything was acknowledged in time")??;
            Ok(())
        })
    }

    fn compare(&mut self) -> anyhow::Result<()> {
        let stored = compare(&self.ingest, &self.members, &self.sent())?;
        self.compared += stored;
        Ok(())
    }

    /// What every sender has sent until now.
    pub(super) fn sent(&self) -> Vec<(Vec<Known>, Sent)> {
        self.senders.iter().map(|sender| (sender.known.clone(), sender.sent.clone())).collect()
    }

    pub(super) fn compared(&self) -> u64 {
        self.compared
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn note(&mut self, note: impl std::fmt::Display) {
        self.notes.push(note.to_string());
    }

    /// What a person needs who looks for the fault.
    pub(super) fn report(&self) -> String {
        format!("notes:\n{}\n── ingest:\n{}", self.notes.join("\n"), self.ingest.log().tail())
    }
}

/// What ended a start was the kill, and no complaint of the program's own.
pub(super) fn no_errors(ingest: &Ingest) -> anyhow::Result<()> {
    let is_error = |line: &&String| line.starts_with("error:") || line.contains("panicked at");
    match ingest.log().lines().iter().find(is_error) {
        Some(line) => bail!("the ingest said: {line}"),
        None => Ok(()),
    }
}

/// A new firm of an ingest: its gateway, and the token of its member.
pub(super) fn enroll(
    runtime: &tokio::runtime::Runtime,
    ingest: &Ingest,
    firm: &str,
    dir: &Path,
) -> anyhow::Result<(Sender, String)> {
    ingest.add_firm(firm, "회사", "Firm")?;
    let id = format!("{firm}/gw");
    let invitation = ingest.add_gateway(&id)?;
    Ok((runtime.block_on(Sender::enroll(&id, dir, &invitation))?, ingest.add_member(firm, "김하늘")?))
}

/// Compares all that an ingest has with what it was sent; gives how many cells. All of it has
/// to be there, or what is left of it at its age, and nothing else.
pub(super) fn compare(ingest: &Ingest, members: &[String], sent: &[(Vec<Known>, Sent)]) -> anyhow::Result<u64> {
    let mut cells = 0;
    for ((known, sent), token) in sent.iter().zip(members) {
        let asker = ingest.asker(token);
        for known in known {
            let Some(rows) = sent.get(&known.age) else { continue };
            cells += compare_rows(&asker, known, rows).with_context(|| known.series.to_string())?;
        }
    }
    Ok(cells)
}

fn compare_rows(asker: &Asker, known: &Known, rows: &BTreeMap<i64, i64>) -> anyhow::Result<u64> {
    const HOUR_US: i64 = 3_600_000_000;
    let (Some((&first, _)), Some((&last, _))) = (rows.first_key_value(), rows.last_key_value()) else { return Ok(0) };
    let (from, to) = (first.div_euclid(HOUR_US) * HOUR_US, (last.div_euclid(HOUR_US) + 1) * HOUR_US);
    let readings = asker.readings(&known.series, from, to)?;
    let mut before = None;
    for reading in &readings {
        let at = rfc3339(reading.time_us)?;
        ensure!(before.is_none_or(|before| before < reading.time_us), "the reading of {at} is there twice");
        before = Some(reading.time_us);
        let serial = rows.get(&reading.time_us).with_context(|| format!("the reading of {at} was never sent"))?;
        ensure!(reading.value == Some(known.value(*serial)), "the reading of {at} is {:?}", reading.value);
    }
    let mut cells = readings.len() as u64;
    let age = Age::of(first);
    if age == Age::Days {
        ensure!(readings.len() == rows.len(), "{} of {} readings are there", readings.len(), rows.len());
        return Ok(cells);
    }
    // Of older ones minutes and hours are left; of texts nothing.
    let widths: &[(i64, &str)] =
        if age == Age::Months { &[(HOUR_US, "1h"), (HOUR_US / 60, "1m")] } else { &[(HOUR_US, "1h")] };
    for (width_us, bucket) in widths {
        let mut expected = BTreeMap::<i64, [f64; 4]>::new();
        for (time_us, serial) in rows {
            let Some(number) = known.number(*serial) else { return Ok(cells) };
            let [count, sum, min, max] = expected.entry(time_us.div_euclid(*width_us) * width_us).or_insert([
                0.0,
                0.0,
                f64::INFINITY,
                f64::NEG_INFINITY,
            ]);
            *count += 1.0;
            *sum += number;
            *min = min.min(number);
            *max = max.max(number);
        }
        let found = buckets(asker, &known.series, from, to, bucket)?;
        for (start, expected) in &expected {
            let found = found.get(start);
            let at = rfc3339(*start)?;
            ensure!(
                found == Some(expected),
                "the {bucket} of {at} is {found:?}, not {expected:?} (count, sum, min, max)"
            );
        }
        ensure!(
            found.len() == expected.len(),
            "{} stretches of {bucket} are there, not {}",
            found.len(),
            expected.len()
        );
        cells += found.len() as u64;
    }
    Ok(cells)
}

/// Count, sum, min and max of each stretch in which something is.
fn buckets(asker: &Asker, series: &Series, from: i64, to: i64, width: &str) -> anyhow::Result<BTreeMap<i64, [f64; 4]>> {
    let path = format!("{}&bucket={width}&functions=count,sum,min,max&limit=10000", series.path(from, to)?);
    let mut found = BTreeMap::new();
    for bucket in asker.list(&path, "buckets")? {
        let number = |name: &str| bucket[name].as_f64().unwrap_or(f64::NAN);
        if number("count") > 0.0 {
            let all = ["count", "sum", "min", "max"].map(number);
            let twice = found.insert(time_us(&bucket["start"])?, all);
            ensure!(twice.is_none(), "the bucket of {} is there twice", bucket["start"]);
        }
    }
    Ok(found)
}
