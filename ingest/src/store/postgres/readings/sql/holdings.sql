SELECT
    (SELECT count(*) FROM readings.series WHERE firm = $1),
    (SELECT count(*) FROM readings.gateway WHERE firm = $1),
    (SELECT count(*) FROM readings.gap WHERE firm = $1),
    (SELECT count(*) FROM readings.dead_record WHERE gateway IN (SELECT number FROM readings.gateway WHERE firm = $1))
