SELECT series.number, series.asset, series.metric, asset.path, asset.name_ko, asset.name_en, asset.time_zone,
       series.expected_interval_ms, gateway.id, version.number, version.unit, version.type
FROM series
JOIN asset ON asset.firm = series.firm AND asset.id = series.asset
JOIN gateway ON gateway.number = series.gateway
JOIN version ON version.series = series.number
WHERE series.firm = ?1
