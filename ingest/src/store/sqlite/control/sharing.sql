-- Layout 3 to 4: consents with their whole life, who decides on them, and the rules beside them.
ALTER TABLE firm ADD COLUMN closed_us INTEGER;
ALTER TABLE firm ADD COLUMN officers TEXT;
ALTER TABLE firm ADD COLUMN house_rule TEXT;
ALTER TABLE member ADD COLUMN role TEXT NOT NULL DEFAULT 'member';
ALTER TABLE member ADD COLUMN until_us INTEGER;
ALTER TABLE operator ADD COLUMN role TEXT NOT NULL DEFAULT 'operator';

-- Firms that consents can be given to together. JSON, with every roster there was.
CREATE TABLE firm_group (
    id       TEXT PRIMARY KEY,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Consents with their whole life, from the draft on.
CREATE TABLE agreement (
    -- The order in which they were drafted.
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    grantor     TEXT NOT NULL REFERENCES firm (id),
    -- One of the two.
    grantee     TEXT REFERENCES firm (id),
    firm_group  TEXT REFERENCES firm_group (id),
    -- JSON; what a build does not understand denies. Empty once one of its firms was erased.
    document    TEXT NOT NULL,
    -- When it was revoked or relinquished.
    revoked_us  INTEGER,
    -- Held since a restore until the grantor resumes it, and when that comes to nothing.
    restored_us INTEGER,
    until_us    INTEGER
) STRICT;
CREATE INDEX agreement_by_grantor ON agreement (grantor);
CREATE INDEX agreement_by_grantee ON agreement (grantee);
CREATE INDEX agreement_by_group ON agreement (firm_group);

-- Links that make a person the first officer of a firm, once.
CREATE TABLE officer_link (
    token_hash BLOB PRIMARY KEY,
    firm       TEXT NOT NULL REFERENCES firm (id),
    made_us    INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    used_us    INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE alliance (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    rule TEXT NOT NULL
) STRICT;

-- Lots and charges of a firm's machines, by the firm's own numbers.
CREATE TABLE run (
    firm     TEXT NOT NULL REFERENCES firm (id),
    asset    TEXT NOT NULL,
    id       TEXT NOT NULL,
    customer TEXT NOT NULL,
    from_us  INTEGER NOT NULL,
    -- None while it goes on.
    to_us    INTEGER,
    PRIMARY KEY (firm, asset, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_by_time ON run (firm, asset, from_us);
CREATE INDEX run_by_customer ON run (firm, customer);

-- Rows that were read under a consent with a quota on a day, UTC, counted from 1970-01-01.
CREATE TABLE quota_use (
    consent TEXT NOT NULL,
    day     INTEGER NOT NULL,
    rows    INTEGER NOT NULL,
    PRIMARY KEY (consent, day)
) STRICT, WITHOUT ROWID;
