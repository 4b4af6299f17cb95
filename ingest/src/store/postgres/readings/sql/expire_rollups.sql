-- What is counted of readings that are there is not all that is left of them, and stays.
WITH gone AS (
    DELETE FROM readings.rollup USING readings.version
    WHERE series_id = $1 AND width_s = $2 AND hour_us < $3
      AND version.number = series_id AND hour_us < version.raw_from_us
    RETURNING hour_us / $4::bigint AS day)
SELECT count(DISTINCT day) FROM gone
