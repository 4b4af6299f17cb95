//! Where a password stands: never in the configuration itself.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::base::secret_file;
use super::notation;
use super::section::Section;

/// A secret by the place where it is kept; it is read when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// The first line of a file; closed to others when the configuration was loaded, and not
    /// only surveyed.
    File(PathBuf),
    /// An environment variable of this process; it was set when the configuration was loaded.
    Variable(String),
}

/// Longest secret that is read.
const MAX_BYTES: u64 = 4_096;

impl Secret {
    /// What it is now. The error is a sentence without it.
    pub fn read(&self) -> Result<String, String> {
        match self {
            Self::File(path) => {
                let mut text = String::new();
                let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
                read.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            Self::Variable(name) => {
                std::env::var(name).map_err(|_| format!("the environment variable {name} is not set, or not UTF-8"))
            }
        }
    }
}

/// From `key_file`, or from `key = { env = "NAME" }`. Gives it with its place.
pub(super) fn secret(
    section: &Section<'_>,
    (key, file_key): (&'static str, &'static str),
    folder: &Path,
) -> Option<super::section::At<Secret>> {
    let file = section.text(file_key).map(|file| super::section::At {
        value: Secret::File(secret_file(section, file_key, file, folder)),
        at: file.at,
    });
    let hint = format!("write {key} = {{ env = \"NAME\" }}, or {file_key} = \"…\"");
    let Some(table) = section.secret_section(key, &hint) else { return file };
    let name = table.required("env", &hint);
    table.finish();
    let name = name?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.value.is_empty() || !name.value.bytes().all(is_name) || name.value.as_bytes()[0].is_ascii_digit() {
        // It may be the secret itself.
        section.log.fault(name.at, "`env` is not the name of an environment variable", hint);
        return None;
    }
    if let Some(file) = file {
        section.log.fault(name.at, format!("`{key}` and `{file_key}` exclude each other"), "keep one of the two");
        return Some(file);
    }
    if !std::env::var(name.value).is_ok_and(|value| !value.is_empty()) {
        section.log.fault_on_this_machine(
            name.at,
            format!("the environment variable `{}` is not set, or empty", notation::shown(name.value)),
            "set it for the service: EnvironmentFile= in its unit, with mode 0600",
        );
    }
    Some(super::section::At { value: Secret::Variable(name.value.into()), at: name.at })
}

#[cfg(test)]
mod tests;
