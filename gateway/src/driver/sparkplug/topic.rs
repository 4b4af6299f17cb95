//! Topics of the Sparkplug namespace.

use std::fmt;

/// The first level of every topic.
pub const NAMESPACE: &str = "spBv1.0";

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic<'t> {
    /// Of an edge node or one of its devices.
    Node {
        /// The group of the node.
        group: &'t str,
        /// The node, unique in its group.
        node: &'t str,
        /// What kind of message it is.
        kind: Kind,
        /// The device; there is one exactly where the kind is one of devices.
        device: Option<&'t str>,
    },
    /// Of a host application: whether it is there.
    State {
        /// The host application.
        host: &'t str,
    },
}

/// The kind of a node's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the words of the specification")]
pub enum Kind {
    NodeBirth,
    NodeDeath,
    NodeData,
    NodeCommand,
    DeviceBirth,
    DeviceDeath,
    DeviceData,
    DeviceCommand,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::NodeBirth,
        Self::NodeDeath,
        Self::NodeData,
        Self::NodeCommand,
        Self::DeviceBirth,
        Self::DeviceDeath,
        Self::DeviceData,
        Self::DeviceCommand,
    ];
    /// What is read: everything but commands, which are for the node.
    pub const READ: [Self; 6] =
        [Self::NodeBirth, Self::NodeDeath, Self::NodeData, Self::DeviceBirth, Self::DeviceDeath, Self::DeviceData];

    /// As it stands in a topic.
    pub fn name(self) -> &'static str {
        match self {
            Self::NodeBirth => "NBIRTH",
            Self::NodeDeath => "NDEATH",
            Self::NodeData => "NDATA",
            Self::NodeCommand => "NCMD",
            Self::DeviceBirth => "DBIRTH",
            Self::DeviceDeath => "DDEATH",
            Self::DeviceData => "DDATA",
            Self::DeviceCommand => "DCMD",
        }
    }

    /// Whether its topic names a device.
    pub fn is_of_device(self) -> bool {
        matches!(self, Self::DeviceBirth | Self::DeviceDeath | Self::DeviceData | Self::DeviceCommand)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads a topic; `None` where it is none of Sparkplug's. No level may be empty.
pub fn parse(topic: &str) -> Option<Topic<'_>> {
    let mut levels = topic.strip_prefix(NAMESPACE)?.strip_prefix('/')?.split('/');
    let mut level = || levels.next().filter(|level| !level.is_empty());
    let first = level()?;
    // No group may be called so.
    if first == "STATE" {
        let host = level()?;
        return levels.next().is_none().then_some(Topic::State { host });
    }
    let kind = level()?;
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
    let node = level()?;
    let device = if kind.is_of_device() { Some(level()?) } else { None };
    levels.next().is_none().then_some(Topic::Node { group: first, node, kind, device })
}

/// The topic filters under which everything comes that a node says, for each kind one:
/// commands of others are not asked for.
pub fn filters(group: &str, node: &str) -> impl Iterator<Item = String> {
    Kind::READ.into_iter().map(move |kind| {
        let devices = if kind.is_of_device() { "/+" } else { "" };
        format!("{NAMESPACE}/{group}/{kind}/{node}{devices}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_topic_is_read() {
        let node = |kind, device| Some(Topic::Node { group: "G 1", node: "n", kind, device });
        assert_eq!(parse("spBv1.0/G 1/NBIRTH/n"), node(Kind::NodeBirth, None));
        assert_eq!(parse("spBv1.0/G 1/NDEATH/n"), node(Kind::NodeDeath, None));
        assert_eq!(parse("spBv1.0/G 1/NDATA/n"), node(Kind::NodeData, None));
        assert_eq!(parse("spBv1.0/G 1/NCMD/n"), node(Kind::NodeCommand, None));
        assert_eq!(parse("spBv1.0/G 1/DBIRTH/n/d"), node(Kind::DeviceBirth, Some("d")));
        assert_eq!(parse("spBv1.0/G 1/DDEATH/n/d"), node(Kind::DeviceDeath, Some("d")));
        assert_eq!(parse("spBv1.0/G 1/DDATA/n/d"), node(Kind::DeviceData, Some("d")));
        assert_eq!(parse("spBv1.0/G 1/DCMD/n/d"), node(Kind::DeviceCommand, Some("d")));
        assert_eq!(parse("spBv1.0/STATE/scada"), Some(Topic::State { host: "scada" }));
    }

    #[test]
    fn what_is_none_is_none() {
        for topic in [
            "",
            "spBv1.0",
            "spBv1.0/",
            "spBv1.0/STATE",
            "spBv1.0/STATE/scada/more",
            "STATE/scada",
            "spAv1.0/g/NDATA/n",
            "spBv1.0/g/NDATA",
            "spBv1.0/g/NDATA/",
            "spBv1.0//NDATA/n",
            "spBv1.0/g/NDATA/n/d",
            "spBv1.0/g/DDATA/n",
            "spBv1.0/g/DDATA/n/",
            "spBv1.0/g/DDATA/n/d/e",
            "spBv1.0/g/ndata/n",
            "spBv1.0x/g/NDATA/n",
        ] {
            assert_eq!(parse(topic), None, "{topic}");
        }
    }

    #[test]
    fn no_filter_asks_for_commands() {
        let filters: Vec<_> = filters("g", "n").collect();
        assert_eq!(filters.len(), 6);
        assert!(filters.contains(&"spBv1.0/g/NDATA/n".into()) && filters.contains(&"spBv1.0/g/DDATA/n/+".into()));
        assert!(!filters.iter().any(|filter| filter.contains("CMD")), "{filters:?}");
    }
}
