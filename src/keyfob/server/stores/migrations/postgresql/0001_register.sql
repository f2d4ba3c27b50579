-- SPDX-License-Identifier: Apache-2.0
-- The register, its revocations and the signing keys.

-- Devices, applications and services in one namespace: no name ever means two parties.
-- COLLATE "C": names are in the same order in every database, whatever its locale.
CREATE TABLE client (
  client_id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  kind          TEXT NOT NULL CHECK (kind IN ('device', 'application', 'service')),
  secret_hash   TEXT,              -- versioned; NULL: a public client
  grants        TEXT NOT NULL,     -- separated by spaces
  scopes        TEXT NOT NULL,     -- separated by spaces
  lifetime      BIGINT,            -- seconds; NULL: the server's default
  created_at    DOUBLE PRECISION NOT NULL,
  disabled_at   DOUBLE PRECISION,  -- NULL: enabled
  last_token_at DOUBLE PRECISION   -- written in batches
);

CREATE INDEX client_by_kind ON client (kind, client_id);

-- Tokens of a subject with iat <= issued_before are revoked, which matters until `until`.
CREATE TABLE revocation (
  cursor        BIGINT NOT NULL PRIMARY KEY,
  subject       TEXT COLLATE "C" NOT NULL,
  issued_before BIGINT NOT NULL,
  until         BIGINT NOT NULL,
  reason        TEXT NOT NULL
);

CREATE INDEX revocation_by_subject ON revocation (subject, issued_before);
CREATE INDEX revocation_by_until ON revocation (until);

-- The newest cursor that was committed. No sequence: that gives numbers out before they are
-- committed, and a reader who saw 8 would never see the 7 of a slower transaction. Whoever takes a
-- number holds this row until his commit, so numbers become visible in their order and without a
-- gap, and one that was rolled back is given out again.
CREATE TABLE revocation_counter (
  id         BIGINT PRIMARY KEY CHECK (id = 1),
  last_value BIGINT NOT NULL
);
INSERT INTO revocation_counter (id, last_value) VALUES (1, 0);

CREATE FUNCTION number_revocation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE revocation_counter SET last_value = last_value + 1 WHERE id = 1
    RETURNING last_value INTO STRICT NEW.cursor;
  RETURN NEW;
END
$$;

CREATE TRIGGER revocation_number BEFORE INSERT ON revocation
FOR EACH ROW EXECUTE FUNCTION number_revocation();

CREATE TABLE signing_key (
  kid           TEXT NOT NULL PRIMARY KEY,
  algorithm     TEXT NOT NULL,
  private_pem   BYTEA NOT NULL,
  created_at    DOUBLE PRECISION NOT NULL
);
