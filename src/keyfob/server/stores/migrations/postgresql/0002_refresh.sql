-- SPDX-License-Identifier: Apache-2.0
-- Families of refresh tokens: the newest token of each by its hash, and no token.

CREATE TABLE refresh_family (
  family_id     BYTEA NOT NULL PRIMARY KEY,
  client_id     TEXT COLLATE "C" NOT NULL,  -- the application that the tokens were issued to
  subject       TEXT COLLATE "C" NOT NULL,  -- the device
  scopes        TEXT NOT NULL,              -- as granted at the login; separated by spaces
  family_key    BYTEA NOT NULL,             -- what its tokens are made with
  counter       BIGINT NOT NULL,            -- the number of the token that is good now
  digest        BYTEA NOT NULL,             -- of that token's secret
  previous      BYTEA,                      -- of the one before; NULL at the first
  rotated_at    DOUBLE PRECISION NOT NULL,
  expires_at    DOUBLE PRECISION NOT NULL,  -- unless it is used before
  ends_at       DOUBLE PRECISION NOT NULL,  -- however often it is used
  ended         TEXT NOT NULL DEFAULT ''    -- why; empty while it lives
);

CREATE INDEX refresh_family_by_subject ON refresh_family (subject, client_id, rotated_at);
CREATE INDEX refresh_family_by_client ON refresh_family (client_id);
CREATE INDEX refresh_family_by_end ON refresh_family (ends_at);

-- A client that is disabled or removed takes its families with it, in the same transaction,
-- whoever does it and however many at once.
CREATE FUNCTION end_refresh_families() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE refresh_family SET ended = 'disabled' WHERE subject = NEW.client_id AND ended = '';
  UPDATE refresh_family SET ended = 'disabled' WHERE client_id = NEW.client_id AND ended = '';
  RETURN NULL;
END
$$;

CREATE TRIGGER refresh_family_disabled AFTER UPDATE OF disabled_at ON client
FOR EACH ROW WHEN (NEW.disabled_at IS NOT NULL) EXECUTE FUNCTION end_refresh_families();

CREATE FUNCTION remove_refresh_families() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM refresh_family WHERE subject = OLD.client_id;
  DELETE FROM refresh_family WHERE client_id = OLD.client_id;
  RETURN NULL;
END
$$;

CREATE TRIGGER refresh_family_removed AFTER DELETE ON client
FOR EACH ROW EXECUTE FUNCTION remove_refresh_families();
