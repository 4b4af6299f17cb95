-- From format 2 to format 3. What was erased before is not known any more.
ALTER TABLE store ADD COLUMN erased_commits INTEGER NOT NULL DEFAULT 0;
