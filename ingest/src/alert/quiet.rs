//! When nobody wants to be told: mutes, and windows of maintenance.
//!
//! Neither changes what is found: an alert that still lasts when the quiet ends is told then, and the
//! end of one that was told before is told in the midst of it.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use sandan_proto::id::{FirmId, GatewayId};
use serde::{Deserialize, Serialize};

use super::kind::{Kind, Subject};
use crate::time::DAY_US;

/// Where windows recur by the wall clock: factories of one complex stand in one country.
const ZONE: &str = "Asia/Seoul";
/// A mute longer than a month is a rule that was forgotten.
pub const MAX_MUTE_US: i64 = 31 * DAY_US;
/// A window that is longer than a week is no window.
pub const MAX_WINDOW_US: i64 = 7 * DAY_US;
/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;

/// What is to be quiet. Written `all`, `FIRM`, `FIRM/GATEWAY` or `FIRM/GATEWAY:DEVICE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Everything, the service too.
    All,
    /// All of a firm.
    Firm(FirmId),
    /// A gateway and what is behind it.
    Gateway(GatewayId),
    /// One device.
    Device(GatewayId, String),
}

impl Scope {
    /// Whether it covers a subject.
    pub fn covers(&self, subject: &Subject) -> bool {
        match self {
            Scope::All => true,
            Scope::Firm(firm) => subject.firm().as_ref() == Some(firm),
            Scope::Gateway(id) => subject.gateway() == Some(id),
            Scope::Device(id, name) => {
                matches!(subject, Subject::Device { gateway, device } if gateway == id && device == name)
            }
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => f.write_str("all"),
            Scope::Firm(firm) => firm.fmt(f),
            Scope::Gateway(gateway) => gateway.fmt(f),
            Scope::Device(gateway, device) => write!(f, "{gateway}:{device}"),
        }
    }
}

impl FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |error: &dyn fmt::Display| format!("{error}; write all, FIRM, FIRM/GATEWAY or FIRM/GATEWAY:DEVICE");
        if text == "all" {
            return Ok(Scope::All);
        }
        match text.split_once(':') {
            Some((gateway, device)) if !device.is_empty() && !device.chars().any(char::is_control) => {
                let gateway = GatewayId::new(gateway).map_err(|error| wrong(&error))?;
                Ok(Scope::Device(gateway, device.to_owned()))
            }
            Some(_) => Err(wrong(&"there is no device after the colon")),
            None if text.contains('/') => GatewayId::new(text).map(Scope::Gateway).map_err(|error| wrong(&error)),
            None => FirmId::new(text).map(Scope::Firm).map_err(|error| wrong(&error)),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.to_string()
    }
}

/// Somebody knows, and wants to hear no more of it until a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// Its number.
    pub id: u64,
    /// Of what.
    pub scope: Scope,
    /// Only of this; none: of all that is wrong there.
    pub kind: Option<Kind>,
    /// Until when, µs since 1970.
    pub until_us: i64,
    /// Who said so.
    pub by: String,
    /// Why.
    pub why: String,
    /// When, µs since 1970.
    pub made_us: i64,
}

/// When a window is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Once.
    Once {
        /// µs since 1970.
        from_us: i64,
        /// The first time that is no more in it, µs since 1970.
        to_us: i64,
    },
    /// Each week, by the wall clock of Asia/Seoul.
    Weekly {
        /// Days on which it opens, 1 (Monday) to 7 (Sunday).
        days: Vec<i8>,
        /// Minute of the day at which it opens.
        minute: u16,
        /// How long it is open, µs; it may reach into the next days.
        length_us: i64,
    },
}

/// What is wrong with a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowFault {
    /// It ends before it begins.
    #[error("a window ends after it begins")]
    Backwards,
    /// Longer than a week.
    #[error("a window is a week long at most")]
    TooLong,
    /// No day, or none of a week.
    #[error("a window that recurs has days, 1 (Monday) to 7 (Sunday), and a minute of the day")]
    NoDay,
}

impl When {
    /// Fails unless it can be open.
    pub fn check(&self) -> Result<(), WindowFault> {
        let length_us = match self {
            When::Once { from_us, to_us } => to_us.saturating_sub(*from_us),
            When::Weekly { days, minute, length_us } => {
                let known = days.iter().all(|day| (1..=7).contains(day));
                if days.is_empty() || !known || *minute >= DAY_MINUTES {
                    return Err(WindowFault::NoDay);
                }
                *length_us
            }
        };
        match length_us {
            ..=0 => Err(WindowFault::Backwards),
            MAX_WINDOW_US.. => Err(WindowFault::TooLong),
            _ => Ok(()),
        }
    }

    /// Whether it is open at a time, µs since 1970.
    pub fn is_open(&self, now_us: i64) -> bool {
        match self {
            When::Once { from_us, to_us } => (*from_us..*to_us).contains(&now_us),
            When::Weekly { days, minute, length_us } => {
                let Some(now) = wall(now_us) else { return false };
                // The window that is open now opened today or on one of the days that it can reach over.
                (0..=MAX_WINDOW_US / DAY_US).any(|back| {
                    let Ok(day) = now.date().checked_sub(back.days()) else { return false };
                    if !days.contains(&day.weekday().to_monday_one_offset()) {
                        return false;
                    }
                    let (hour, minute) = ((minute / 60).cast_signed(), (minute % 60).cast_signed());
                    let at = day.at(i8::try_from(hour).unwrap_or(0), i8::try_from(minute).unwrap_or(0), 0, 0);
                    let opened = at.to_zoned(now.time_zone().clone()).map(|it| it.timestamp().as_microsecond());
                    opened.is_ok_and(|opened_us| (opened_us..opened_us.saturating_add(*length_us)).contains(&now_us))
                })
            }
        }
    }

    /// Whether it will never be open again.
    pub fn is_over(&self, now_us: i64) -> bool {
        matches!(self, When::Once { to_us, .. } if *to_us <= now_us)
    }
}

fn wall(us: i64) -> Option<Zoned> {
    let zone = TimeZone::get(ZONE).ok()?;
    Timestamp::from_microsecond(us).ok().map(|it| it.to_zoned(zone))
}

/// Work on machines: what fails meanwhile is expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its number.
    pub id: u64,
    /// Where.
    pub scope: Scope,
    /// When.
    pub when: When,
    /// Who said so.
    pub by: String,
    /// Why.
    pub why: String,
    /// When that was, µs since 1970.
    pub made_us: i64,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// In force or over.
    pub mutes: Vec<Mute>,
    /// Open, to come or over.
    pub windows: Vec<Window>,
}

impl Quiet {
    /// Whether nobody is to be told of this now.
    pub fn covers(&self, kind: Kind, subject: &Subject, now_us: i64) -> bool {
        let muted =
            |it: &Mute| now_us < it.until_us && it.kind.is_none_or(|only| only == kind) && it.scope.covers(subject);
        self.mutes.iter().any(muted) || self.is_maintained(subject, now_us)
    }

    /// Whether somebody works on it.
    pub fn is_maintained(&self, subject: &Subject, now_us: i64) -> bool {
        self.windows.iter().any(|it| it.scope.covers(subject) && it.when.is_open(now_us))
    }

    /// Lets go what is over, and gives the numbers of it.
    pub fn forget(&mut self, now_us: i64) -> (Vec<u64>, Vec<u64>) {
        let mutes = self.mutes.extract_if(.., |it| it.until_us <= now_us).map(|it| it.id).collect();
        let windows = self.windows.extract_if(.., |it| it.when.is_over(now_us)).map(|it| it.id).collect();
        (mutes, windows)
    }

    /// A number that none of them has.
    pub fn next_id(&self) -> u64 {
        let ids = self.mutes.iter().map(|it| it.id).chain(self.windows.iter().map(|it| it.id));
        ids.max().unwrap_or(0) + 1
    }
}

/// `09:30`: minute of the day.
pub fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

/// `09:30` of a minute of the day.
pub fn shown_minute(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests;
