SELECT DISTINCT late.series_id, late.hour_us
FROM readings.series
JOIN readings.version ON version.series = series.number
JOIN readings.late ON late.series_id = version.number
WHERE series.firm = $1
ORDER BY late.series_id, late.hour_us
LIMIT $2
