-- Layout 4 to 5: how people sign in at the console, and what they write down beside the fleet.

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
