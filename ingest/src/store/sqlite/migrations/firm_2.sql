-- From format 1 to format 2. Blocks of format 1 have no slices: they are decoded until they
-- are merged.
CREATE TABLE slices (
    series        INTEGER NOT NULL,
    first_us      INTEGER NOT NULL,
    packed        INTEGER NOT NULL,
    newest_commit INTEGER NOT NULL,
    hold_us       INTEGER NOT NULL,
    stats         BLOB NOT NULL,
    PRIMARY KEY (series, first_us, packed)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup (
    series   INTEGER NOT NULL,
    width_us INTEGER NOT NULL,
    day_us   INTEGER NOT NULL,
    last_us  INTEGER NOT NULL,
    hold_us  INTEGER NOT NULL,
    stats    BLOB NOT NULL,
    PRIMARY KEY (series, width_us, day_us)
) STRICT, WITHOUT ROWID;

CREATE INDEX packed_block ON packed (block);

ALTER TABLE newest ADD COLUMN longest_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE newest ADD COLUMN raw_from_us INTEGER;
ALTER TABLE newest ADD COLUMN minutes_from_us INTEGER;
UPDATE newest SET longest_us =
    (SELECT coalesce(max(last_us - first_us), 0) FROM packed WHERE packed.series = newest.series);
