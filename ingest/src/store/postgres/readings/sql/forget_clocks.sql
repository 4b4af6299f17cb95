DELETE FROM readings.clock
WHERE gateway = $1 AND NOT fixed AND boot IN (
    SELECT boot FROM readings.clock
    WHERE gateway = $1 AND NOT fixed
    ORDER BY seen_us DESC, boot = $2 DESC
    OFFSET $3::bigint)
