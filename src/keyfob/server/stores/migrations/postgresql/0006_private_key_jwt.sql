-- SPDX-License-Identifier: Apache-2.0
-- Clients that authenticate by private_key_jwt (RFC 7523), and the assertions that they have used.

-- A JWK Set of public keys (RFC 7517). NULL: none. A client without keys and without a secret is
-- a public one.
ALTER TABLE client ADD COLUMN jwks TEXT;

-- An assertion is good once. Rows are removed once nobody could show it any more.
CREATE TABLE used_assertion (
  client_id  TEXT COLLATE "C" NOT NULL,
  token_hash BYTEA NOT NULL,     -- SHA-256 of its jti
  until      BIGINT NOT NULL,
  PRIMARY KEY (client_id, token_hash)
);

CREATE INDEX used_assertion_by_until ON used_assertion (until);
