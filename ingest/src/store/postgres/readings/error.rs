//! What the server's errors mean for what was being done.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// Puts a failure of the server into the store's words.
pub(super) fn failed(what: &'static str) -> impl Fn(Error) -> StoreError {
    move |error| StoreError::Engine { what, source: Box::new(error) }
}

/// Whether a statement failed on what it was given and not on the server's state: on its data,
/// on a constraint, or because a trigger said so.
pub(super) fn is_about_data(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        let class = &code.code()[..2];
        class == "22" || class == "23" || *code == SqlState::RAISE_EXCEPTION
    })
}

/// Whether the server may do the same a little later: it is away, starting, full, busy or told
/// to stop; or two transactions waited for each other.
pub(super) fn may_pass(error: &Error) -> bool {
    error.code().is_none_or(|code| matches!(&code.code()[..2], "08" | "25" | "40" | "53" | "55" | "57" | "58"))
}

/// The server's whole sentence: the error alone says "db error".
pub(super) fn sentence(error: &Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => db.to_string(),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
