INSERT INTO readings.gap
    (firm, gateway, lane, first_sequence, last_sequence, cause, from_us, to_us, readings, received_us, uncertain)
SELECT firm, gateway, lane, first_sequence, last_sequence, cause, from_us, to_us, readings, $11::bigint, uncertain
FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[], $6::integer[], $7::bigint[],
            $8::bigint[], $9::bigint[], $10::boolean[])
     AS told (firm, gateway, lane, first_sequence, last_sequence, cause, from_us, to_us, readings, uncertain)
