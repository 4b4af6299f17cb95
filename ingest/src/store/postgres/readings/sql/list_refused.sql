SELECT refused.asset, refused.metric, owner.id, other.id
FROM readings.firm
JOIN readings.refused ON refused.firm = firm.number
JOIN readings.series ON series.firm = refused.firm AND series.asset = refused.asset AND series.metric = refused.metric
JOIN readings.gateway AS owner ON owner.number = series.gateway
JOIN readings.gateway AS other ON other.number = refused.gateway
WHERE firm.id = $1
ORDER BY refused.asset, refused.metric, other.id
