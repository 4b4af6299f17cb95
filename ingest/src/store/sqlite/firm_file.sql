-- One firm's packed readings, format 1.
CREATE TABLE mark (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    inbox BLOB NOT NULL,                        -- uuid of the inbox that `id` counts in
    id    INTEGER NOT NULL,                     -- inbox rows up to here are in this file
    firm  TEXT NOT NULL
) STRICT;

-- A time column shared by the series of a group.
CREATE TABLE block (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    rows    INTEGER NOT NULL,
    times   BLOB NOT NULL,                      -- ascending, pco
    commits BLOB NOT NULL                       -- the commit number of each row, pco
) STRICT;

CREATE TABLE packed (
    id       INTEGER PRIMARY KEY,
    series   INTEGER NOT NULL,                  -- version.number of the inbox
    block    INTEGER NOT NULL REFERENCES block (id),
    first_us INTEGER NOT NULL,
    last_us  INTEGER NOT NULL,
    quality  BLOB NOT NULL,                     -- runs; empty when all are good
    data     BLOB NOT NULL
) STRICT;
CREATE INDEX packed_series ON packed (series, first_us, last_us, block);

CREATE TABLE newest (
    series    INTEGER PRIMARY KEY,
    newest_us INTEGER NOT NULL,
    readings  INTEGER NOT NULL
) STRICT;
