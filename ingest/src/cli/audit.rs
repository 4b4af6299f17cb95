//! `audit verify` without a store: an exported log against what was kept of it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::Failure;
use super::args::VerifyArgs;
use crate::admin::Refused;
use crate::audit::offline::{Held, Kept, Refuted};

pub(super) fn verify(args: &VerifyArgs) -> Result<Held, Failure> {
    let kept =
        Kept { keys: args.keys.clone(), receipts: statements(&args.receipts)?, proofs: statements(&args.heads)? };
    let mut export = args.file.as_deref().map(open).transpose()?;
    let held = kept.check(export.as_mut().map(|export| export as &mut dyn BufRead));
    held.map_err(|error| Failure::Refused(Refused::new(&error, hint(&error))))
}

fn hint(error: &Refuted) -> &'static str {
    match error {
        Refuted::Kept { .. } => "`audit keys` on the ingest's host, or GET /v1/audit/keys, shows the keys",
        Refuted::Line { .. } => "take what `audit export` writes, or GET /v1/audit?format=ndjson, page by page",
        Refuted::Before { .. } | Refuted::Other { .. } | Refuted::Io(_) => "",
        Refuted::Broken { .. } | Refuted::Forked { .. } | Refuted::CutOff { .. } => {
            "whoever runs the service has to explain this; keep the file, and what was kept, as they are"
        }
    }
}

fn open(path: &Path) -> Result<BufReader<File>, Failure> {
    let failed = |error| Failure::Refused(Refused::new(&format!("{}: {error}", path.display()), ""));
    File::open(path).map(BufReader::new).map_err(failed)
}

/// One JSON object a line, in several files.
fn statements<T: DeserializeOwned>(files: &[impl AsRef<Path>]) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    for path in files {
        let path = path.as_ref();
        for (number, line) in (1..).zip(open(path)?.lines()) {
            let failed = |error: &dyn std::fmt::Display| {
                Failure::Refused(Refused::new(
                    &format!("{}:{number}: {error}", path.display()),
                    "one receipt or head a line, as it was answered",
                ))
            };
            let line = line.map_err(|error| failed(&error))?;
            if !line.trim().is_empty() {
                all.push(serde_json::from_str(&line).map_err(|error| failed(&error))?);
            }
        }
    }
    Ok(all)
}
