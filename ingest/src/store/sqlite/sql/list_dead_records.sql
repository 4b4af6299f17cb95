SELECT dead_record.id, gateway.id, dead_record.lane, dead_record.sequence, dead_record.received_us, length(original)
FROM dead_record
JOIN gateway ON gateway.number = dead_record.gateway
JOIN firm ON firm.number = gateway.firm
WHERE firm.id = :firm
  AND dead_record.id > :after
  AND (:id IS NULL OR dead_record.id = :id)
  AND (:gateway IS NULL OR gateway.id = :gateway)
  AND (:reason IS NULL OR EXISTS (SELECT 1 FROM dead_letter WHERE record = dead_record.id AND reason = :reason))
ORDER BY dead_record.id
LIMIT :limit
