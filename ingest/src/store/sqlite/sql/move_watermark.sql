INSERT INTO lane (gateway, lane, through, cumulative, readings, newest_us, opened_us, stored_us)
VALUES (:gateway, :lane, :through, :cumulative, :readings, :newest_us, :now_us, :now_us)
ON CONFLICT (gateway, lane) DO UPDATE SET
    through    = excluded.through,
    cumulative = excluded.cumulative,
    readings   = readings + excluded.readings,
    newest_us  = max(coalesce(newest_us, excluded.newest_us), coalesce(excluded.newest_us, newest_us)),
    stored_us  = excluded.stored_us
