-- Who there is and what was agreed. Times are µs since 1970-01-01T00:00:00Z.
-- Rows are never deleted: a revoked one keeps its place, so that a log entry
-- still finds what it names.

CREATE TABLE firm (
    id       TEXT PRIMARY KEY,
    name_ko  TEXT NOT NULL,
    name_en  TEXT NOT NULL,
    added_us INTEGER NOT NULL,
    -- Raised whenever something changes in what others may read of this firm.
    epoch    INTEGER NOT NULL DEFAULT 0,
    -- It is no more, such as by a merger.
    closed_us INTEGER,
    -- JSON: who may approve for it, and its floor under all its consents. None: nobody, and none.
    officers   TEXT,
    house_rule TEXT
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
    revoked_us INTEGER,
    role       TEXT NOT NULL DEFAULT 'member',
    -- The token is refused from this time on.
    until_us   INTEGER
) STRICT;

CREATE TABLE operator (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    added_us   INTEGER NOT NULL,
    revoked_us INTEGER,
    role       TEXT NOT NULL DEFAULT 'operator'
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
-- Browsers that are signed in, and links that sign one in, by the SHA-256 of cookie or link.
CREATE TABLE browser (
    hash     BLOB PRIMARY KEY,
    kind     TEXT NOT NULL,
    -- None: whoever has a shell on the host.
    person   TEXT,
    begun_us INTEGER NOT NULL,
    seen_us  INTEGER NOT NULL,
    until_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX browser_by_person ON browser (person);

-- Slow hashes of passwords, and the name that each is used with.
CREATE TABLE password (
    person TEXT PRIMARY KEY,
    login  TEXT NOT NULL UNIQUE,
    hash   TEXT NOT NULL,
    set_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whom to call about the gateways of a firm.
CREATE TABLE contact (
    firm   TEXT NOT NULL REFERENCES firm (id),
    part   TEXT NOT NULL,
    name   TEXT NOT NULL,
    phone  TEXT NOT NULL,
    set_us INTEGER NOT NULL,
    PRIMARY KEY (firm, part)
) STRICT, WITHOUT ROWID;

-- The newest note of a visit, and who is on it.
CREATE TABLE care (
    gateway TEXT NOT NULL REFERENCES gateway (id),
    kind    TEXT NOT NULL,
    words   TEXT NOT NULL,
    name    TEXT NOT NULL,
    at_us   INTEGER NOT NULL,
    PRIMARY KEY (gateway, kind)
) STRICT, WITHOUT ROWID;
