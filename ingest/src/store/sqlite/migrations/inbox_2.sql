-- From format 1 to format 2.
ALTER TABLE gateway ADD COLUMN fenced_us INTEGER;
ALTER TABLE gateway ADD COLUMN let_in BLOB;

-- Under format 1 the first offset of a boot stayed.
ALTER TABLE clock ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clock ADD COLUMN fixed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clock ADD COLUMN seen_us INTEGER NOT NULL DEFAULT 0;
UPDATE clock SET fixed = 1, seen_us = unixepoch() * 1000000;

ALTER TABLE births ADD COLUMN used_us INTEGER NOT NULL DEFAULT 0;
UPDATE births SET used_us = unixepoch() * 1000000;
ALTER TABLE lane ADD COLUMN named_us INTEGER NOT NULL DEFAULT 0;
UPDATE lane SET named_us = unixepoch() * 1000000;
ALTER TABLE gap ADD COLUMN uncertain INTEGER NOT NULL DEFAULT 0;

-- A column behind the payload would be read through the whole payload: the rows move.
-- The numbering goes on, as firm files' marks count on it.
CREATE TABLE record_2 (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    firm         INTEGER NOT NULL,
    gateway      INTEGER NOT NULL,
    lane         BLOB NOT NULL,
    sequence     INTEGER NOT NULL,
    births       INTEGER NOT NULL,
    boot         BLOB NOT NULL,
    offset_us    INTEGER NOT NULL,
    cumulative   INTEGER NOT NULL,
    commit_no    INTEGER NOT NULL,
    received_us  INTEGER NOT NULL,
    first_us     INTEGER NOT NULL,
    last_us      INTEGER NOT NULL,
    readings     INTEGER NOT NULL,
    dead_columns BLOB NOT NULL,
    uncertain    INTEGER NOT NULL,
    crc          INTEGER,
    payload      BLOB NOT NULL
) STRICT;
INSERT INTO record_2
SELECT id, firm, gateway, lane, sequence, births, boot, offset_us, cumulative, commit_no, received_us,
       first_us, last_us, readings, dead_columns, 0, NULL, payload
FROM record;
DELETE FROM sqlite_sequence WHERE name = 'record_2';
INSERT INTO sqlite_sequence (name, seq) SELECT 'record_2', seq FROM sqlite_sequence WHERE name = 'record';
DROP TABLE record;
ALTER TABLE record_2 RENAME TO record;

CREATE TABLE checksum (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    gateway   INTEGER NOT NULL,
    lane      BLOB NOT NULL,
    first     INTEGER NOT NULL,
    packed_us INTEGER NOT NULL,
    sums      BLOB NOT NULL
) STRICT;
CREATE INDEX checksum_lane ON checksum (gateway, lane, first);

ALTER TABLE dead_total ADD COLUMN discarded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead_total ADD COLUMN recovered INTEGER NOT NULL DEFAULT 0;

ALTER TABLE dead_letter ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
ALTER TABLE dead_record ADD COLUMN columns BLOB;
CREATE INDEX dead_record_lane ON dead_record (gateway, lane, sequence);
-- Which columns were not stored is known of what was not packed yet, and of what has one
-- letter for the whole record.
UPDATE dead_record SET columns = x''
WHERE 1 = (SELECT count(*) FROM dead_letter WHERE record = id AND series IS NULL AND detail NOT LIKE 'further columns%')
  AND 1 = (SELECT count(*) FROM dead_letter WHERE record = id);
UPDATE dead_record SET columns = record.dead_columns
FROM record
WHERE record.gateway = dead_record.gateway AND record.lane = dead_record.lane AND record.sequence = dead_record.sequence;
