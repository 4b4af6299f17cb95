//! Who this gateway is to the ingest: its token, until certificates come.

use std::fmt;
use std::path::{Path, PathBuf};

use tonic::metadata::{Ascii, MetadataValue};

/// Longest token file that is read; a token has 47 characters.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// The gateway's credentials. Never shown.
#[derive(Clone)]
pub struct Identity {
    bearer: MetadataValue<Ascii>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The token file cannot be read.
    #[error("cannot read the token file {path}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token file holds something else.
    #[error("the token file {0} does not hold a gateway token (one line that begins with sgw_)")]
    Form(PathBuf),
}

impl Identity {
    /// Reads the token file: one line, `sgw_…`.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let read = || -> std::io::Result<String> {
            use std::io::Read;
            let mut text = String::new();
            std::fs::File::open(path)?.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text)?;
            Ok(text)
        };
        let text = read().map_err(|source| IdentityError::Read { path: path.to_owned(), source })?;
        let token = text.trim();
        if !token.starts_with("sgw_") || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(IdentityError::Form(path.to_owned()));
        }
        let mut bearer: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_| IdentityError::Form(path.to_owned()))?;
        bearer.set_sensitive(true);
        Ok(Self { bearer })
    }

    /// The value of the `authorization` header.
    pub fn bearer(&self) -> MetadataValue<Ascii> {
        self.bearer.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_is_one_line_and_is_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "sgw_abc\n").unwrap();
        let identity = Identity::load(&path).unwrap();
        assert_eq!(identity.bearer().to_str().unwrap(), "Bearer sgw_abc");
        assert!(!format!("{identity:?} {:?}", identity.bearer()).contains("abc"));
        for bad in ["", "smb_abc", "sgw_a b", "sgw_a\u{7f}"] {
            std::fs::write(&path, bad).unwrap();
            let error = Identity::load(&path).unwrap_err().to_string();
            assert!(error.contains("does not hold a gateway token"), "{error}");
        }
        assert!(Identity::load(&dir.path().join("none")).unwrap_err().to_string().starts_with("cannot read"));
    }
}
