-- name: alerting
SELECT name, body FROM alerting WHERE name >= ?1 AND name < ?2 ORDER BY name;
-- name: put_alerting
INSERT INTO alerting (name, body) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET body = excluded.body;
-- name: drop_alerting
DELETE FROM alerting WHERE name = ?1;
