DELETE FROM clock
WHERE (gateway, boot) IN (SELECT gateway, boot FROM clock WHERE seen_us < ?1 LIMIT ?2)
