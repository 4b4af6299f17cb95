INSERT INTO readings.rollup (series_id, width_s, hold_us, hour_us, newest_commit, stats)
SELECT $1::integer, $2::integer, $3::bigint, * FROM unnest($4::bigint[], $5::bigint[], $6::bytea[])
ON CONFLICT (series_id, width_s, hour_us) DO UPDATE SET
    hold_us = excluded.hold_us, newest_commit = excluded.newest_commit, stats = excluded.stats
