INSERT INTO births (gateway, hash, received_us, used_us, placed, content)
VALUES (?1, ?2, ?3, ?3, ?4, ?5)
ON CONFLICT (gateway, hash) DO UPDATE SET placed = excluded.placed, used_us = excluded.used_us
RETURNING number
