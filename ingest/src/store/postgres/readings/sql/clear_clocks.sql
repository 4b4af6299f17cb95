DELETE FROM readings.clock
WHERE (gateway, boot) IN (
    SELECT gateway, boot FROM readings.clock
    WHERE seen_us < $1
      AND gateway IN (SELECT gateway FROM readings.lane WHERE stored_us >= $1 OR named_us >= $1)
      -- An export tells when what is put aside was read.
      AND NOT EXISTS (SELECT 1 FROM readings.dead_record WHERE dead_record.gateway = clock.gateway)
    LIMIT $2)
