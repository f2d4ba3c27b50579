-- SPDX-License-Identifier: Apache-2.0
-- Revocations of one token: of those that a row concerned so far, only the one of this jti.

ALTER TABLE revocation ADD COLUMN token_id TEXT;  -- NULL: every one of them

-- What every request for a token looks up stays one step, however many single tokens are revoked.
DROP INDEX revocation_by_subject;
CREATE INDEX revocation_by_subject ON revocation (subject, issued_before) WHERE token_id IS NULL;
CREATE INDEX revocation_by_token ON revocation (subject, token_id) WHERE token_id IS NOT NULL;
