DELETE FROM births
WHERE number IN (
    SELECT number FROM births
    WHERE used_us < ?1 AND received_us < ?1
      -- An export names the series of what is put aside.
      AND NOT EXISTS (SELECT 1 FROM dead_record WHERE dead_record.gateway = births.gateway)
      AND number NOT IN (SELECT births FROM record)
    LIMIT ?2)
