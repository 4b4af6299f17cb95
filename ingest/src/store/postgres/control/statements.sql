-- name: add_firm
INSERT INTO firm (id, name_ko, name_en, added_us) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;
-- name: add_gateway
INSERT INTO gateway (id, firm, added_us) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;
-- name: end_invitations
UPDATE invitation SET expires_us = least(expires_us, $2) WHERE gateway = $1;
-- name: add_invitation
INSERT INTO invitation (token_hash, gateway, invited_us, expires_us, may_replace) VALUES ($1, $2, $3, $4, $5);
-- name: invitation
SELECT token_hash, gateway, expires_us, may_replace, released, key, serial, certificate, not_after_us, issuer
FROM invitation WHERE token_hash = $1;
-- name: use_invitation
UPDATE invitation SET used_us = $2, key = $3, serial = $4, certificate = $5, not_after_us = $6, issuer = $7
WHERE token_hash = $1 AND used_us IS NULL AND expires_us > $2;
-- name: release_invitation
UPDATE invitation SET released = true WHERE token_hash = $1 AND gateway = $2 AND used_us IS NOT NULL;
-- name: bury_key
INSERT INTO dead_key (key, gateway, not_after_us) SELECT key, id, not_after_us FROM gateway WHERE id = $1 AND key IS NOT NULL;
-- name: enrol_gateway
UPDATE gateway SET enrolled_us = $2, key = $3, serial = $4, not_after_us = $5, issuer = $6, revoked_us = NULL WHERE id = $1;
-- name: renew_gateway
UPDATE gateway SET serial = $3, not_after_us = $4, issuer = $5 WHERE id = $1 AND key = $2 AND revoked_us IS NULL;
-- name: holder
SELECT id, true, revoked_us, not_after_us FROM gateway WHERE key = $1
UNION ALL
SELECT gateway, false, NULL, not_after_us FROM dead_key WHERE key = $1;
-- name: keys_in_force
SELECT id, key FROM gateway WHERE key IS NOT NULL AND revoked_us IS NULL AND not_after_us > $1;
-- name: add_member
INSERT INTO member (id, firm, name, token_hash, added_us, role, until_us)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING;
-- name: add_operator
INSERT INTO operator (id, name, token_hash, added_us, role) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING;
-- name: add_consent
INSERT INTO consent (id, grantor, grantee, terms, granted_us) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING;
-- name: firm_exists
SELECT count(*) FROM firm WHERE id = $1 AND name_ko || name_en <> '';
-- name: erase_names
UPDATE firm SET name_ko = '', name_en = '', epoch = epoch + 1 WHERE id = $1;
-- name: erase_member_names
UPDATE member SET name = '' WHERE firm = $1;
-- name: gateway_revoked
SELECT revoked_us FROM gateway WHERE id = $1;
-- name: member_revoked
SELECT revoked_us FROM member WHERE id = $1 AND firm = $2;
-- name: operator_revoked
SELECT revoked_us FROM operator WHERE id = $1;
-- name: consent_revoked
SELECT revoked_us FROM consent WHERE id = $1 AND grantor = $2;
-- name: revoke_gateway
UPDATE gateway SET revoked_us = $2 WHERE id = $1;
-- name: revoke_member
UPDATE member SET revoked_us = $2 WHERE id = $1;
-- name: revoke_operator
UPDATE operator SET revoked_us = $2 WHERE id = $1;
-- name: revoke_consent
UPDATE consent SET revoked_us = $2 WHERE id = $1;
-- name: raise_epoch
UPDATE firm SET epoch = epoch + 1 WHERE id = $1;
-- name: firms
SELECT id, name_ko, name_en FROM firm ORDER BY id;
-- name: gateways
SELECT id, added_us, revoked_us, enrolled_us, not_after_us, issuer,
    (SELECT max(expires_us) FROM invitation WHERE invitation.gateway = gateway.id AND used_us IS NULL)
FROM gateway ORDER BY id;
-- name: members
SELECT id, firm, name, added_us, revoked_us, role, until_us FROM member ORDER BY firm, name, id;
-- name: operators
SELECT id, name, added_us, revoked_us, role FROM operator ORDER BY name, id;
-- name: principal
SELECT token_hash, id, firm, name, role, until_us FROM member WHERE token_hash = $1 AND revoked_us IS NULL
UNION ALL
SELECT token_hash, id, NULL, name, role, NULL FROM operator WHERE token_hash = $1 AND revoked_us IS NULL;
-- name: is_member
SELECT count(*) FROM member WHERE id = $1 AND revoked_us IS NULL;
-- name: footing
SELECT EXISTS (SELECT FROM member WHERE id = $1 AND revoked_us IS NULL),
    coalesce((SELECT epoch FROM firm WHERE id = $2), 0);
-- name: is_operator
SELECT count(*) FROM operator WHERE id = $1 AND revoked_us IS NULL;
-- name: consents
SELECT id, grantor, grantee, terms, revoked_us, suspended_us FROM consent ORDER BY number;
-- name: consents_of
SELECT id, grantor, grantee, terms, revoked_us, suspended_us FROM consent WHERE grantor = $1 ORDER BY number;
-- name: epoch
SELECT epoch FROM firm WHERE id = $1;
-- name: alone
SELECT pg_advisory_xact_lock($1, $2);
-- name: hold_heads
INSERT INTO audit_head (chain, number, time_us, hash)
SELECT chain, 0, 0, $2::bytea FROM unnest($1::text[]) AS chain ORDER BY chain COLLATE "C"
ON CONFLICT (chain) DO UPDATE SET number = audit_head.number RETURNING number, time_us, hash, chain;
-- name: audit_head
SELECT number, time_us, hash FROM audit_head WHERE chain = $1;
-- name: add_audit
INSERT INTO audit (chain, number, time_us, kind, actor, detail, previous, hash)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::bytea[]);
-- name: set_heads
UPDATE audit_head SET number = new.number, time_us = new.time_us, hash = new.hash
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]) AS new (chain, number, time_us, hash)
WHERE audit_head.chain = new.chain;
-- name: audit_after
SELECT chain, number, time_us, kind, actor, detail, previous, hash FROM audit
WHERE chain = $1 AND number > $2 ORDER BY number LIMIT $3;
-- name: newest_audit
SELECT coalesce(max(time_us), 0) FROM audit_head;
-- name: consent_suspended
SELECT suspended_us FROM consent WHERE id = $1;
-- name: confirm_consent
UPDATE consent SET suspended_us = NULL WHERE id = $1;
-- name: suspend_consents
UPDATE consent SET suspended_us = $1 WHERE revoked_us IS NULL AND suspended_us IS NULL
RETURNING id, grantor, grantee;
-- name: audit_heads
SELECT chain, number, time_us, hash FROM audit_head ORDER BY chain;
-- name: revoked_consents
SELECT id, revoked_us FROM consent WHERE revoked_us IS NOT NULL
UNION ALL
SELECT id, revoked_us FROM agreement WHERE revoked_us IS NOT NULL;
-- name: revoked_gateways
SELECT id, revoked_us FROM gateway WHERE revoked_us IS NOT NULL;
-- name: revoked_members
SELECT id, revoked_us FROM member WHERE revoked_us IS NOT NULL;
-- name: revoked_operators
SELECT id, revoked_us FROM operator WHERE revoked_us IS NOT NULL;
-- name: revoke_consent_again
UPDATE consent SET revoked_us = $2 WHERE id = $1 AND revoked_us IS NULL RETURNING grantor, grantee;
-- name: revoke_gateway_again
UPDATE gateway SET revoked_us = $2 WHERE id = $1 AND revoked_us IS NULL AND added_us <= $2 RETURNING firm;
-- name: revoke_member_again
UPDATE member SET revoked_us = $2 WHERE id = $1 AND revoked_us IS NULL RETURNING firm;
-- name: revoke_operator_again
UPDATE operator SET revoked_us = $2 WHERE id = $1 AND revoked_us IS NULL RETURNING id;
-- name: raise_epochs
UPDATE firm SET epoch = epoch + 1;
-- name: witnessed
SELECT count(*) FROM witnessed;
-- name: set_witnessed
INSERT INTO witnessed (one, since_us) VALUES (1, $1) ON CONFLICT DO NOTHING;
-- name: count_suspended
SELECT (SELECT count(*) FROM consent WHERE suspended_us IS NOT NULL AND revoked_us IS NULL)
    + (SELECT count(*) FROM agreement WHERE restored_us IS NOT NULL AND revoked_us IS NULL AND until_us > $1);
