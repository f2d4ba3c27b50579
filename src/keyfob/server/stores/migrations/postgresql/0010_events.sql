-- SPDX-License-Identifier: Apache-2.0
-- Who is told of revocations as signed events, and what each has not yet been told.

-- A row of `revocation` is the event: it is written in the transaction that revokes. What each
-- receiver needs beyond it is how far it was taken up, and what is under way.
CREATE TABLE receiver (
  name              TEXT NOT NULL PRIMARY KEY,
  url               TEXT NOT NULL,
  audience          TEXT NOT NULL,
  credential        BYTEA,                      -- shown as Bearer; sealed like a signing key
  ca                TEXT,                      -- certificates in PEM; NULL: the system's
  created_at        DOUBLE PRECISION NOT NULL,
  taken_up          BIGINT NOT NULL,          -- revocations up to this cursor
  lease_owner       TEXT NOT NULL DEFAULT '',  -- the one process that delivers
  lease_until       DOUBLE PRECISION NOT NULL DEFAULT 0,
  delivered         BIGINT NOT NULL DEFAULT 0,
  rejected          BIGINT NOT NULL DEFAULT 0,
  expired           BIGINT NOT NULL DEFAULT 0,
  failures          BIGINT NOT NULL DEFAULT 0,
  last_delivered_at DOUBLE PRECISION,
  last_error        TEXT NOT NULL DEFAULT '',
  last_error_at     DOUBLE PRECISION
);

-- Taken up and not acknowledged. `event` is the revocation's cursor.
CREATE TABLE event_delivery (
  receiver   TEXT NOT NULL,
  event      BIGINT NOT NULL,
  subject    TEXT NOT NULL,
  taken_at   DOUBLE PRECISION NOT NULL,
  attempts   BIGINT NOT NULL DEFAULT 0,
  not_before DOUBLE PRECISION NOT NULL DEFAULT 0,
  PRIMARY KEY (receiver, event)
);

CREATE INDEX event_delivery_by_subject ON event_delivery (receiver, subject, event);
