-- In the order of their numbers, so that no two transactions wait for each other.
SELECT number, firm, id, granted, used, let_in IS NOT NULL
FROM readings.gateway
WHERE id = ANY ($1)
ORDER BY number
FOR UPDATE
