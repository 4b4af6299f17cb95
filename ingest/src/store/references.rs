//! What the tables of a store have to say of one another, for a deep check: in SQL that both engines
//! understand, on tables that both have. A check gives the places where it does not hold.

/// One thing that holds.
pub(super) struct Reference {
    /// What is wrong where a row comes.
    pub what: &'static str,
    /// Gives places, at most [`MOST`] of them: text in the first column.
    pub sql: &'static str,
}

/// Places that one check names: more do not say more.
const MOST: &str = "10";

/// A check with its bound.
impl Reference {
    pub(super) fn query(&self) -> String {
        format!("{} LIMIT {MOST}", self.sql)
    }
}

/// All of them.
pub(super) const REFERENCES: [Reference; 13] = [
    Reference {
        what: "its firm is not there",
        sql: "SELECT 'gateway ' || id FROM gateway WHERE firm NOT IN (SELECT number FROM firm)",
    },
    Reference {
        what: "its asset is not in the catalogue",
        sql: "SELECT 'series ' || series.number FROM series
              LEFT JOIN asset ON asset.firm = series.firm AND asset.id = series.asset WHERE asset.id IS NULL",
    },
    Reference {
        what: "the gateway that owns it is not there",
        sql: "SELECT 'series ' || number FROM series WHERE gateway NOT IN (SELECT number FROM gateway)",
    },
    Reference {
        what: "its series is not in the catalogue",
        sql: "SELECT 'version ' || number FROM version WHERE series NOT IN (SELECT number FROM series)",
    },
    Reference {
        what: "it has no version: no reading of it can be stored",
        sql: "SELECT 'series ' || number FROM series WHERE number NOT IN (SELECT series FROM version)",
    },
    Reference {
        what: "a lane, births or a clock of it is there, and it is not",
        sql: "SELECT 'gateway ' || gateway FROM
                  (SELECT gateway FROM lane UNION SELECT gateway FROM births UNION SELECT gateway FROM clock) AS named
              WHERE gateway NOT IN (SELECT number FROM gateway)",
    },
    Reference {
        what: "an epoch was used that was never granted",
        sql: "SELECT 'gateway ' || id FROM gateway WHERE used > granted",
    },
    Reference {
        what: "a record of it that is stored lies beyond its watermark, and would be stored again",
        sql: "SELECT DISTINCT 'a lane of gateway ' || lane.gateway FROM checksum
              JOIN lane ON lane.gateway = checksum.gateway AND lane.lane = checksum.lane
              WHERE checksum.first + length(sums) / 4 - 1 > lane.through",
    },
    Reference {
        what: "a gap of it that is stored lies beyond its watermark",
        sql: "SELECT DISTINCT 'a lane of gateway ' || lane.gateway FROM gap
              JOIN lane ON lane.gateway = gap.gateway AND lane.lane = gap.lane WHERE gap.last_sequence > lane.through",
    },
    Reference {
        what: "its gateway is not there",
        sql: "SELECT 'dead record ' || id FROM dead_record WHERE gateway NOT IN (SELECT number FROM gateway)",
    },
    Reference {
        what: "it has no reason",
        sql: "SELECT 'dead record ' || id FROM dead_record WHERE id NOT IN (SELECT record FROM dead_letter)",
    },
    Reference {
        what: "its record is not there",
        sql: "SELECT 'dead letter ' || record FROM dead_letter WHERE record NOT IN (SELECT id FROM dead_record)",
    },
    Reference {
        what: "it is put aside beyond the watermark of its lane",
        sql: "SELECT 'dead record ' || id FROM dead_record
              JOIN lane ON lane.gateway = dead_record.gateway AND lane.lane = dead_record.lane
              WHERE dead_record.sequence > lane.through",
    },
];
