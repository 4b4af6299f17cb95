-- A small installation of layout 1, as its build laid it out.
-- Who there is and what was agreed. Times are µs since 1970-01-01T00:00:00Z.
-- Rows are never deleted: a revoked one keeps its place, so that a log entry
-- still finds what it names.

CREATE TABLE firm (
    id       TEXT PRIMARY KEY,
    name_ko  TEXT NOT NULL,
    name_en  TEXT NOT NULL,
    added_us INTEGER NOT NULL,
    -- Raised by each grant and revocation of this firm as grantor.
    epoch    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE gateway (
    id         TEXT PRIMARY KEY,
    firm       TEXT NOT NULL REFERENCES firm (id),
    token_hash BLOB NOT NULL UNIQUE,
    added_us   INTEGER NOT NULL,
    revoked_us INTEGER
) STRICT;

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

INSERT INTO firm (id, name_ko, name_en, added_us) VALUES ('hanbit', '한빛금형', 'Hanbit Mould', 1);
INSERT INTO gateway (id, firm, token_hash, added_us, revoked_us) VALUES ('hanbit/gw', 'hanbit', x'01', 10, NULL);
INSERT INTO gateway (id, firm, token_hash, added_us, revoked_us) VALUES ('hanbit/old', 'hanbit', x'02', 11, 12);
PRAGMA user_version = 1;
