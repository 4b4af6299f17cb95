SELECT gateway, lane, through, cumulative
FROM readings.lane
WHERE (gateway, lane) IN (SELECT * FROM unnest($1::bigint[], $2::bytea[]))
ORDER BY gateway, lane
FOR UPDATE
