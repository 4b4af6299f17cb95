DELETE FROM readings.rollup WHERE series_id IN (
    SELECT version.number FROM readings.version JOIN readings.series ON series.number = version.series
    WHERE series.firm = $1);
DELETE FROM readings.late WHERE series_id IN (
    SELECT version.number FROM readings.version JOIN readings.series ON series.number = version.series
    WHERE series.firm = $1);
DELETE FROM readings.version WHERE series IN (SELECT number FROM readings.series WHERE firm = $1);
DELETE FROM readings.series WHERE firm = $1;
DELETE FROM readings.asset WHERE firm = $1;
DELETE FROM readings.refused WHERE firm = $1;
DELETE FROM readings.gap WHERE firm = $1;
DELETE FROM readings.dead_record WHERE gateway IN (SELECT number FROM readings.gateway WHERE firm = $1);
DELETE FROM readings.dead_total WHERE gateway IN (SELECT number FROM readings.gateway WHERE firm = $1);
DELETE FROM readings.checksum WHERE gateway IN (SELECT number FROM readings.gateway WHERE firm = $1);
DELETE FROM readings.births WHERE gateway IN (SELECT number FROM readings.gateway WHERE firm = $1);
DELETE FROM readings.clock WHERE gateway IN (SELECT number FROM readings.gateway WHERE firm = $1);
DELETE FROM readings.lane WHERE gateway IN (SELECT number FROM readings.gateway WHERE firm = $1);
DELETE FROM readings.gateway WHERE firm = $1;
UPDATE readings.store SET erased_commits = erased_commits + (SELECT commits FROM readings.firm WHERE number = $1);
DELETE FROM readings.firm WHERE number = $1
