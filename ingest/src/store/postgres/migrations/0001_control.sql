-- Who there is and what was agreed. Times are µs since 1970-01-01T00:00:00Z.
-- Rows are never deleted: a revoked one keeps its place, so that a log entry
-- still finds what it names. Names are ordered by their bytes, whatever the database's
-- language, so that both engines list them alike.

CREATE TABLE firm (
    id       text COLLATE "C" PRIMARY KEY,
    name_ko  text NOT NULL,
    name_en  text NOT NULL,
    added_us bigint NOT NULL,
    -- Raised by each grant, suspension, confirmation and revocation of this firm as grantor.
    epoch    bigint NOT NULL DEFAULT 0
);

CREATE TABLE gateway (
    id           text COLLATE "C" PRIMARY KEY,
    firm         text COLLATE "C" NOT NULL REFERENCES firm (id),
    added_us     bigint NOT NULL,
    revoked_us   bigint,
    -- The rest is of the box that is enrolled: SHA-256 of its public key, its newest
    -- certificate, and the SHA-256 of the authority that signed it.
    enrolled_us  bigint,
    key          bytea UNIQUE,
    serial       text,
    not_after_us bigint,
    issuer       bytea
);

-- Keys of boxes whose place was taken. They open nothing again, under any name.
CREATE TABLE dead_key (
    key          bytea PRIMARY KEY,
    gateway      text COLLATE "C" NOT NULL REFERENCES gateway (id),
    not_after_us bigint NOT NULL
);

CREATE TABLE invitation (
    token_hash   bytea PRIMARY KEY,
    gateway      text COLLATE "C" NOT NULL REFERENCES gateway (id),
    invited_us   bigint NOT NULL,
    expires_us   bigint NOT NULL,
    may_replace  boolean NOT NULL,
    -- What it was used for, so that a box whose answer was lost gets the same again.
    used_us      bigint,
    key          bytea,
    serial       text,
    certificate  bytea,
    not_after_us bigint,
    issuer       bytea,
    released     boolean NOT NULL DEFAULT false
);
CREATE INDEX invitation_by_gateway ON invitation (gateway);

CREATE TABLE member (
    id         text COLLATE "C" PRIMARY KEY,
    firm       text COLLATE "C" NOT NULL REFERENCES firm (id),
    name       text COLLATE "C" NOT NULL,
    token_hash bytea NOT NULL UNIQUE,
    added_us   bigint NOT NULL,
    revoked_us bigint
);

CREATE TABLE operator (
    id         text COLLATE "C" PRIMARY KEY,
    name       text COLLATE "C" NOT NULL,
    token_hash bytea NOT NULL UNIQUE,
    added_us   bigint NOT NULL,
    revoked_us bigint
);

CREATE TABLE consent (
    -- The order in which they were granted.
    number       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           text COLLATE "C" NOT NULL UNIQUE,
    grantor      text COLLATE "C" NOT NULL REFERENCES firm (id),
    grantee      text COLLATE "C" NOT NULL REFERENCES firm (id),
    -- JSON with a version; what a build does not understand denies.
    terms        text NOT NULL,
    granted_us   bigint NOT NULL,
    -- Set by a restore from an older state until the grantor confirms.
    suspended_us bigint,
    revoked_us   bigint
);
CREATE INDEX consent_by_grantor ON consent (grantor);

CREATE TABLE audit (
    chain    text COLLATE "C" NOT NULL,
    number   bigint NOT NULL,
    time_us  bigint NOT NULL,
    kind     text NOT NULL,
    actor    text NOT NULL,
    detail   text NOT NULL,
    previous bytea NOT NULL,
    hash     bytea NOT NULL,
    PRIMARY KEY (chain, number)
);

-- Beside the entries, so that one cut off the end is missed. Whoever writes an entry holds
-- the row of its chain until the entry is durable.
CREATE TABLE audit_head (
    chain   text COLLATE "C" PRIMARY KEY,
    number  bigint NOT NULL,
    time_us bigint NOT NULL,
    hash    bytea NOT NULL
);

-- There once the store has a witness outside of it, without which it is not started again.
CREATE TABLE witnessed (
    one      integer PRIMARY KEY CHECK (one = 1),
    since_us bigint NOT NULL
);
