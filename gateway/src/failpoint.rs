//! Named steps at which a test ends this process, or makes a write fail.
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

/// Whether the environment asks for it.
#[cfg(feature = "failpoints")]
pub(crate) fn is_asked_for(name: &str) -> bool {
    fail::fail_point!(name, |_| true);
    false
}
