//! Topic patterns: filters whose levels may stand for an asset or a metric.
//!
//! `plant/{asset}/{metric}` is subscribed to as `plant/+/+`. What a level must say is known
//! when the configuration is read, so that the number of series is too.

use std::fmt;

/// A topic filter, with what its named levels say for one device. By default it has no level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topic(Vec<Level>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Is(String),
    Any,
    Rest,
    /// `{asset}`, and what it says for the device's asset.
    Asset(String),
    Metric,
}

/// How a message's topic fits a device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicMatch<'t> {
    /// Not at all.
    No,
    /// But for the level of the asset, which says this.
    OtherAsset(&'t str),
    /// It does. Given is what the level of the metric says, where there is one.
    This(Option<&'t str>),
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum PatternFault {
    /// Not what MQTT takes for a filter.
    Filter,
    /// A brace that is not `{asset}` or `{metric}` as a whole level, each once.
    Brace,
}

impl Topic {
    /// Reads a pattern.
    pub(in crate::config) fn parse(text: &str) -> Result<Self, PatternFault> {
        let level = |level: &str| match level {
            "+" => Ok(Level::Any),
            "#" => Ok(Level::Rest),
            "{asset}" => Ok(Level::Asset(String::new())),
            "{metric}" => Ok(Level::Metric),
            _ if level.contains(['{', '}']) => Err(PatternFault::Brace),
            _ => Ok(Level::Is(level.into())),
        };
        let topic = Self(text.split('/').map(level).collect::<Result<_, _>>()?);
        let count = |kind: fn(&Level) -> bool| topic.0.iter().filter(|level| kind(level)).count();
        if count(|level| matches!(level, Level::Asset(_))) > 1 || count(|level| *level == Level::Metric) > 1 {
            return Err(PatternFault::Brace);
        }
        if text.contains('\0') || !rumqttc::valid_filter(&topic.filter()) {
            return Err(PatternFault::Filter);
        }
        Ok(topic)
    }

    /// Whether a level stands for the asset.
    pub fn has_asset(&self) -> bool {
        self.0.iter().any(|level| matches!(level, Level::Asset(_)))
    }

    /// Whether a level stands for the metric.
    pub fn has_metric(&self) -> bool {
        self.0.contains(&Level::Metric)
    }

    /// The same for one asset, of which its level says `said`.
    pub(in crate::config) fn of_asset(&self, said: &str) -> Self {
        let level = |level: &Level| match level {
            Level::Asset(_) => Level::Asset(said.into()),
            other => other.clone(),
        };
        Self(self.0.iter().map(level).collect())
    }

    /// What is subscribed to.
    pub fn filter(&self) -> String {
        let level = |level: &Level| match level {
            Level::Is(text) => text.clone(),
            Level::Any | Level::Asset(_) | Level::Metric => "+".into(),
            Level::Rest => "#".into(),
        };
        self.0.iter().map(level).collect::<Vec<_>>().join("/")
    }

    /// How a message's topic fits.
    pub fn matches<'t>(&self, topic: &'t str) -> TopicMatch<'t> {
        // Wildcards leave out what the broker says of itself.
        if topic.starts_with('$') && !matches!(self.0.first(), Some(Level::Is(first)) if first.starts_with('$')) {
            return TopicMatch::No;
        }
        let (mut metric, mut other) = (None, None);
        let mut said = topic.split('/');
        for level in &self.0 {
            if *level == Level::Rest {
                return other.map_or(TopicMatch::This(metric), TopicMatch::OtherAsset);
            }
            let Some(said) = said.next() else { return TopicMatch::No };
            match level {
                Level::Is(text) if text != said => return TopicMatch::No,
                Level::Asset(asset) if asset != said => other = Some(said),
                Level::Metric => metric = Some(said),
                _ => {}
            }
        }
        match (said.next(), other) {
            (Some(_), _) => TopicMatch::No,
            (None, Some(other)) => TopicMatch::OtherAsset(other),
            (None, None) => TopicMatch::This(metric),
        }
    }
}

impl fmt::Display for Topic {
    /// For people: the metric's level keeps its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, level) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            match level {
                Level::Is(text) | Level::Asset(text) => f.write_str(text)?,
                Level::Any => f.write_str("+")?,
                Level::Rest => f.write_str("#")?,
                Level::Metric => f.write_str("{metric}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
