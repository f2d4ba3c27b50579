-- SPDX-License-Identifier: Apache-2.0
-- The fleet: groups with their templates of rights, labels, pending devices, overlapping secrets.

ALTER TABLE client ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;  -- 1: not activated yet

-- A secret that was replaced and works beside the new one until then.
ALTER TABLE client ADD COLUMN old_secret_hash TEXT;
ALTER TABLE client ADD COLUMN old_secret_until REAL;
ALTER TABLE client ADD COLUMN old_secret_ends_on_use INTEGER NOT NULL DEFAULT 0;  -- of the new one

CREATE TABLE device_group (
  name       TEXT NOT NULL PRIMARY KEY,
  publish    TEXT NOT NULL,     -- JSON: topic filters with {device}
  subscribe  TEXT NOT NULL,     -- JSON: the same
  scopes     TEXT NOT NULL,     -- JSON: scopes as they are
  lifetime   INTEGER,           -- seconds; NULL: the server's default
  created_at REAL NOT NULL
) STRICT;

CREATE TABLE membership (
  client_id  TEXT NOT NULL,
  group_name TEXT NOT NULL,
  PRIMARY KEY (client_id, group_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX membership_by_group ON membership (group_name, client_id);

CREATE TABLE label (
  client_id TEXT NOT NULL,
  key       TEXT NOT NULL,
  value     TEXT NOT NULL,
  PRIMARY KEY (client_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX label_by_value ON label (key, value, client_id);

-- Whoever forgets a client forgets all of it: a later one of this name starts with nothing.
CREATE TRIGGER client_gone AFTER DELETE ON client BEGIN
  DELETE FROM membership WHERE client_id = OLD.client_id;
  DELETE FROM label WHERE client_id = OLD.client_id;
END;

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
