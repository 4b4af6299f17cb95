-- Who there is and what was agreed. Times are µs since 1970-01-01T00:00:00Z.
-- Rows are never deleted: a revoked one keeps its place, so that a log entry
-- still finds what it names.

CREATE TABLE firm (
    id       TEXT PRIMARY KEY,
    name_ko  TEXT NOT NULL,
    name_en  TEXT NOT NULL,
    added_us INTEGER NOT NULL,
    -- Raised by each grant, suspension, confirmation and revocation of this firm as grantor.
    epoch    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE gateway (
    id           TEXT PRIMARY KEY,
    firm         TEXT NOT NULL REFERENCES firm (id),
    added_us     INTEGER NOT NULL,
    revoked_us   INTEGER,
    -- The rest is of the box that is enrolled: SHA-256 of its public key, its newest
    -- certificate, and the SHA-256 of the authority that signed it.
    enrolled_us  INTEGER,
    key          BLOB UNIQUE,
    serial       TEXT,
    not_after_us INTEGER,
    issuer       BLOB
) STRICT;

-- Keys of boxes whose place was taken. They open nothing again, under any name.
CREATE TABLE dead_key (
    key          BLOB PRIMARY KEY,
    gateway      TEXT NOT NULL REFERENCES gateway (id),
    not_after_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE invitation (
    token_hash  BLOB PRIMARY KEY,
    gateway     TEXT NOT NULL REFERENCES gateway (id),
    invited_us  INTEGER NOT NULL,
    expires_us  INTEGER NOT NULL,
    may_replace INTEGER NOT NULL,
    -- What it was used for, so that a box whose answer was lost gets the same again.
    used_us     INTEGER,
    key         BLOB,
    serial      TEXT,
    certificate BLOB,
    not_after_us INTEGER,
    issuer      BLOB,
    released    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX invitation_by_gateway ON invitation (gateway);

CREATE TABLE member (
    id         TEXT PRIMARY KEY,
    firm       TEXT NOT NULL REFERENCES firm (id),
    name       TEXT NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    added_us   INTEGER NOT NULL,
    revoked_us INTEGER
) STRICT;

CREATE TABLE operator (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    added_us   INTEGER NOT NULL,
    revoked_us INTEGER
) STRICT;

CREATE TABLE consent (
    -- The order in which they were granted.
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    grantor    TEXT NOT NULL REFERENCES firm (id),
    grantee    TEXT NOT NULL REFERENCES firm (id),
    -- JSON with a version; what a build does not understand denies.
    terms      TEXT NOT NULL,
    granted_us INTEGER NOT NULL,
    -- Set by a restore from an older state until the grantor confirms.
    suspended_us INTEGER,
    revoked_us INTEGER
) STRICT;
CREATE INDEX consent_by_grantor ON consent (grantor);

CREATE TABLE audit (
    chain    TEXT NOT NULL,
    number   INTEGER NOT NULL,
    time_us  INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    actor    TEXT NOT NULL,
    detail   TEXT NOT NULL,
    previous BLOB NOT NULL,
    hash     BLOB NOT NULL,
    PRIMARY KEY (chain, number)
) STRICT, WITHOUT ROWID;

-- Beside the entries, so that one cut off the end is missed.
CREATE TABLE audit_head (
    chain   TEXT PRIMARY KEY,
    number  INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    hash    BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- There once the store has a witness outside of it, without which it is not started again.
CREATE TABLE witnessed (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    since_us INTEGER NOT NULL
) STRICT;
