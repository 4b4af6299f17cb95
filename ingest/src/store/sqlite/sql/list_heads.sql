SELECT record.id, record.firm, first_us, last_us, received_us, readings, length(payload), crc,
       gateway.id, lane, sequence
FROM record
JOIN gateway ON gateway.number = record.gateway
ORDER BY record.id
