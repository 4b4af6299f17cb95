DELETE FROM clock
WHERE (gateway, boot) IN (
    SELECT gateway, boot FROM clock
    WHERE seen_us < ?1
      AND gateway IN (SELECT gateway FROM lane WHERE stored_us >= ?1 OR named_us >= ?1)
    LIMIT ?2)
