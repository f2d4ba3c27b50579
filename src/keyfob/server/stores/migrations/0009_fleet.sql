-- SPDX-License-Identifier: Apache-2.0
-- The fleet: groups with their templates of rights, labels, pending devices, overlapping secrets.

ALTER TABLE client ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;  -- 1: not activated yet

-- A secret that was replaced and works beside the new one until then.
ALTER TABLE client ADD COLUMN old_secret_hash TEXT;
ALTER TABLE client ADD COLUMN old_secret_until REAL;
ALTER TABLE client ADD COLUMN old_secret_ends_on_use INTEGER NOT NULL DEFAULT 0;  -- of the new one

-- What a device is in and what is noted about it: read with it, found by the two tables below,
-- which say the same and are written with it.
ALTER TABLE client ADD COLUMN group_names TEXT NOT NULL DEFAULT '';  -- sorted, by spaces
ALTER TABLE client ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';     -- JSON, sorted

CREATE TABLE membership (
  group_name TEXT NOT NULL,
  client_id  TEXT NOT NULL,
  PRIMARY KEY (group_name, client_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE label (
  key       TEXT NOT NULL,
  value     TEXT NOT NULL,
  client_id TEXT NOT NULL,
  PRIMARY KEY (key, value, client_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE device_group (
  name       TEXT NOT NULL PRIMARY KEY,
  publish    TEXT NOT NULL,     -- JSON: topic filters with {device}
  subscribe  TEXT NOT NULL,     -- JSON: the same
  scopes     TEXT NOT NULL,     -- JSON: scopes as they are
  lifetime   INTEGER,           -- seconds; NULL: the server's default
  created_at REAL NOT NULL
) STRICT;

-- Which secret a login was proven by: its family ends when that secret does. NULL: by none.
-- So far a family has ended whenever the secret changed, so that those that live are of this one.
ALTER TABLE refresh_family ADD COLUMN secret_hash TEXT;

UPDATE refresh_family
SET secret_hash = (SELECT client.secret_hash FROM client WHERE client.client_id = subject);

-- How far a long piece of work has come; written in the transactions of the work itself.
CREATE TABLE bulk_job (
  key          TEXT NOT NULL PRIMARY KEY,
  position     TEXT NOT NULL,     -- what it is depends on the work
  count        INTEGER NOT NULL,  -- rows done
  secrets_path TEXT NOT NULL,     -- where new secrets go; empty: nowhere
  secrets_size INTEGER NOT NULL,  -- bytes of it that hold; what follows them is void
  rejects_size INTEGER NOT NULL,
  finished     INTEGER NOT NULL
) STRICT;

-- To whom a job was done whose input may name somebody twice; forgotten when the job ends.
CREATE TABLE bulk_done (
  key       TEXT NOT NULL,
  client_id TEXT NOT NULL,
  PRIMARY KEY (key, client_id)
) STRICT, WITHOUT ROWID;
