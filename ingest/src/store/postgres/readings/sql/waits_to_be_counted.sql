-- Whether a time before $1 has readings that are in no hour: of a firm that was not counted so
-- far, late ones, and late ones among what is gone.
SELECT EXISTS (SELECT FROM readings.firm WHERE coalesce(counted_us, 0) < $1)
    OR EXISTS (SELECT FROM readings.late WHERE hour_us < $1)
    OR EXISTS (
        SELECT FROM readings.version
        WHERE raw_from_us IS NOT NULL AND CASE
            WHEN type = 4 THEN EXISTS (
                SELECT FROM readings.reading_text
                WHERE series_id = number AND ts < $2 AND ts < to_timestamp(raw_from_us / 1000000))
            WHEN type IN (2, 3) THEN EXISTS (
                SELECT FROM readings.reading_i64
                WHERE series_id = number AND ts < $2 AND ts < to_timestamp(raw_from_us / 1000000))
            ELSE EXISTS (
                SELECT FROM readings.reading
                WHERE series_id = number AND ts < $2 AND ts < to_timestamp(raw_from_us / 1000000))
            END)
