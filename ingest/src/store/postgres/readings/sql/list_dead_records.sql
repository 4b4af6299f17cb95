SELECT dead_record.id, gateway.id, dead_record.lane, dead_record.sequence, dead_record.received_us,
       length(original)::bigint
FROM readings.dead_record
JOIN readings.gateway ON gateway.number = dead_record.gateway
JOIN readings.firm ON firm.number = gateway.firm
WHERE firm.id = $1
  AND dead_record.id > $2
  AND ($3::bigint[] IS NULL OR dead_record.id = ANY ($3))
  AND ($4::text IS NULL OR gateway.id = $4)
  AND ($5::integer IS NULL
       OR EXISTS (SELECT 1 FROM readings.dead_letter WHERE record = dead_record.id AND reason = $5))
ORDER BY dead_record.id
LIMIT $6
