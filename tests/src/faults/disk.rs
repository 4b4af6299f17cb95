//! What is done to a spool on disk while its gateway is down. Knows the framing that
//! docs/spool-format.md describes: a header of 64 bytes, then records that begin with
//! `SNDR` and say their length.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::chance::Chance;

const HEADER: usize = 64;
const FRAME: usize = 16;
const MAGIC: &[u8; 4] = b"SNDR";

/// Segments of a spool, oldest first.
pub(super) fn segments(spool: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(spool).with_context(|| format!("{} cannot be listed", spool.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The records of a segment, one behind the other, as far as they are whole.
fn records(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut records = Vec::new();
    let mut at = HEADER;
    while let Some(head) = bytes.get(at..at + FRAME)
        && &head[..4] == MAGIC
    {
        let body = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let end = at + FRAME + body;
        if end > bytes.len() {
            break;
        }
        records.push(at..end);
        at = end;
    }
    records
}

/// Its path, its bytes, where its records are.
type Segment = (PathBuf, Vec<u8>, Vec<Range<usize>>);

/// The newest segment.
fn newest(spool: &Path) -> anyhow::Result<Option<Segment>> {
    let Some(path) = segments(spool)?.pop() else { return Ok(None) };
    let bytes = std::fs::read(&path)?;
    let records = records(&bytes);
    Ok(Some((path, bytes, records)))
}

/// Takes back what a write that was never synced has left: pages of the last record are
/// zero again, all of them or those from some point on.
pub(super) fn lose_last_write(spool: &Path, chance: &mut Chance) -> anyhow::Result<String> {
    let Some((path, mut bytes, records)) = newest(spool)? else { return Ok("no segment".into()) };
    let Some(last) = records.last().cloned() else { return Ok("an empty segment".into()) };
    let from = match chance.below(3) {
        0 => last.start,
        _ => last.start + usize::try_from(chance.below(last.len() as u64))?,
    };
    bytes[from..].fill(0);
    std::fs::write(&path, &bytes)?;
    Ok(format!("zeroed {} from {from}", path.display()))
}

/// Cuts the newest segment short, anywhere behind its header and births.
pub(super) fn truncate(spool: &Path, chance: &mut Chance) -> anyhow::Result<String> {
    let Some((path, bytes, records)) = newest(spool)? else { return Ok("no segment".into()) };
    let (Some(head), Some(last)) = (records.first(), records.last()) else { return Ok("an empty segment".into()) };
    let len = chance.within(head.end as u64..last.end as u64 + 1);
    std::fs::File::options().write(true).open(&path)?.set_len(len)?;
    Ok(format!("cut {} from {} to {len}", path.display(), bytes.len()))
}

/// Flips a few bits: each time in the header, in the births, in a frame or in a body.
pub(super) fn flip_bits(spool: &Path, chance: &mut Chance) -> anyhow::Result<String> {
    let Some((path, mut bytes, records)) = newest(spool)? else { return Ok("no segment".into()) };
    let mut said = Vec::new();
    for _ in 0..=chance.below(3) {
        let within = match (chance.below(5), records.as_slice()) {
            (0, _) | (_, []) => 0..HEADER,
            (1, [births, ..]) => births.clone(),
            (2, _) => {
                let record = chance.one(&records).clone();
                record.start..record.start + FRAME
            }
            _ => {
                let record = chance.one(&records).clone();
                record.start + FRAME..record.end
            }
        };
        let at = usize::try_from(chance.within(within.start as u64..within.end as u64))?;
        bytes[at] ^= 1 << chance.below(8);
        said.push(format!("{at} (record {:?})", records.iter().position(|record| record.contains(&at))));
    }
    std::fs::write(&path, &bytes)?;
    Ok(format!("flipped a bit of {} at {} of {} records", path.display(), said.join(", "), records.len()))
}

/// Copies a directory with all that is below it.
pub(crate) fn copy_dir(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
