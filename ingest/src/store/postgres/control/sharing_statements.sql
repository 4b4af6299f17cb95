-- name: agreement
SELECT id, grantor, grantee, firm_group, document, revoked_us FROM agreement WHERE id = $1;
-- name: agreements_of
SELECT id, grantor, grantee, firm_group, document, revoked_us FROM agreement
WHERE grantor = $1 OR grantee = $1 OR firm_group IS NOT NULL ORDER BY number;
-- name: agreements_by
SELECT id, grantor, grantee, firm_group, document, revoked_us FROM agreement WHERE grantor = $1 ORDER BY number;
-- name: agreements_in_force
SELECT id, grantor, grantee, firm_group, document, revoked_us FROM agreement
WHERE revoked_us IS NULL AND until_us > $1 AND ($2::text IS NULL OR grantor = $2) ORDER BY number;
-- name: add_agreement
INSERT INTO agreement (id, grantor, grantee, firm_group, document, revoked_us, restored_us, until_us)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);
-- name: save_agreement
UPDATE agreement SET document = $2, revoked_us = coalesce(revoked_us, $3), restored_us = $4, until_us = $5 WHERE id = $1;
-- name: revoke_agreement_again
UPDATE agreement SET revoked_us = $2 WHERE id = $1 AND revoked_us IS NULL
RETURNING id, grantor, grantee, firm_group, document, revoked_us;
-- name: erase_agreements
UPDATE agreement SET document = '', revoked_us = coalesce(revoked_us, $2), restored_us = NULL
WHERE grantor = $1 OR grantee = $1;
-- name: suspend_consents_of
UPDATE consent SET suspended_us = $2 WHERE grantor = $1 AND revoked_us IS NULL AND suspended_us IS NULL
RETURNING id, grantor, grantee;
-- name: officers
SELECT officers FROM firm WHERE id = $1;
-- name: set_officers
UPDATE firm SET officers = $2 WHERE id = $1;
-- name: end_links
UPDATE officer_link SET expires_us = least(expires_us, $2) WHERE firm = $1;
-- name: add_link
INSERT INTO officer_link (token_hash, firm, made_us, expires_us) VALUES ($1, $2, $3, $4);
-- name: link
SELECT firm, expires_us, used_us FROM officer_link WHERE token_hash = $1;
-- name: use_link
UPDATE officer_link SET used_us = $3 WHERE token_hash = $1 AND firm = $2 AND used_us IS NULL AND expires_us > $3;
-- name: set_token
UPDATE member SET token_hash = $2 WHERE id = $1;
-- name: member_role
SELECT role FROM member WHERE id = $1;
-- name: groups
SELECT id, document FROM firm_group ORDER BY id;
-- name: group
SELECT document FROM firm_group WHERE id = $1;
-- name: save_group
INSERT INTO firm_group (id, document) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET document = $2;
-- name: alliance_rule
SELECT rule FROM alliance;
-- name: set_alliance_rule
INSERT INTO alliance (one, rule) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET rule = $1;
-- name: house_rule
SELECT house_rule FROM firm WHERE id = $1;
-- name: set_house_rule
UPDATE firm SET house_rule = $2 WHERE id = $1;
-- name: closed_firms
SELECT id FROM firm WHERE closed_us IS NOT NULL ORDER BY id;
-- name: close_firm
UPDATE firm SET closed_us = $2 WHERE id = $1 AND closed_us IS NULL;
-- name: put_run
INSERT INTO run (firm, asset, id, customer, from_us, to_us) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (firm, asset, id) DO UPDATE SET customer = $4, from_us = $5, to_us = $6;
-- name: runs
SELECT id, asset, customer, from_us, to_us FROM run
WHERE firm = $1 AND ($2::text IS NULL OR asset = $2) AND from_us < $4 AND (to_us IS NULL OR to_us > $3)
  AND ($6::text IS NULL OR (asset, from_us, id) > ($6, $7::bigint, $8::text))
ORDER BY asset, from_us, id LIMIT $5;
-- name: run
SELECT id, asset, customer, from_us, to_us FROM run WHERE firm = $1 AND asset = $2 AND id = $3;
-- name: runs_for
SELECT id, asset, customer, from_us, to_us FROM run WHERE firm = $1 AND customer = $2;
-- name: use_quota
INSERT INTO quota_use (consent, day, rows) VALUES ($1, $2, $3)
ON CONFLICT (consent, day) DO UPDATE SET rows = quota_use.rows + $3 RETURNING quota_use.rows;
-- name: forget_quota
DELETE FROM quota_use WHERE consent = $1 AND day < $2;
-- name: quota_used
SELECT consent, rows FROM quota_use
WHERE day = $2 AND consent IN (SELECT id FROM agreement WHERE grantor = $1);
-- name: erase_rules
UPDATE firm SET officers = NULL, house_rule = NULL, closed_us = coalesce(closed_us, $2) WHERE id = $1;
-- name: erase_runs
DELETE FROM run WHERE firm = $1;
-- name: erase_quota
DELETE FROM quota_use WHERE consent IN (SELECT id FROM agreement WHERE grantor = $1 OR grantee = $1);
-- name: erase_links
DELETE FROM officer_link WHERE firm = $1;
-- name: beside
SELECT coalesce((SELECT epoch FROM firm WHERE id = $1), 0), coalesce((SELECT max(time_us) FROM audit_head), 0),
    (SELECT rule FROM alliance), (SELECT house_rule FROM firm WHERE id = $1);
-- name: pulse
WITH used AS (SELECT consent, rows FROM quota_use WHERE day = $2 AND consent = ANY ($3))
SELECT coalesce((SELECT epoch FROM firm WHERE id = $1), 0), coalesce((SELECT max(time_us) FROM audit_head), 0),
    coalesce((SELECT array_agg(consent ORDER BY consent) FROM used), '{}'),
    coalesce((SELECT array_agg(rows ORDER BY consent) FROM used), '{}');
