SELECT refused.asset, refused.metric, owner.id, other.id
FROM refused
JOIN series ON series.firm = refused.firm AND series.asset = refused.asset AND series.metric = refused.metric
JOIN gateway AS owner ON owner.number = series.gateway
JOIN gateway AS other ON other.number = refused.gateway
WHERE refused.firm = ?1
ORDER BY refused.asset, refused.metric, other.id
