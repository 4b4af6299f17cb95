INSERT INTO newest (series, newest_us, readings, longest_us) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (series) DO UPDATE SET
    newest_us  = max(newest_us, excluded.newest_us),
    readings   = readings + excluded.readings,
    longest_us = max(longest_us, excluded.longest_us)
