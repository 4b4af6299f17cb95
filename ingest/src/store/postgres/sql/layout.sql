-- Which steps this database has had; there before the first of them.
CREATE TABLE IF NOT EXISTS layout (
    number  integer PRIMARY KEY,
    name    text NOT NULL,
    build   text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
)
