INSERT INTO dead_total (gateway, reason, letters, readings, newest_us, detail)
VALUES (?1, ?2, 1, ?3, ?4, ?5)
ON CONFLICT (gateway, reason) DO UPDATE SET
    letters   = letters + 1,
    readings  = readings + excluded.readings,
    newest_us = excluded.newest_us,
    detail    = excluded.detail
