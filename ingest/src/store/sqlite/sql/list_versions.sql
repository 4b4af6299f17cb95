SELECT version.number, version.unit
FROM series
JOIN version ON version.series = series.number
WHERE series.firm = ?1 AND series.asset = ?2 AND series.metric = ?3
ORDER BY version.number
