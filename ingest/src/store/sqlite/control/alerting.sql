-- What alerts remember: who was told of what, messages on their way, and when it is to be quiet. JSON.
CREATE TABLE alerting (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
