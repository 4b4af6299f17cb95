//! Statistics of a bucket.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A statistic of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Function {
    Mean,
    Min,
    Max,
    Sum,
    Count,
    First,
    Last,
    /// The mean over time: each value holds until the next reading, or for as long as a
    /// series may be silent.
    TimeMean,
    /// By how much a counter grew, resets and overflows reckoned in.
    Increase,
    /// For how long each state was held: of switches, enumerations and texts.
    Durations,
}

impl Function {
    /// All of them, in the order in which they are printed.
    pub const ALL: [Function; 10] = [
        Function::Mean,
        Function::Min,
        Function::Max,
        Function::Sum,
        Function::Count,
        Function::First,
        Function::Last,
        Function::TimeMean,
        Function::Increase,
        Function::Durations,
    ];

    /// Its word in queries, files and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Function::Mean => "mean",
            Function::Min => "min",
            Function::Max => "max",
            Function::Sum => "sum",
            Function::Count => "count",
            Function::First => "first",
            Function::Last => "last",
            Function::TimeMean => "time_mean",
            Function::Increase => "increase",
            Function::Durations => "durations",
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Function {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|function| function.as_str() == text).ok_or_else(|| {
            let given: String = text.chars().take(40).flat_map(char::escape_debug).collect();
            format!(
                "`{given}` is not a function: mean, min, max, sum, count, first, last, time_mean, increase or durations"
            )
        })
    }
}
