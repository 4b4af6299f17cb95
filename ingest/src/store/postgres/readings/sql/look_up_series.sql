SELECT series.number, series.gateway, series.expected_interval_ms, version.number
FROM unnest($2::text[], $3::text[], $4::text[], $5::integer[])
     WITH ORDINALITY AS declared (asset, metric, unit, type, nth)
LEFT JOIN readings.series
       ON series.firm = $1 AND series.asset = declared.asset AND series.metric = declared.metric
LEFT JOIN readings.version
       ON version.series = series.number AND version.unit = declared.unit AND version.type = declared.type
ORDER BY nth
