-- The shared inbox, format 3. Every write to it goes through one connection.
CREATE TABLE store (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    uuid     BLOB NOT NULL,   -- names this file; firm files carry it in their mark
    timeline BLOB NOT NULL,
    erased_commits INTEGER NOT NULL DEFAULT 0   -- of firms that are gone: how far a store is never falls
) STRICT;

CREATE TABLE firm (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,  -- names the firm's file
    id      TEXT NOT NULL UNIQUE,
    commits INTEGER NOT NULL DEFAULT 0          -- the last commit number
) STRICT;

CREATE TABLE gateway (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    firm       INTEGER NOT NULL REFERENCES firm (number),
    id         TEXT NOT NULL UNIQUE,
    granted    INTEGER NOT NULL DEFAULT 0,      -- the newest epoch handed out
    used       INTEGER NOT NULL DEFAULT 0,      -- the newest epoch under which a record came; negative once released
    dead_bytes INTEGER NOT NULL DEFAULT 0,      -- kept bytes of dead letters
    fenced_us  INTEGER,                         -- when a Hello of it was last refused as fenced; none: let in since
    let_in     BLOB                             -- a lane of the spool that a release let in, until a record came of it
) STRICT;

CREATE TABLE lane (
    gateway    INTEGER NOT NULL,
    lane       BLOB NOT NULL,
    through    INTEGER NOT NULL,                -- the watermark
    cumulative INTEGER NOT NULL,                -- the lane's reading count at the watermark
    readings   INTEGER NOT NULL,
    newest_us  INTEGER,
    opened_us  INTEGER NOT NULL,
    stored_us  INTEGER NOT NULL,
    named_us   INTEGER NOT NULL DEFAULT 0,      -- when a Hello last named it
    PRIMARY KEY (gateway, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE clock (
    gateway   INTEGER NOT NULL,
    boot      BLOB NOT NULL,
    offset_us INTEGER NOT NULL,
    estimated INTEGER NOT NULL DEFAULT 0,       -- 1: readings under it are uncertain
    fixed     INTEGER NOT NULL DEFAULT 0,       -- 1: a record was stored under it, so it stays
    seen_us   INTEGER NOT NULL DEFAULT 0,       -- when it was last told or used, to the day
    PRIMARY KEY (gateway, boot)
) STRICT, WITHOUT ROWID;

CREATE TABLE births (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    gateway     INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    received_us INTEGER NOT NULL,
    placed      BLOB NOT NULL,                  -- per series the version's number, 4 bytes little-endian; 0: another's
    used_us     INTEGER NOT NULL DEFAULT 0,     -- when a record under them was last packed or told, to the day
    content     BLOB NOT NULL,
    UNIQUE (gateway, hash)
) STRICT;

CREATE TABLE asset (
    firm      INTEGER NOT NULL,
    id        TEXT NOT NULL,
    path      TEXT NOT NULL,
    name_ko   TEXT NOT NULL,
    name_en   TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    PRIMARY KEY (firm, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE series (
    number               INTEGER PRIMARY KEY AUTOINCREMENT,
    firm                 INTEGER NOT NULL,
    asset                TEXT NOT NULL,
    metric               TEXT NOT NULL,
    gateway              INTEGER NOT NULL,      -- the owner
    expected_interval_ms INTEGER NOT NULL,
    UNIQUE (firm, asset, metric)
) STRICT;

CREATE TABLE version (
    number INTEGER PRIMARY KEY AUTOINCREMENT,   -- SeriesNo: what readings are stored under
    series INTEGER NOT NULL REFERENCES series (number),
    unit   TEXT NOT NULL,
    type   INTEGER NOT NULL,
    UNIQUE (series, unit, type)
) STRICT;

CREATE TABLE refused (
    firm    INTEGER NOT NULL,
    gateway INTEGER NOT NULL,
    asset   TEXT NOT NULL,
    metric  TEXT NOT NULL,
    PRIMARY KEY (firm, gateway, asset, metric)
) STRICT, WITHOUT ROWID;

-- One admitted batch, exactly as received. Ids are never used again, so that a
-- firm file's mark stays true.
CREATE TABLE record (
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
    dead_columns BLOB NOT NULL,                 -- ordinals, 4 bytes little-endian each
    uncertain    INTEGER NOT NULL,              -- 1: the offset is estimated, so that good readings are uncertain(clock)
    crc          INTEGER,                       -- CRC-32C of the record; none where it is not known
    payload      BLOB NOT NULL
) STRICT;

CREATE TABLE gap (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    firm           INTEGER NOT NULL,
    gateway        INTEGER NOT NULL,
    lane           BLOB NOT NULL,
    first_sequence INTEGER NOT NULL,
    last_sequence  INTEGER NOT NULL,
    cause          INTEGER NOT NULL,
    from_us        INTEGER,
    to_us          INTEGER,
    readings       INTEGER NOT NULL,
    received_us    INTEGER NOT NULL,
    uncertain      INTEGER NOT NULL DEFAULT 0   -- 1: its times come from an estimated offset
) STRICT;
CREATE INDEX gap_firm ON gap (firm, id);

-- Checksums of records that were packed: a run of one lane, 4 bytes little-endian each.
CREATE TABLE checksum (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    gateway   INTEGER NOT NULL,
    lane      BLOB NOT NULL,
    first     INTEGER NOT NULL,                 -- sequence of the first
    packed_us INTEGER NOT NULL,
    sums      BLOB NOT NULL
) STRICT;
CREATE INDEX checksum_lane ON checksum (gateway, lane, first);

-- Counts of dead letters outlive the letters. What was stored by a retry is no longer in
-- `letters` and `readings`; what was discarded is.
CREATE TABLE dead_total (
    gateway   INTEGER NOT NULL,
    reason    INTEGER NOT NULL,
    letters   INTEGER NOT NULL,
    readings  INTEGER NOT NULL,
    newest_us INTEGER NOT NULL,
    detail    TEXT NOT NULL,
    discarded INTEGER NOT NULL DEFAULT 0,       -- readings among `readings`
    recovered INTEGER NOT NULL DEFAULT 0,       -- readings that a retry stored
    PRIMARY KEY (gateway, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_record (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    gateway     INTEGER NOT NULL,
    lane        BLOB NOT NULL,
    sequence    INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    columns     BLOB,                           -- ordinals that are not stored, 4 bytes little-endian each; empty: all; none: not known
    original    BLOB NOT NULL                   -- the wire message
) STRICT;
CREATE INDEX dead_record_gateway ON dead_record (gateway, id);
CREATE INDEX dead_record_lane ON dead_record (gateway, lane, sequence);

CREATE TABLE dead_letter (
    record   INTEGER NOT NULL REFERENCES dead_record (id),
    ordinal  INTEGER NOT NULL,
    series   INTEGER,                           -- none: the whole record
    count    INTEGER NOT NULL DEFAULT 1,        -- how many columns it stands for
    reason   INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    detail   TEXT NOT NULL,
    PRIMARY KEY (record, ordinal)
) STRICT, WITHOUT ROWID;
