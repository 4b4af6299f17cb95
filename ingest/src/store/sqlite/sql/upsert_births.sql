INSERT INTO births (gateway, hash, received_us, placed, content)
VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (gateway, hash) DO UPDATE SET placed = excluded.placed
RETURNING number
