SELECT count(*), coalesce(sum(length(content)), 0), coalesce(max(hash = ?2), 0)
FROM births
WHERE gateway = ?1
