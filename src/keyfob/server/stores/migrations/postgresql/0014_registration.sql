-- SPDX-License-Identifier: Apache-2.0
-- Initial access tokens for dynamic client registration (RFC 7591 section 3).

CREATE TABLE registration_token (
  name       TEXT NOT NULL PRIMARY KEY,
  token_hash TEXT NOT NULL UNIQUE,   -- versioned, as of secrets
  uses_left  BIGINT NOT NULL,
  expires_at DOUBLE PRECISION NOT NULL,
  template   TEXT NOT NULL,          -- JSON: what a client that it registers may be at most
  created_at DOUBLE PRECISION NOT NULL
);
