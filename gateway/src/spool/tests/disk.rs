//! A disk in memory that does what disks do when the power goes: of what was not synced it
//! keeps any part, down to pieces of a sector; names come and go in order. And it fails.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::super::files::{Files, Handle};

/// What a disk writes whole or not at all, if all goes well.
const SECTOR: usize = 512;

/// Numbers that a seed gives again: xorshift64*.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % end.max(1)
    }
    pub(super) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }
    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

#[derive(Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Naming {
    Set(PathBuf, usize),
    Remove(PathBuf),
}

#[derive(Debug)]
struct Inner {
    inodes: Vec<Inode>,
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    pending: Vec<Naming>,
    random: Random,
    now: Duration,
    /// One operation in so many fails; 0: none.
    fails: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Open(Disk, usize);

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            inodes: Vec::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            random: Random::new(seed),
            now: Duration::ZERO,
            fails: 0,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub(super) fn fail(&self, one_in: u64) {
        self.inner().fails = one_in;
    }

    pub(super) fn pass(&self, time: Duration) {
        self.inner().now += time;
    }

    /// The power goes and comes again.
    pub(super) fn cut(&self) {
        let mut inner = self.inner();
        let Inner { inodes, live, durable, pending, random, .. } = &mut *inner;
        for inode in inodes {
            for change in std::mem::take(&mut inode.pending) {
                lose_parts(&mut inode.durable, &change, random);
            }
            inode.live.clone_from(&inode.durable);
        }
        let reached = random.index(pending.len() + 1);
        for naming in pending.drain(..).take(reached) {
            name(durable, naming);
        }
        live.clone_from(durable);
    }

    /// Flips one bit of a segment within what is written of it.
    pub(super) fn flip(&self) {
        let mut inner = self.inner();
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "seg");
        let segments: Vec<usize> = inner.live.iter().filter(|(path, _)| is_segment(path)).map(|(_, at)| *at).collect();
        let Some(last) = segments.len().checked_sub(1) else { return };
        let chosen = segments[inner.random.index(last + 1)];
        let written = inner.inodes[chosen].live.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if written == 0 {
            return;
        }
        let (at, bit) = (inner.random.index(written), inner.random.below(8));
        inner.inodes[chosen].live[at] ^= 1 << bit;
        let live = inner.inodes[chosen].live.clone();
        inner.inodes[chosen].durable = live;
    }

    pub(super) fn bytes(&self) -> u64 {
        let inner = self.inner();
        let is_spool = |path: &Path| path.extension().is_some_and(|extension| extension == "seg");
        let sizes = inner.live.iter().filter(|(path, _)| is_spool(path)).map(|(_, at)| inner.inodes[*at].live.len());
        sizes.sum::<usize>() as u64
    }
}

impl Inner {
    fn may_fail(&mut self) -> io::Result<()> {
        if self.fails > 0 && self.random.below(self.fails) == 0 {
            let kind = if self.random.coin() { ErrorKind::StorageFull } else { ErrorKind::Other };
            return Err(io::Error::new(kind, "the disk of the test fails"));
        }
        Ok(())
    }
    fn at(&self, path: &Path) -> io::Result<usize> {
        self.live.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
    fn change(&mut self, at: usize, change: Change) {
        apply(&mut self.inodes[at].live, &change);
        self.inodes[at].pending.push(change);
    }
}

fn name(names: &mut BTreeMap<PathBuf, usize>, naming: Naming) {
    match naming {
        Naming::Set(path, at) => {
            names.insert(path, at);
        }
        Naming::Remove(path) => {
            names.remove(&path);
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, piece) => {
            if bytes.len() < at + piece.len() {
                bytes.resize(at + piece.len(), 0);
            }
            bytes[*at..at + piece.len()].copy_from_slice(piece);
        }
        Change::Size(size) => bytes.resize(*size, 0),
    }
}

fn lose_parts(bytes: &mut Vec<u8>, change: &Change, random: &mut Random) {
    let Change::Write(at, piece) = change else {
        if random.coin() {
            apply(bytes, change);
        }
        return;
    };
    let (all, none) = (random.below(4) == 0, random.below(4) == 0);
    let mut from = 0;
    while from < piece.len() {
        let to = (((at + from) / SECTOR + 1) * SECTOR - at).min(piece.len());
        let kept = match random.below(8) {
            _ if all => to,
            _ if none => from,
            0 => from + random.index(to - from),
            1..4 => from,
            _ => to,
        };
        if kept > from {
            apply(bytes, &Change::Write(at + from, piece[from..kept].to_vec()));
        }
        from = to;
    }
}

impl Files for Disk {
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let inner = self.inner();
        let inside = inner.live.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, at): (&PathBuf, &usize)| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), inner.inodes[*at].live.len() as u64)
        };
        Ok(inside.map(entry).collect())
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Handle>> {
        let at = self.inner().at(path)?;
        Ok(Arc::new(Open(self.clone(), at)))
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Handle>> {
        let mut inner = self.inner();
        inner.may_fail()?;
        if inner.live.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        inner.inodes.push(Inode::default());
        let at = inner.inodes.len() - 1;
        inner.live.insert(path.to_owned(), at);
        inner.pending.push(Naming::Set(path.to_owned(), at));
        Ok(Arc::new(Open(self.clone(), at)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.may_fail()?;
        let at = inner.at(from)?;
        for naming in [Naming::Set(to.to_owned(), at), Naming::Remove(from.to_owned())] {
            name(&mut inner.live, naming.clone());
            inner.pending.push(naming);
        }
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.at(path)?;
        inner.live.remove(path);
        inner.pending.push(Naming::Remove(path.to_owned()));
        Ok(())
    }
    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.may_fail()?;
        for naming in std::mem::take(&mut inner.pending) {
            name(&mut inner.durable, naming);
        }
        Ok(())
    }
    fn now(&self) -> Duration {
        self.inner().now
    }
}

impl Handle for Open {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.inner().inodes[self.1].live.len() as u64)
    }
    fn read_at(&self, bytes: &mut [u8], from: u64) -> io::Result<()> {
        let inner = self.0.inner();
        let from = usize::try_from(from).unwrap();
        let piece = inner.inodes[self.1].live.get(from..from + bytes.len()).ok_or(ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(piece);
        Ok(())
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut inner = self.0.inner();
        let failed = inner.may_fail();
        let written = if failed.is_ok() { bytes.len() } else { inner.random.index(bytes.len()) };
        let change = Change::Write(usize::try_from(at).unwrap(), bytes[..written].to_vec());
        inner.change(self.1, change);
        failed
    }
    fn allocate(&self, size: u64) -> io::Result<()> {
        let mut inner = self.0.inner();
        inner.may_fail()?;
        let size = usize::try_from(size).unwrap().max(inner.inodes[self.1].live.len());
        inner.change(self.1, Change::Size(size));
        Ok(())
    }
    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut inner = self.0.inner();
        inner.may_fail()?;
        inner.change(self.1, Change::Size(usize::try_from(size).unwrap()));
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.0.inner();
        let failed = inner.may_fail();
        let Inner { inodes, random, .. } = &mut *inner;
        let inode = &mut inodes[self.1];
        for change in std::mem::take(&mut inode.pending) {
            if failed.is_ok() {
                apply(&mut inode.durable, &change);
            } else {
                // The kernel forgets what it could not write.
                lose_parts(&mut inode.durable, &change, random);
            }
        }
        failed
    }
    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}
