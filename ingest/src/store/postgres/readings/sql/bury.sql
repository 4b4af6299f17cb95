-- Keeps a record and its letters while there is room, and counts them in any case.
WITH room AS (
    UPDATE readings.gateway SET dead_bytes = dead_bytes + $2::bigint WHERE number = $1::bigint AND dead_bytes + $2 <= $3::bigint RETURNING number
), record AS (
    INSERT INTO readings.dead_record (gateway, lane, sequence, received_us, columns, original)
    SELECT number, $4::bytea, $5::bigint, $6::bigint, $7::bytea, $8::bytea FROM room
    RETURNING id
), letter AS (
    SELECT ordinal, series, count, reason, readings, detail
    FROM unnest($9::bigint[], $10::bigint[], $11::integer[], $12::bigint[], $13::text[])
         WITH ORDINALITY AS letter (series, count, reason, readings, detail, ordinal)
)
INSERT INTO readings.dead_letter (record, ordinal, series, count, reason, readings, detail)
SELECT record.id, letter.ordinal - 1, letter.series, letter.count, letter.reason, letter.readings, letter.detail
FROM record, letter
