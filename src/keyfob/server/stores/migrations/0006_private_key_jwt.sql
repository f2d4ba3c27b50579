-- SPDX-License-Identifier: Apache-2.0
-- Clients that authenticate by private_key_jwt (RFC 7523), and the assertions that they have used.

-- A JWK Set of public keys (RFC 7517). NULL: none. A client without keys and without a secret is
-- a public one.
ALTER TABLE client ADD COLUMN jwks TEXT;

-- An assertion is good once. Rows are removed once nobody could show it any more.
CREATE TABLE used_assertion (
  client_id  TEXT NOT NULL,
  token_hash BLOB NOT NULL,      -- SHA-256 of its jti
  until      INTEGER NOT NULL,
  PRIMARY KEY (client_id, token_hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX used_assertion_by_until ON used_assertion (until);
