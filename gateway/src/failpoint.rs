//! Named steps at which a test ends this process, makes a write fail or a task panic.
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
/// A write that a test may make fail as on a full disk; ends the function with the error.
macro_rules! io_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::write($name)?;
    };
}
/// A place where a test may make a task panic, as a bug would: `NAME=40*off->1*panic`.
macro_rules! panic_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::trip($name);
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

/// Ends the process when the step is asked for.
#[cfg(feature = "failpoints")]
pub(crate) fn pass(name: &str) {
    fail::fail_point!(name, |_| std::process::abort());
}

/// Fails when it is asked for: no room on the device.
#[cfg(feature = "failpoints")]
pub(crate) fn write(name: &str) -> std::io::Result<()> {
    fail::fail_point!(name, |_| Err(rustix::io::Errno::NOSPC.into()));
    Ok(())
}

/// Does what the environment asks for.
#[cfg(feature = "failpoints")]
pub(crate) fn trip(name: &str) {
    fail::fail_point!(name);
}

/// Whether the environment asks for it.
#[cfg(feature = "failpoints")]
pub(crate) fn is_asked_for(name: &str) -> bool {
    fail::fail_point!(name, |_| true);
    false
}
