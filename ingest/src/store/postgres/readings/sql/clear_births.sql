DELETE FROM readings.births
WHERE number IN (
    SELECT number FROM readings.births
    WHERE used_us < $1 AND received_us < $1
      -- An export names the series of what is put aside.
      AND NOT EXISTS (SELECT 1 FROM readings.dead_record WHERE dead_record.gateway = births.gateway)
    LIMIT $2)
