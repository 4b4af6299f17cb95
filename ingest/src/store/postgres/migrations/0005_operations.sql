-- How people sign in at the console, and what they write down beside the fleet. Times are µs since
-- 1970-01-01T00:00:00Z.
-- Browsers that are signed in, and links that sign one in, by the SHA-256 of cookie or link.
CREATE TABLE browser (
    hash     bytea PRIMARY KEY,
    kind     text COLLATE "C" NOT NULL,
    -- None: whoever has a shell on the host.
    person   text COLLATE "C",
    begun_us bigint NOT NULL,
    seen_us  bigint NOT NULL,
    until_us bigint NOT NULL
);
CREATE INDEX browser_by_person ON browser (person);

-- Slow hashes of passwords, and the name that each is used with.
CREATE TABLE password (
    person text COLLATE "C" PRIMARY KEY,
    login  text COLLATE "C" NOT NULL UNIQUE,
    hash   text NOT NULL,
    set_us bigint NOT NULL
);

-- Whom to call about the gateways of a firm.
CREATE TABLE contact (
    firm   text COLLATE "C" NOT NULL REFERENCES firm (id),
    part   text COLLATE "C" NOT NULL,
    name   text NOT NULL,
    phone  text NOT NULL,
    set_us bigint NOT NULL,
    PRIMARY KEY (firm, part)
);

-- The newest note of a visit, and who is on it.
CREATE TABLE care (
    gateway text COLLATE "C" NOT NULL REFERENCES gateway (id),
    kind    text COLLATE "C" NOT NULL,
    words   text NOT NULL,
    name    text NOT NULL,
    at_us   bigint NOT NULL,
    PRIMARY KEY (gateway, kind)
);

-- What alerts remember: who was told of what, messages on their way, and when it is to be quiet. JSON.
CREATE TABLE alerting (
    name text COLLATE "C" PRIMARY KEY,
    body text NOT NULL
);
