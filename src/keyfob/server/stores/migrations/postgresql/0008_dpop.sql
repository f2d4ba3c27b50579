-- SPDX-License-Identifier: Apache-2.0
-- Tokens that are bound to keys: DPoP proofs and their nonces, and tokens that only we can read.

-- A proof counts once. Rows are removed once nobody could show it any more.
CREATE TABLE used_dpop_proof (
  proof_hash BYTEA NOT NULL PRIMARY KEY,  -- SHA-256 of its key's thumbprint and its jti
  until      BIGINT NOT NULL
);

CREATE INDEX used_dpop_proof_by_until ON used_dpop_proof (until);

-- What every process makes the same things with: nonces are nowhere kept.
CREATE TABLE shared_key (
  name   TEXT NOT NULL PRIMARY KEY,
  secret BYTEA NOT NULL
);

-- The thumbprint of the key that a public client's refresh tokens are bound to.
ALTER TABLE refresh_family ADD COLUMN jkt TEXT;  -- NULL: to none

-- Opaque access tokens: what each one says, by its hash; the token itself is nowhere.
CREATE TABLE opaque_token (
  id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  token_hash BYTEA NOT NULL UNIQUE,   -- SHA-256
  subject    TEXT COLLATE "C" NOT NULL,
  expires_at BIGINT NOT NULL,
  claims     TEXT NOT NULL,           -- a JSON object
  key_salt   BYTEA                    -- with the token it makes the key it is bound to; NULL: none
);

CREATE INDEX opaque_token_by_subject ON opaque_token (subject, id);
CREATE INDEX opaque_token_by_end ON opaque_token (expires_at);
