-- What belongs to readings but the readings: those tables are made when the store is first
-- opened, as the server can. In a schema of its own: a firm or gateway of the control data is
-- who may deliver, one of these is who did. Times are microseconds since 1970, as everywhere in the
-- service, but for those of readings, which other tools may look at: they are timestamptz.
CREATE SCHEMA readings;

CREATE TABLE readings.store (
    one      integer PRIMARY KEY CHECK (one = 1),
    timeline bytea NOT NULL,
    kept_as  text NOT NULL                       -- 'partitions' or 'hypertables', for as long as the store lives
);

CREATE TABLE readings.firm (
    number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id      text COLLATE "C" NOT NULL UNIQUE,
    commits bigint NOT NULL DEFAULT 0            -- the last commit number
);

CREATE TABLE readings.gateway (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    firm       bigint NOT NULL REFERENCES readings.firm (number),
    id         text COLLATE "C" NOT NULL UNIQUE,
    granted    bigint NOT NULL DEFAULT 0,        -- the newest epoch handed out
    used       bigint NOT NULL DEFAULT 0,        -- the newest epoch under which a record came; negative once released
    dead_bytes bigint NOT NULL DEFAULT 0,        -- kept bytes of dead letters
    fenced_us  bigint,                           -- when a Hello of it was last refused as fenced; none: let in since
    let_in     bytea                             -- a lane of the spool that a release let in, until a record came of it
) WITH (fillfactor = 50);

CREATE TABLE readings.lane (
    gateway    bigint NOT NULL,
    lane       bytea NOT NULL,
    through    bigint NOT NULL,                  -- the watermark
    cumulative bigint NOT NULL,                  -- the lane's reading count at the watermark
    readings   bigint NOT NULL,
    newest_us  bigint,
    opened_us  bigint NOT NULL,
    stored_us  bigint NOT NULL,
    named_us   bigint NOT NULL DEFAULT 0,        -- when a Hello last named it
    PRIMARY KEY (gateway, lane)
) WITH (fillfactor = 50);                        -- rewritten with every commit, on its own page

CREATE TABLE readings.clock (
    gateway   bigint NOT NULL,
    boot      bytea NOT NULL,
    offset_us bigint NOT NULL,
    estimated boolean NOT NULL DEFAULT false,    -- readings under it are uncertain
    fixed     boolean NOT NULL DEFAULT false,    -- a record was stored under it, so it stays
    seen_us   bigint NOT NULL DEFAULT 0,         -- when it was last told or used, to the day
    PRIMARY KEY (gateway, boot)
);

CREATE TABLE readings.births (
    number      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway     bigint NOT NULL,
    hash        bytea NOT NULL,
    received_us bigint NOT NULL,
    placed      bytea NOT NULL,                  -- per series the version's number, 4 bytes little-endian; 0: another's
    used_us     bigint NOT NULL DEFAULT 0,       -- when a record under them was last stored or they were told, to the day
    content     bytea NOT NULL,
    UNIQUE (gateway, hash)
);

CREATE TABLE readings.asset (
    firm      bigint NOT NULL,
    id        text COLLATE "C" NOT NULL,
    path      text NOT NULL,
    name_ko   text NOT NULL,
    name_en   text NOT NULL,
    time_zone text NOT NULL,
    PRIMARY KEY (firm, id)
);

CREATE TABLE readings.series (
    number               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    firm                 bigint NOT NULL,
    asset                text COLLATE "C" NOT NULL,
    metric               text COLLATE "C" NOT NULL,
    gateway              bigint NOT NULL,        -- the owner
    expected_interval_ms bigint NOT NULL,
    UNIQUE (firm, asset, metric)
);

CREATE TABLE readings.version (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- series_id of readings
    series bigint NOT NULL REFERENCES readings.series (number),
    unit   text NOT NULL,
    type   integer NOT NULL,
    UNIQUE (series, unit, type)
);

CREATE TABLE readings.refused (
    firm    bigint NOT NULL,
    gateway bigint NOT NULL,
    asset   text COLLATE "C" NOT NULL,
    metric  text COLLATE "C" NOT NULL,
    PRIMARY KEY (firm, gateway, asset, metric)
);

CREATE TABLE readings.gap (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    firm           bigint NOT NULL,
    gateway        bigint NOT NULL,
    lane           bytea NOT NULL,
    first_sequence bigint NOT NULL,
    last_sequence  bigint NOT NULL,
    cause          integer NOT NULL,
    from_us        bigint,
    to_us          bigint,
    readings       bigint NOT NULL,
    received_us    bigint NOT NULL,
    uncertain      boolean NOT NULL DEFAULT false  -- its times come from an estimated offset
);
CREATE INDEX gap_firm ON readings.gap (firm, id);

-- CRC-32C of the records of one lane in one commit, 4 bytes little-endian each: by these a
-- second record of a number is told from the same record that comes again.
CREATE TABLE readings.checksum (
    gateway   bigint NOT NULL,
    lane      bytea NOT NULL,
    first     bigint NOT NULL,                   -- sequence of the first
    stored_us bigint NOT NULL,
    sums      bytea NOT NULL
);
CREATE INDEX checksum_lane ON readings.checksum (gateway, lane, first);
CREATE INDEX checksum_stored ON readings.checksum USING brin (stored_us);

-- Counts of dead letters outlive the letters. What was stored by a retry is no longer in
-- `letters` and `readings`; what was discarded is.
CREATE TABLE readings.dead_total (
    gateway   bigint NOT NULL,
    reason    integer NOT NULL,
    letters   bigint NOT NULL,
    readings  bigint NOT NULL,
    newest_us bigint NOT NULL,
    detail    text NOT NULL,
    discarded bigint NOT NULL DEFAULT 0,         -- readings among `readings`
    recovered bigint NOT NULL DEFAULT 0,         -- readings that a retry stored
    PRIMARY KEY (gateway, reason)
);

CREATE TABLE readings.dead_record (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway     bigint NOT NULL,
    lane        bytea NOT NULL,
    sequence    bigint NOT NULL,
    received_us bigint NOT NULL,
    columns     bytea NOT NULL,                  -- ordinals that are not stored, 4 bytes little-endian each; empty: all
    original    bytea NOT NULL                   -- the wire message
);
CREATE INDEX dead_record_gateway ON readings.dead_record (gateway, id);
CREATE INDEX dead_record_lane ON readings.dead_record (gateway, lane, sequence);

CREATE TABLE readings.dead_letter (
    record   bigint NOT NULL REFERENCES readings.dead_record (id) ON DELETE CASCADE,
    ordinal  integer NOT NULL,
    series   bigint,                             -- index in the births; none: the whole record
    count    bigint NOT NULL DEFAULT 1,          -- how many columns it stands for
    reason   integer NOT NULL,
    readings bigint NOT NULL,
    detail   text NOT NULL,
    PRIMARY KEY (record, ordinal)
);
