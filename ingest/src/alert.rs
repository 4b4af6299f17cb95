//! Alerts: what of the fleet somebody has to be told, once, and that it is over.
//!
//! The core is pure: conditions and the time come in, and notices go out. It promises that whoever
//! was told of an alert is told of its end exactly once, that what a worse fault above explains is
//! not told at all, and that no storm of faults makes more messages than a bound. Around it stand a
//! queue that outlives a restart, and the ways to people: webhooks and mail. It holds no reading.

mod engine;
mod found;
mod keeper;
mod kind;
mod mail;
mod message;
mod queue;
mod quiet;
mod receiver;
mod webhook;
mod words;

pub use self::engine::{Engine, Event, Notice, Saved, Shown, Timing, Told};
pub use self::keeper::{Courier, Keeper};
pub(crate) use self::keeper::{firing, mute_name, quiet, window_name};
pub use self::kind::{Condition, Kind, Level, Subject};
pub use self::message::{Call, Item, Known, Message};
pub use self::quiet::{
    MAX_MUTE_US, MAX_WINDOW_US, Mute, Quiet, Scope, When, Window, WindowFault, minute_of_day, shown_minute,
};
pub use self::receiver::{Lang, MailTls, Net, Receiver, Relay, Settings, Way, is_public};
pub use self::webhook::{SendError, signature};
pub(crate) use self::{mail::check_address, webhook::Target, webhook::check_secret};
