//! Checks an exported log without the service that wrote it, against what was kept of it.

use std::io::{self, BufRead, Read};

use super::seal::{Proof, PublicKey, Receipt, Unsealed};
use super::{Broken, Chain, Entry, Hash, Head, Verifier};

/// Longest line of an export, bytes. An entry has at most two names of every series of a firm.
const MAX_LINE_BYTES: u64 = 8 << 20;

/// What somebody kept of a log. Everything in it is checked.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// The keys that are trusted.
    pub keys: Vec<PublicKey>,
    /// Of answers that were pulled.
    pub receipts: Vec<Receipt>,
    /// Of the log's end at some times.
    pub proofs: Vec<Proof>,
}

/// What holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Held {
    /// Whose log.
    pub chain: Option<Chain>,
    /// The first entry of the file; 0 for an empty one.
    pub first: u64,
    /// The last entry.
    pub last: u64,
    /// The newest entry that something kept names; an end beyond it could be cut off unseen.
    pub shown_to: Option<u64>,
}

/// Why a log is not believed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Refuted {
    #[error("line {line} is no entry of an audit log: {reason}")]
    Line { line: u64, reason: String },
    #[error("line {line}: {broken}")]
    Broken { line: u64, broken: Broken },
    #[error("what was kept of entry {number} of {chain} cannot be used: {unsealed}")]
    Kept { chain: Chain, number: u64, unsealed: Unsealed },
    #[error("what was kept is of the log of {kept}, the file of {file}")]
    Other { kept: Chain, file: Chain },
    #[error("entry {number} is not the one that was kept: the log was written anew")]
    Forked { number: u64 },
    #[error("the log ends at entry {last}, and entry {kept} was kept: its end was cut off")]
    CutOff { last: u64, kept: u64 },
    #[error("the file begins at entry {first}, and entry {kept} was kept: take a file that holds it")]
    Before { first: u64, kept: u64 },
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl Kept {
    /// The places that it names, checked, in order of their numbers.
    fn places(&self) -> Result<Vec<(Chain, u64, Hash)>, Refuted> {
        let mut places = Vec::new();
        for it in &self.receipts {
            let kept = |unsealed| Refuted::Kept { chain: it.chain.clone(), number: it.number, unsealed };
            it.verify(&self.keys).map_err(kept)?;
            places.push((it.chain.clone(), it.number, it.entry));
        }
        for it in &self.proofs {
            let kept = |unsealed| Refuted::Kept { chain: it.chain.clone(), number: it.number, unsealed };
            it.verify(&self.keys).map_err(kept)?;
            places.push((it.chain.clone(), it.number, it.entry));
        }
        places.sort_by(|(chain, number, _), (other, at, _)| (number, chain).cmp(&(at, other)));
        // Two statements of one place in one log cannot both be of the log that there is.
        let forked = places.windows(2).find(|pair| {
            let [(chain, number, hash), (other, at, another)] = pair else { return false };
            chain == other && number == at && hash != another
        });
        match forked.and_then(|pair| pair.first()) {
            Some((_, number, _)) => Err(Refuted::Forked { number: *number }),
            None => Ok(places),
        }
    }

    /// Checks an export, one JSON entry a line, with everything that was kept; none where
    /// only what was kept is to be looked at. A file may begin behind a log's first entry;
    /// it has no holes. Memory is bounded by one line.
    pub fn check(&self, export: Option<&mut dyn BufRead>) -> Result<Held, Refuted> {
        let places = self.places()?;
        let shown_to = places.last().map(|(_, number, _)| *number);
        let Some(export) = export else {
            return Ok(Held { chain: None, first: 0, last: 0, shown_to });
        };
        let mut places = places.into_iter().peekable();
        let (mut verifier, mut first, mut last) = (None::<Verifier>, 0, 0);
        let mut chain = None;
        let (mut text, mut line) = (Vec::new(), 0);
        loop {
            text.clear();
            line += 1;
            if (&mut *export).take(MAX_LINE_BYTES).read_until(b'\n', &mut text)? == 0 {
                break;
            }
            let refused = |reason: String| Refuted::Line { line, reason };
            if text.last() != Some(&b'\n') && text.len() as u64 == MAX_LINE_BYTES {
                return Err(refused(format!("it is longer than {MAX_LINE_BYTES} bytes")));
            }
            let entry: Entry = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
            let verifier = verifier.get_or_insert_with(|| {
                (first, chain) = (entry.number, Some(entry.chain.clone()));
                Verifier::behind(&entry)
            });
            verifier.take(&entry).map_err(|broken| Refuted::Broken { line, broken })?;
            last = entry.number;
            while let Some((kept, number, hash)) = places.next_if(|(_, number, _)| *number <= last) {
                if kept != entry.chain {
                    return Err(Refuted::Other { kept, file: entry.chain });
                }
                match number {
                    0 => {}
                    _ if number < first => return Err(Refuted::Before { first, kept: number }),
                    _ if hash != entry.hash => return Err(Refuted::Forked { number }),
                    _ => {}
                }
            }
        }
        match (places.next(), &chain) {
            (Some((kept, _, _)), Some(file)) if kept != *file => Err(Refuted::Other { kept, file: file.clone() }),
            (Some((_, kept, _)), _) if kept > 0 => Err(Refuted::CutOff { last, kept }),
            _ => Ok(Held { chain, first, last, shown_to }),
        }
    }
}

impl Verifier {
    /// Of a part of a chain that begins with this entry; a first entry has nothing before it.
    fn behind(first: &Entry) -> Self {
        let number = first.number.saturating_sub(1);
        let head = if number == 0 { Head::EMPTY } else { Head { number, hash: first.previous, time_us: i64::MIN } };
        Self { chain: first.chain.clone(), head }
    }
}

#[cfg(test)]
mod tests;
