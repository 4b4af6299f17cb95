//! Births: what the series of a gateway are, named by a hash.
//!
//! Every batch names its births by hash, so a backlog that was sealed under
//! yesterday's configuration stays readable. The content travels and is kept as
//! bytes: the hash is of what was sent, not of a re-encoding.

use bytes::Bytes;
use prost::Message;

use crate::id::{AssetId, BirthsHash, IdError, MetricId};
use crate::limits::{MAX_MESSAGE_BYTES, MAX_SERIES, MAX_TEXT_BYTES};
use crate::reading::ValueType;
use crate::v1;

/// The content of one message, less the hash and the frame around it.
const MAX_CONTENT_BYTES: usize = MAX_MESSAGE_BYTES - 1024;

/// A checked set of births with its hash and the bytes it was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Births {
    hash: BirthsHash,
    content: Bytes,
    /// The machines.
    pub assets: Vec<Asset>,
    /// The PLCs and instruments.
    pub devices: Vec<Device>,
    /// What batches refer to by index.
    pub series: Vec<Series>,
}

/// A machine that numbers are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Stable within the firm.
    pub id: AssetId,
    /// Site, line and machine: `plant-1/furnace-2/zone-3`.
    pub path: String,
    /// Korean name; may be empty.
    pub name_ko: String,
    /// English name; may be empty.
    pub name_en: String,
    /// IANA time zone; may be empty, then UTC.
    pub time_zone: String,
}

/// A PLC or instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The name in the gateway's configuration.
    pub name: String,
    /// Protocol and place, without credentials.
    pub address: String,
}

/// One series as the gateway declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Index into [`Births::assets`].
    pub asset: usize,
    /// Index into [`Births::devices`].
    pub device: usize,
    /// What is measured.
    pub metric: MetricId,
    /// UCUM unit; empty for a state or a text.
    pub unit: String,
    /// The type of its values.
    pub value_type: ValueType,
    /// Longest time between two readings while all is well, in milliseconds; 0 when unknown.
    pub expected_interval_ms: u32,
    /// The signal's name in the gateway's configuration.
    pub signal: String,
    /// Where a counter begins at 0 again, in its unit; `None` when unknown.
    pub wrap: Option<f64>,
}

/// Why births were refused.
#[derive(Debug, thiserror::Error)]
pub enum BirthsError {
    /// The hash is not that of the content.
    #[error("births hash {given} is not that of the content, {actual}")]
    Hash {
        /// What the message said.
        given: BirthsHash,
        /// What the content hashes to.
        actual: BirthsHash,
    },
    /// Not a `BirthSet` message.
    #[error("births are not a BirthSet message")]
    Undecodable(#[from] prost::DecodeError),
    /// A hash of another length, an asset or metric name against the rules.
    #[error("births hold an id that is not one")]
    Id(#[from] IdError),
    /// More series, assets or devices than a gateway may declare.
    #[error("births declare {0} series, assets or devices, more than {MAX_SERIES}")]
    TooMany(usize),
    /// Larger than a message may be.
    #[error("births take {0} bytes, more than {MAX_CONTENT_BYTES}")]
    TooLarge(usize),
    /// A string with NUL or too long.
    #[error("births hold a {0} with NUL or of more than {MAX_TEXT_BYTES} bytes")]
    Text(&'static str),
    /// An index that points nowhere.
    #[error("series {series} points at {what} {index}, which is not there")]
    Index {
        /// The series' own index.
        series: usize,
        /// `asset` or `device`.
        what: &'static str,
        /// Where it points.
        index: u32,
    },
    /// A value type that this build does not know.
    #[error("series {0} has an unknown value type")]
    ValueType(usize),
    /// The same asset id, or the same asset and metric, twice.
    #[error("births name {0} twice")]
    Twice(String),
}

impl Births {
    /// Checks a set and gives it its hash.
    pub fn new(set: &v1::BirthSet) -> Result<Self, BirthsError> {
        Self::from_content(set.encode_to_vec().into())
    }

    /// Checks births from outside.
    pub fn from_wire(births: v1::Births) -> Result<Self, BirthsError> {
        let given = BirthsHash::from_bytes(&births.hash)?;
        let actual = BirthsHash::of(&births.content);
        if given != actual {
            return Err(BirthsError::Hash { given, actual });
        }
        Self::from_content(births.content)
    }

    /// Checks content that was kept.
    pub fn from_content(content: Bytes) -> Result<Self, BirthsError> {
        if content.len() > MAX_CONTENT_BYTES {
            return Err(BirthsError::TooLarge(content.len()));
        }
        let set = v1::BirthSet::decode(content.clone())?;
        let most = set.series.len().max(set.assets.len()).max(set.devices.len());
        if most > MAX_SERIES {
            return Err(BirthsError::TooMany(most));
        }
        let mut seen = std::collections::HashSet::new();
        let assets = set
            .assets
            .into_iter()
            .map(|asset| {
                let id = AssetId::new(&asset.id)?;
                if !seen.insert(id.to_string()) {
                    return Err(BirthsError::Twice(format!("asset {id}")));
                }
                Ok(Asset {
                    id,
                    path: text("path", asset.path)?,
                    name_ko: text("name", asset.name_ko)?,
                    name_en: text("name", asset.name_en)?,
                    time_zone: text("time zone", asset.time_zone)?,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let devices = set
            .devices
            .into_iter()
            .map(|device| {
                Ok(Device { name: text("device name", device.name)?, address: text("device address", device.address)? })
            })
            .collect::<Result<Vec<_>, BirthsError>>()?;
        let mut seen = std::collections::HashSet::new();
        let series = set
            .series
            .into_iter()
            .enumerate()
            .map(|(index, series)| {
                let at = |what, points_at: u32, len| {
                    let position = points_at as usize;
                    (position < len).then_some(position).ok_or(BirthsError::Index {
                        series: index,
                        what,
                        index: points_at,
                    })
                };
                let value_type = series.value_type();
                let checked = Series {
                    asset: at("asset", series.asset, assets.len())?,
                    device: at("device", series.device, devices.len())?,
                    metric: MetricId::new(&series.metric)?,
                    unit: text("unit", series.unit)?,
                    value_type,
                    expected_interval_ms: series.expected_interval_ms,
                    signal: text("signal name", series.signal)?,
                    wrap: (series.wrap.is_finite() && series.wrap > 0.0).then_some(series.wrap),
                };
                if value_type == ValueType::Unspecified {
                    return Err(BirthsError::ValueType(index));
                }
                if !seen.insert((checked.asset, checked.metric.clone())) {
                    return Err(BirthsError::Twice(format!("{}/{}", assets[checked.asset].id, checked.metric)));
                }
                Ok(checked)
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { hash: BirthsHash::of(&content), content, assets, devices, series })
    }

    /// The hash by which batches name this set.
    pub fn hash(&self) -> BirthsHash {
        self.hash
    }
    /// The bytes that the hash is of.
    pub fn content(&self) -> &Bytes {
        &self.content
    }
    /// As a wire message.
    pub fn to_wire(&self) -> v1::Births {
        v1::Births { hash: self.hash.as_bytes().to_vec(), content: self.content.clone() }
    }
}

fn text(what: &'static str, text: String) -> Result<String, BirthsError> {
    if text.len() > MAX_TEXT_BYTES || text.contains('\0') {
        return Err(BirthsError::Text(what));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> v1::BirthSet {
        v1::BirthSet {
            assets: vec![v1::Asset { id: "press-1".into(), path: "plant-1/press-1".into(), ..v1::Asset::default() }],
            devices: vec![v1::Device { name: "plc-1".into(), address: "modbus-tcp 10.0.0.5:502 unit 1".into() }],
            series: vec![v1::Series {
                metric: "pressure".into(),
                unit: "MPa".into(),
                value_type: ValueType::F64.into(),
                signal: "p".into(),
                ..v1::Series::default()
            }],
        }
    }

    #[test]
    fn births_survive_the_wire_and_keep_their_hash() {
        let births = Births::new(&set()).unwrap();
        assert_eq!(Births::from_wire(births.to_wire()).unwrap(), births);
    }

    #[test]
    fn broken_births_are_refused_by_name() {
        let refused = |change: fn(&mut v1::BirthSet)| {
            let mut set = set();
            change(&mut set);
            Births::new(&set).unwrap_err().to_string()
        };
        assert_eq!(refused(|set| set.series[0].asset = 1), "series 0 points at asset 1, which is not there");
        assert_eq!(refused(|set| set.series[0].device = 7), "series 0 points at device 7, which is not there");
        assert_eq!(refused(|set| set.series[0].value_type = 99), "series 0 has an unknown value type");
        assert_eq!(refused(|set| set.series.push(set.series[0].clone())), "births name press-1/pressure twice");
        assert_eq!(refused(|set| set.assets.push(set.assets[0].clone())), "births name asset press-1 twice");
        assert_eq!(
            refused(|set| set.assets[0].path = "a\0".into()),
            "births hold a path with NUL or of more than 1024 bytes"
        );
        assert_eq!(refused(|set| set.series[0].metric = "Druck".into()), "births hold an id that is not one");
        let mut forged = Births::new(&set()).unwrap().to_wire();
        forged.hash[0] ^= 1;
        assert!(matches!(Births::from_wire(forged), Err(BirthsError::Hash { .. })));
    }
}
