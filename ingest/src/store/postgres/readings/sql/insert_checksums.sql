INSERT INTO readings.checksum (gateway, lane, first, stored_us, sums)
SELECT gateway, lane, first, $5::bigint, sums
FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bytea[]) AS run (gateway, lane, first, sums)
