SELECT gateway.id, from_us, to_us, cause, readings, uncertain
FROM readings.series
JOIN readings.gateway ON gateway.number = series.gateway
JOIN readings.gap ON gap.firm = series.firm AND gap.gateway = series.gateway
WHERE series.firm = $1 AND series.asset = $2 AND series.metric = $3
  AND coalesce(from_us, to_us) < $5 AND coalesce(to_us, from_us) >= $4
ORDER BY gap.id DESC
LIMIT $6
