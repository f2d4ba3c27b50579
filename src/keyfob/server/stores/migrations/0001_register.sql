-- SPDX-License-Identifier: Apache-2.0
-- The register, its revocations and the signing keys.

-- Devices, applications and services in one namespace: no name ever means two parties.
CREATE TABLE client (
  client_id     TEXT NOT NULL PRIMARY KEY,
  kind          TEXT NOT NULL CHECK (kind IN ('device', 'application', 'service')),
  secret_hash   TEXT,              -- versioned; NULL: a public client
  grants        TEXT NOT NULL,     -- separated by spaces
  scopes        TEXT NOT NULL,     -- separated by spaces
  lifetime      INTEGER,           -- seconds; NULL: the server's default
  created_at    REAL NOT NULL,
  disabled_at   REAL,              -- NULL: enabled
  last_token_at REAL               -- written in batches
) STRICT;

CREATE INDEX client_by_kind ON client (kind, client_id);

-- Tokens of a subject with iat <= issued_before are revoked, which matters until `until`.
-- AUTOINCREMENT: a cursor is never given out twice, also after rows are gone.
CREATE TABLE revocation (
  cursor        INTEGER PRIMARY KEY AUTOINCREMENT,
  subject       TEXT NOT NULL,
  issued_before INTEGER NOT NULL,
  until         INTEGER NOT NULL,
  reason        TEXT NOT NULL
) STRICT;

CREATE INDEX revocation_by_subject ON revocation (subject, issued_before);
CREATE INDEX revocation_by_until ON revocation (until);

CREATE TABLE signing_key (
  kid           TEXT NOT NULL PRIMARY KEY,
  algorithm     TEXT NOT NULL,
  private_pem   BLOB NOT NULL,
  created_at    REAL NOT NULL
) STRICT;
