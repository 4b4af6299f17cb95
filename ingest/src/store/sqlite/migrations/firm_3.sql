-- From format 2 to format 3. What is packed in rows of its own stays there until it is merged.
CREATE TABLE chunk (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;

ALTER TABLE block ADD COLUMN times_bytes INTEGER;
ALTER TABLE block ADD COLUMN commits_bytes INTEGER;
ALTER TABLE packed ADD COLUMN chunk INTEGER;
ALTER TABLE packed ADD COLUMN at INTEGER;
ALTER TABLE packed ADD COLUMN quality_bytes INTEGER;
ALTER TABLE packed ADD COLUMN data_bytes INTEGER;

ALTER TABLE mark ADD COLUMN merged INTEGER NOT NULL DEFAULT 0;
