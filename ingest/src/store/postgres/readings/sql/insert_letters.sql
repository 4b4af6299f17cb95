INSERT INTO readings.dead_letter (record, ordinal, series, count, reason, readings, detail)
SELECT $1::bigint, ordinal - 1, series, count, reason, readings, detail
FROM unnest($2::bigint[], $3::bigint[], $4::integer[], $5::bigint[], $6::text[])
     WITH ORDINALITY AS letter (series, count, reason, readings, detail, ordinal)
