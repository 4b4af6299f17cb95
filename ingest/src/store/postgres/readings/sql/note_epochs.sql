UPDATE readings.gateway SET used = noted.used, let_in = NULL
FROM unnest($1::bigint[], $2::bigint[]) AS noted (number, used)
WHERE gateway.number = noted.number
