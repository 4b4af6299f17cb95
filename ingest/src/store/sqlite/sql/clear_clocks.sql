DELETE FROM clock
WHERE (gateway, boot) IN (
    SELECT gateway, boot FROM clock
    WHERE seen_us < ?1
      AND gateway IN (SELECT gateway FROM lane WHERE stored_us >= ?1 OR named_us >= ?1)
      -- An export tells when what is put aside was read.
      AND NOT EXISTS (SELECT 1 FROM dead_record WHERE dead_record.gateway = clock.gateway)
    LIMIT ?2)
