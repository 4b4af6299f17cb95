-- One firm's packed readings, format 3.
CREATE TABLE mark (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    inbox BLOB NOT NULL,                        -- uuid of the inbox that `id` counts in
    id    INTEGER NOT NULL,                     -- inbox rows up to here are in this file
    firm  TEXT NOT NULL,
    merged INTEGER NOT NULL DEFAULT 0           -- blocks up to here were looked at for merging
) STRICT;

-- A time column shared by the series of a group.
CREATE TABLE block (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    rows    INTEGER NOT NULL,
    times   BLOB NOT NULL,                      -- ascending, pco; empty: in the first chunk
    commits BLOB NOT NULL,                      -- the commit number of each row, pco; likewise
    times_bytes   INTEGER,                      -- of the chunk, from its beginning
    commits_bytes INTEGER                       -- of the chunk, behind them
) STRICT;

-- What is packed of a block, in rows of some pages: id is the block's times 2^20, and a number.
CREATE TABLE chunk (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;

CREATE TABLE packed (
    id       INTEGER PRIMARY KEY,
    series   INTEGER NOT NULL,                  -- version.number of the inbox
    block    INTEGER NOT NULL REFERENCES block (id),
    first_us INTEGER NOT NULL,
    last_us  INTEGER NOT NULL,
    quality  BLOB NOT NULL,                     -- runs; empty when all are good, or in a chunk
    data     BLOB NOT NULL,                     -- empty: in a chunk
    chunk    INTEGER,                           -- number of the block's chunk
    at       INTEGER,                           -- first byte in it
    quality_bytes INTEGER,
    data_bytes    INTEGER                       -- behind the quality
) STRICT;
CREATE INDEX packed_series ON packed (series, first_us, last_us, block);
CREATE INDEX packed_block ON packed (block);

-- What the readings of a packed column come to in each UTC hour, so that hours and days are
-- answered without decoding. Not of texts, nor where an hour has few readings.
CREATE TABLE slices (
    series        INTEGER NOT NULL,
    first_us      INTEGER NOT NULL,             -- of the packed column
    packed        INTEGER NOT NULL,
    newest_commit INTEGER NOT NULL,             -- of its readings
    hold_us       INTEGER NOT NULL,             -- for how long a value was taken to hold
    stats         BLOB NOT NULL,
    PRIMARY KEY (series, first_us, packed)
) STRICT, WITHOUT ROWID;

-- What is left of readings that are past their retention: minutes or hours of one UTC day.
CREATE TABLE rollup (
    series   INTEGER NOT NULL,
    width_us INTEGER NOT NULL,                  -- a minute or an hour
    day_us   INTEGER NOT NULL,                  -- its beginning
    last_us  INTEGER NOT NULL,                  -- the last reading that was counted
    hold_us  INTEGER NOT NULL,                  -- for how long a value was taken to hold
    stats    BLOB NOT NULL,
    PRIMARY KEY (series, width_us, day_us)
) STRICT, WITHOUT ROWID;

CREATE TABLE newest (
    series          INTEGER PRIMARY KEY,
    newest_us       INTEGER NOT NULL,
    readings        INTEGER NOT NULL,
    longest_us      INTEGER NOT NULL DEFAULT 0, -- no packed column spans a longer time
    raw_from_us     INTEGER,                    -- readings before are past their retention; none: none are
    minutes_from_us INTEGER                     -- minutes before, likewise
) STRICT;
