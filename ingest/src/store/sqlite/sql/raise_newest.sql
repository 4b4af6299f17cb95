INSERT INTO newest (series, newest_us, readings) VALUES (?1, ?2, ?3)
ON CONFLICT (series) DO UPDATE SET
    newest_us = max(newest_us, excluded.newest_us),
    readings  = readings + excluded.readings
