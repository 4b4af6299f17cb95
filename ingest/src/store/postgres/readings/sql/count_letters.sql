INSERT INTO readings.dead_total (gateway, reason, letters, readings, newest_us, detail)
SELECT $1::bigint, reason, letters, readings, $2::bigint, detail
FROM unnest($3::integer[], $4::bigint[], $5::bigint[], $6::text[]) AS counted (reason, letters, readings, detail)
ON CONFLICT (gateway, reason) DO UPDATE SET
    letters   = least(dead_total.letters + excluded.letters, 9000000000000000000),
    readings  = least(dead_total.readings + excluded.readings, 9000000000000000000),
    newest_us = excluded.newest_us,
    detail    = excluded.detail
