-- From the first stored record of a boot on its offset stays, for as long as records come
-- under it: a session tells it once, and may last for longer than readings are kept.
UPDATE readings.clock SET fixed = true, seen_us = greatest(seen_us, $3::bigint)
FROM unnest($1::bigint[], $2::bytea[]) AS used (gateway, boot)
WHERE clock.gateway = used.gateway AND clock.boot = used.boot AND (NOT fixed OR seen_us < $3::bigint - $4::bigint)
