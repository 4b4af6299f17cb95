-- Layout 2 to 3: gateways have certificates instead of tokens, so that each is invited anew.
ALTER TABLE gateway RENAME TO gateway_2;

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

INSERT INTO gateway (id, firm, added_us, revoked_us) SELECT id, firm, added_us, revoked_us FROM gateway_2;
DROP TABLE gateway_2;
