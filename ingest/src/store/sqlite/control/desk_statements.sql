-- name: open_browser
INSERT INTO browser (hash, kind, person, begun_us, seen_us, until_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6);
-- name: end_past_browsers
DELETE FROM browser WHERE until_us <= ?1;
-- name: end_oldest_browsers
DELETE FROM browser WHERE hash IN
    (SELECT hash FROM browser WHERE person IS ?1 ORDER BY begun_us DESC, hash LIMIT -1 OFFSET ?2);
-- name: browser
SELECT hash, kind, person, begun_us, seen_us, until_us FROM browser WHERE hash = ?1;
-- name: saw_browser
UPDATE browser SET seen_us = max(seen_us, ?2) WHERE hash = ?1;
-- name: end_browser
DELETE FROM browser WHERE hash = ?1;
-- name: end_browsers_of
DELETE FROM browser WHERE person IS ?1;
-- name: end_other_browsers
DELETE FROM browser WHERE person = ?1 AND hash <> ?2;
-- name: end_all_browsers
DELETE FROM browser;
-- name: password
SELECT person, hash FROM password WHERE login = ?1;
-- name: login
SELECT login FROM password WHERE person = ?1;
-- name: login_of_another
SELECT 1 FROM password WHERE login = ?1 AND person <> ?2;
-- name: set_password
INSERT INTO password (person, login, hash, set_us) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (person) DO UPDATE SET login = excluded.login, hash = excluded.hash, set_us = excluded.set_us;
-- name: person_member
SELECT token_hash, id, firm, name, role, until_us FROM member WHERE id = ?1 AND revoked_us IS NULL;
-- name: person_operator
SELECT token_hash, id, name, role FROM operator WHERE id = ?1 AND revoked_us IS NULL;
-- name: contacts
SELECT firm, part, name, phone FROM contact WHERE ?1 IS NULL OR firm = ?1 ORDER BY firm, part;
-- name: set_contact
INSERT INTO contact (firm, part, name, phone, set_us) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (firm, part) DO UPDATE SET name = excluded.name, phone = excluded.phone, set_us = excluded.set_us;
-- name: end_contact
DELETE FROM contact WHERE firm = ?1 AND part = ?2;
-- name: cares
SELECT gateway, kind, words, name, at_us FROM care ORDER BY gateway, kind;
-- name: gateway_of_desk
SELECT 1 FROM gateway WHERE id = ?1;
-- name: set_care
INSERT INTO care (gateway, kind, words, name, at_us) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (gateway, kind) DO UPDATE SET words = excluded.words, name = excluded.name, at_us = excluded.at_us;
-- name: end_care
DELETE FROM care WHERE gateway = ?1 AND kind = ?2;
-- name: erase_browsers
DELETE FROM browser WHERE person IN (SELECT id FROM member WHERE firm = ?1);
-- name: erase_passwords
DELETE FROM password WHERE person IN (SELECT id FROM member WHERE firm = ?1);
-- name: erase_contacts
DELETE FROM contact WHERE firm = ?1;
-- name: erase_cares
DELETE FROM care WHERE gateway IN (SELECT id FROM gateway WHERE firm = ?1);
