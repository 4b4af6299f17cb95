-- The first number of a firm from a time on: types 2 and 3 are i64 and bool, 4 is text.
SELECT min(CASE
    WHEN version.type = 4 THEN NULL
    WHEN version.type IN (2, 3) THEN
        (SELECT ts FROM readings.reading_i64 WHERE series_id = version.number AND ts >= $2 ORDER BY ts LIMIT 1)
    ELSE
        (SELECT ts FROM readings.reading WHERE series_id = version.number AND ts >= $2 ORDER BY ts LIMIT 1)
    END)
FROM readings.series JOIN readings.version ON version.series = series.number
WHERE series.firm = $1
