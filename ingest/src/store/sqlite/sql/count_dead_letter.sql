INSERT INTO dead_total (gateway, reason, letters, readings, newest_us, detail)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (gateway, reason) DO UPDATE SET
    letters   = min(letters + excluded.letters, 9000000000000000000),
    readings  = min(readings + excluded.readings, 9000000000000000000),
    newest_us = excluded.newest_us,
    detail    = excluded.detail
