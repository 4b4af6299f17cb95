-- Consents with their whole life, who decides on them, and the rules beside them. Times are
-- µs since 1970-01-01T00:00:00Z.
ALTER TABLE firm ADD COLUMN closed_us bigint;
ALTER TABLE firm ADD COLUMN officers text;
ALTER TABLE firm ADD COLUMN house_rule text;
ALTER TABLE member ADD COLUMN role text NOT NULL DEFAULT 'member';
ALTER TABLE member ADD COLUMN until_us bigint;
ALTER TABLE operator ADD COLUMN role text NOT NULL DEFAULT 'operator';

-- Firms that consents can be given to together. JSON, with every roster there was.
CREATE TABLE firm_group (
    id       text COLLATE "C" PRIMARY KEY,
    document text NOT NULL
);

-- Consents with their whole life, from the draft on.
CREATE TABLE agreement (
    -- The order in which they were drafted.
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          text COLLATE "C" NOT NULL UNIQUE,
    grantor     text COLLATE "C" NOT NULL REFERENCES firm (id),
    -- One of the two.
    grantee     text COLLATE "C" REFERENCES firm (id),
    firm_group  text COLLATE "C" REFERENCES firm_group (id),
    -- JSON; what a build does not understand denies. Empty once one of its firms was erased.
    document    text NOT NULL,
    -- When it was revoked or relinquished.
    revoked_us  bigint,
    -- Held since a restore until the grantor resumes it, and when that comes to nothing.
    restored_us bigint,
    until_us    bigint
);
CREATE INDEX agreement_by_grantor ON agreement (grantor);
CREATE INDEX agreement_by_grantee ON agreement (grantee);
CREATE INDEX agreement_by_group ON agreement (firm_group);

-- Links that make a person the first officer of a firm, once.
CREATE TABLE officer_link (
    token_hash bytea PRIMARY KEY,
    firm       text COLLATE "C" NOT NULL REFERENCES firm (id),
    made_us    bigint NOT NULL,
    expires_us bigint NOT NULL,
    used_us    bigint
);

CREATE TABLE alliance (
    one  integer PRIMARY KEY CHECK (one = 1),
    rule text NOT NULL
);

-- Lots and charges of a firm's machines, by the firm's own numbers.
CREATE TABLE run (
    firm     text COLLATE "C" NOT NULL REFERENCES firm (id),
    asset    text COLLATE "C" NOT NULL,
    id       text COLLATE "C" NOT NULL,
    customer text COLLATE "C" NOT NULL,
    from_us  bigint NOT NULL,
    -- None while it goes on.
    to_us    bigint,
    PRIMARY KEY (firm, asset, id)
);
CREATE INDEX run_by_time ON run (firm, asset, from_us);
CREATE INDEX run_by_customer ON run (firm, customer);

-- Rows that were read under a consent with a quota on a day, UTC, counted from 1970-01-01.
CREATE TABLE quota_use (
    consent text COLLATE "C" NOT NULL,
    day     bigint NOT NULL,
    rows    bigint NOT NULL,
    PRIMARY KEY (consent, day)
);
