-- The newest reading of each version is one look into an index, or noted of those that are
-- gone: types 1 to 4 are f64, i64, bool and text.
SELECT series.number, series.asset, series.metric, asset.path, asset.name_ko, asset.name_en, asset.time_zone,
       series.expected_interval_ms, gateway.id, version.number, version.unit, version.type,
       CASE version.type
           WHEN 1 THEN (SELECT ts FROM readings.reading WHERE series_id = version.number ORDER BY ts DESC LIMIT 1)
           WHEN 4 THEN (SELECT ts FROM readings.reading_text WHERE series_id = version.number ORDER BY ts DESC LIMIT 1)
           ELSE (SELECT ts FROM readings.reading_i64 WHERE series_id = version.number ORDER BY ts DESC LIMIT 1)
       END,
       version.newest_us
FROM readings.series
JOIN readings.asset ON asset.firm = series.firm AND asset.id = series.asset
JOIN readings.gateway ON gateway.number = series.gateway
JOIN readings.version ON version.series = series.number
WHERE series.firm = $1
