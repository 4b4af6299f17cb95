INSERT INTO readings.lane (gateway, lane, through, cumulative, readings, newest_us, opened_us, stored_us)
SELECT gateway, lane, through, cumulative, readings, newest_us, $7::bigint, $7::bigint
FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
     AS moved (gateway, lane, through, cumulative, readings, newest_us)
ON CONFLICT (gateway, lane) DO UPDATE SET
    through    = excluded.through,
    cumulative = excluded.cumulative,
    readings   = lane.readings + excluded.readings,
    newest_us  = greatest(lane.newest_us, excluded.newest_us),
    stored_us  = excluded.stored_us
