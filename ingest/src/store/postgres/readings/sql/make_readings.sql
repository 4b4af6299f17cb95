-- Readings. No index is unique: a watermark, and nothing else, keeps a record from being
-- stored twice. The columns stand so that a row has no padding.
CREATE TABLE readings.reading (
    ts        timestamptz NOT NULL,
    value     float8,                            -- none where the quality is bad
    commit_no bigint NOT NULL,
    series_id integer NOT NULL,                  -- version.number
    quality   smallint NOT NULL,
    nth       smallint NOT NULL                  -- among readings of one series, time and commit; nearly always 0
) {{partitioned}};
CREATE INDEX reading_series ON readings.reading (series_id, ts);

-- Integers and states (0 or 1).
CREATE TABLE readings.reading_i64 (
    ts        timestamptz NOT NULL,
    value     bigint,
    commit_no bigint NOT NULL,
    series_id integer NOT NULL,
    quality   smallint NOT NULL,
    nth       smallint NOT NULL
) {{partitioned}};
CREATE INDEX reading_i64_series ON readings.reading_i64 (series_id, ts);

CREATE TABLE readings.reading_text (
    ts        timestamptz NOT NULL,
    commit_no bigint NOT NULL,
    series_id integer NOT NULL,
    quality   smallint NOT NULL,
    nth       smallint NOT NULL,
    value     text
) {{partitioned}};
CREATE INDEX reading_text_series ON readings.reading_text (series_id, ts);
