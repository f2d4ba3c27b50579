-- SPDX-License-Identifier: Apache-2.0
-- What a family of refresh tokens was granted beside scopes, and which tokens came out of others.

ALTER TABLE refresh_family ADD COLUMN audience TEXT NOT NULL DEFAULT '';  -- JSON array; '': the server's
ALTER TABLE refresh_family ADD COLUMN details TEXT NOT NULL DEFAULT '';   -- JSON array; '': none

-- Tokens that were issued because another token was shown (RFC 8693), for as long as they may live:
-- whatever revokes the other one revokes them in the same transaction.
CREATE TABLE exchanged_token (
  parent_subject   TEXT NOT NULL,     -- whose token was shown
  parent_token_id  TEXT NOT NULL,     -- its jti
  parent_issued_at INTEGER NOT NULL,  -- its iat
  subject          TEXT NOT NULL,     -- the device that the new token is for
  token_id         TEXT NOT NULL,
  issued_at        INTEGER NOT NULL,
  until            INTEGER NOT NULL,
  PRIMARY KEY (parent_subject, parent_token_id, token_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX exchanged_token_by_until ON exchanged_token (until);
