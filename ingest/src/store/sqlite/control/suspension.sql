-- From layout 1 to 2: consents can be suspended, and the store knows that it has a witness.
ALTER TABLE consent ADD COLUMN suspended_us INTEGER;
CREATE TABLE witnessed (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    since_us INTEGER NOT NULL
) STRICT;
