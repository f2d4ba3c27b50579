-- SPDX-License-Identifier: Apache-2.0
-- The device authorization grant (RFC 8628): requests that wait for a person, and who may approve.

-- No code, only hashes of it. Rows are removed some time after their end.
CREATE TABLE device_code (
  code_hash     BYTEA NOT NULL PRIMARY KEY,
  user_hash     BYTEA NOT NULL UNIQUE,
  client_id     TEXT NOT NULL,          -- the application that asked
  peer          TEXT NOT NULL,          -- from where
  network       TEXT NOT NULL,          -- what that is counted as
  scope         TEXT,                   -- as asked for; NULL: all that the device may have
  hint          TEXT NOT NULL,          -- the device that was named; empty: none was
  created_at    DOUBLE PRECISION NOT NULL,
  expires_at    DOUBLE PRECISION NOT NULL,
  poll_interval BIGINT NOT NULL,       -- seconds
  state         TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'used')),
  subject       TEXT NOT NULL,          -- the device that it was approved for
  scopes        TEXT NOT NULL,          -- what was approved, separated by spaces
  decided_by    TEXT NOT NULL,          -- the operator
  decided_at    DOUBLE PRECISION NOT NULL
);

CREATE INDEX device_code_by_end ON device_code (expires_at);
CREATE INDEX device_code_by_operator ON device_code (decided_by, state);

-- People, who approve in a browser; in no namespace with clients.
CREATE TABLE operator_account (
  name          TEXT NOT NULL PRIMARY KEY,
  password_hash TEXT,                   -- versioned scrypt; NULL: signs in elsewhere alone
  openid_subject TEXT UNIQUE,           -- who that is at the other issuer; NULL: nobody
  created_at    DOUBLE PRECISION NOT NULL,
  changed_at    DOUBLE PRECISION NOT NULL           -- the password
);

CREATE TABLE operator_session (
  token_hash    BYTEA NOT NULL PRIMARY KEY,
  operator      TEXT NOT NULL,
  created_at    DOUBLE PRECISION NOT NULL,
  seen_at       DOUBLE PRECISION NOT NULL           -- written now and then
);

CREATE INDEX operator_session_by_operator ON operator_session (operator, created_at);

-- What a line of the trail says beside: for an approval the application, and where it asked from.
ALTER TABLE admin_action ADD COLUMN detail TEXT NOT NULL DEFAULT '';
