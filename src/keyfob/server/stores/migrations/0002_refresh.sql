-- SPDX-License-Identifier: Apache-2.0
-- Families of refresh tokens: the newest token of each by its hash, and no token.

CREATE TABLE refresh_family (
  family_id     BLOB NOT NULL PRIMARY KEY,
  client_id     TEXT NOT NULL,     -- the application that the tokens were issued to
  subject       TEXT NOT NULL,     -- the device
  scopes        TEXT NOT NULL,     -- as granted at the login; separated by spaces
  family_key    BLOB NOT NULL,     -- what its tokens are made with
  counter       INTEGER NOT NULL,  -- the number of the token that is good now
  digest        BLOB NOT NULL,     -- of that token's secret
  previous      BLOB,              -- of the one before; NULL at the first
  rotated_at    REAL NOT NULL,
  expires_at    REAL NOT NULL,     -- unless it is used before
  ends_at       REAL NOT NULL,     -- however often it is used
  ended         TEXT NOT NULL DEFAULT ''  -- why; empty while it lives
) STRICT;

CREATE INDEX refresh_family_by_subject ON refresh_family (subject, client_id, rotated_at);
CREATE INDEX refresh_family_by_client ON refresh_family (client_id);
CREATE INDEX refresh_family_by_end ON refresh_family (ends_at);

-- A client that is disabled or removed takes its families with it, in the same transaction,
-- whoever does it and however many at once.
CREATE TRIGGER refresh_family_disabled AFTER UPDATE OF disabled_at ON client
WHEN NEW.disabled_at IS NOT NULL
BEGIN
  UPDATE refresh_family SET ended = 'disabled' WHERE subject = NEW.client_id AND ended = '';
  UPDATE refresh_family SET ended = 'disabled' WHERE client_id = NEW.client_id AND ended = '';
END;

CREATE TRIGGER refresh_family_removed AFTER DELETE ON client
BEGIN
  DELETE FROM refresh_family WHERE subject = OLD.client_id;
  DELETE FROM refresh_family WHERE client_id = OLD.client_id;
END;
