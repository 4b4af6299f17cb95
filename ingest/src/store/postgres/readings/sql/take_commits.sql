WITH locked AS (SELECT number FROM readings.firm WHERE number = ANY ($1) ORDER BY number FOR UPDATE)
UPDATE readings.firm SET commits = commits + 1 FROM locked WHERE firm.number = locked.number
RETURNING firm.number, firm.commits, firm.closed_us
