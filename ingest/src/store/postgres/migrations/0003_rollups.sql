-- Hours and minutes that readings were counted in. Beside the readings they save reading them;
-- once these are past their retention, they are what is left.

ALTER TABLE readings.store
    ADD COLUMN erased_commits bigint NOT NULL DEFAULT 0;  -- of firms that are gone: how far a store is never falls

ALTER TABLE readings.firm
    -- Whoever stores readings of a time before it notes their hours in `late`, in the same
    -- transaction, and knows it from the row that gave the commit's number.
    ADD COLUMN closed_us  bigint,
    -- Hours before it are in `rollup`, but for those in `late`.
    ADD COLUMN counted_us bigint;

ALTER TABLE readings.version
    ADD COLUMN raw_from_us bigint,                -- readings before it are gone but for late ones: `rollup` is what is left
    ADD COLUMN newest_us   bigint;                -- of the readings that are gone

CREATE TABLE readings.rollup (
    series_id     integer NOT NULL,              -- version.number
    width_s       integer NOT NULL,              -- 60 or 3600
    hour_us       bigint NOT NULL,               -- the UTC hour that it is of; an hour without a reading has no row
    hold_us       bigint NOT NULL,               -- for how long a value held when it was counted
    newest_commit bigint NOT NULL,
    stats         bytea NOT NULL,                -- the hour, or its minutes, packed
    PRIMARY KEY (series_id, width_s, hour_us)
);

-- Hours that have readings which are not counted. Whoever counts deletes the rows that it sees,
-- so that one which came meanwhile stays.
CREATE TABLE readings.late (
    series_id integer NOT NULL,
    hour_us   bigint NOT NULL
);
CREATE INDEX late_series ON readings.late (series_id, hour_us);
