-- SPDX-License-Identifier: Apache-2.0
-- Initial access tokens for dynamic client registration (RFC 7591 section 3).

CREATE TABLE registration_token (
  name       TEXT NOT NULL PRIMARY KEY,
  token_hash TEXT NOT NULL UNIQUE,   -- versioned, as of secrets
  uses_left  INTEGER NOT NULL,
  expires_at REAL NOT NULL,
  template   TEXT NOT NULL,          -- JSON: what a client that it registers may be at most
  created_at REAL NOT NULL
) STRICT;
