//! Named steps at which a test ends this process, or hurries it.
//!
//! Without the feature `failpoints` nothing of this is compiled in. With it, a step does
//! nothing until the environment variable `FAILPOINTS` names it:
//! `FAILPOINTS='spool.written-before-sync=2*off->return'` ends the process at the third
//! pass. docs/reliability.md lists the steps; a test compares the list with the code.

/// A step between two others. A test may end the process here, as `kill -9` would.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::pass($name);
    };
}
/// Whether a test asks for something that otherwise comes seldom.
#[cfg(feature = "failpoints")]
macro_rules! is_hurried {
    ($name:literal) => {
        $crate::failpoint::is_asked_for($name)
    };
}
#[cfg(not(feature = "failpoints"))]
macro_rules! is_hurried {
    ($name:literal) => {
        false
    };
}

/// A payload as it is stored: as it came, unless a test asks for a store that is broken.
#[cfg(feature = "failpoints")]
macro_rules! kept {
    ($payload:expr) => {
        $crate::failpoint::spoilt(&$payload)
    };
}
#[cfg(not(feature = "failpoints"))]
macro_rules! kept {
    ($payload:expr) => {
        $payload
    };
}

/// A test of the tests: a store that keeps nothing of a record, or all of it twice.
#[cfg(feature = "failpoints")]
pub(crate) fn spoilt(payload: &bytes::Bytes) -> bytes::Bytes {
    let (forgets, doubles) = (is_hurried!("broken.forgets-a-record"), is_hurried!("broken.doubles-a-record"));
    match sandan_proto::batch::decode(payload) {
        Ok(groups) if forgets => sandan_proto::batch::encode(&groups[..0]),
        Ok(groups) if doubles => sandan_proto::batch::encode(&[groups.clone(), groups].concat()),
        _ => payload.clone(),
    }
}

/// Ends the process when the step is asked for.
#[cfg(feature = "failpoints")]
pub(crate) fn pass(name: &str) {
    fail::fail_point!(name, |_| std::process::abort());
}

/// Whether the environment asks for it.
#[cfg(feature = "failpoints")]
pub(crate) fn is_asked_for(name: &str) -> bool {
    fail::fail_point!(name, |_| true);
    false
}
