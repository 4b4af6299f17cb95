UPDATE readings.version SET
    raw_from_us = greatest(raw_from_us, $1::bigint),
    newest_us   = greatest(newest_us, (
        SELECT (extract(epoch FROM ts) * 1000000)::bigint FROM {{table}}
        WHERE series_id = number AND ts < $2 ORDER BY ts DESC LIMIT 1))
WHERE coalesce(raw_from_us, 0) < $1::bigint OR EXISTS (SELECT FROM {{table}} WHERE series_id = number AND ts < $2)
