INSERT INTO readings.clock (gateway, boot, offset_us, estimated, seen_us)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (gateway, boot) DO UPDATE SET
    offset_us = CASE WHEN clock.fixed THEN clock.offset_us ELSE excluded.offset_us END,
    estimated = CASE WHEN clock.fixed THEN clock.estimated ELSE excluded.estimated END,
    seen_us   = greatest(clock.seen_us, excluded.seen_us)
WHERE (NOT clock.fixed AND (clock.offset_us, clock.estimated) IS DISTINCT FROM (excluded.offset_us, excluded.estimated))
   OR clock.seen_us < excluded.seen_us - $6::bigint
