-- Births that were cleared away while a session remembered them give no row.
WITH wanted AS (SELECT number, placed FROM readings.births WHERE number = ANY ($1) ORDER BY number FOR UPDATE),
     used AS (UPDATE readings.births SET used_us = $2::bigint FROM wanted WHERE births.number = wanted.number AND births.used_us < $2::bigint - $3::bigint)
SELECT number, placed FROM wanted
