-- SPDX-License-Identifier: Apache-2.0
-- Who is told of revocations as signed events, and what each has not yet been told.

-- A row of `revocation` is the event: it is written in the transaction that revokes. What each
-- receiver needs beyond it is how far it was taken up, and what is under way.
CREATE TABLE receiver (
  name              TEXT NOT NULL PRIMARY KEY,
  url               TEXT NOT NULL,
  audience          TEXT NOT NULL,
  credential        BLOB,                      -- shown as Bearer; sealed like a signing key
  ca                TEXT,                      -- certificates in PEM; NULL: the system's
  created_at        REAL NOT NULL,
  taken_up          INTEGER NOT NULL,          -- revocations up to this cursor
  lease_owner       TEXT NOT NULL DEFAULT '',  -- the one process that delivers
  lease_until       REAL NOT NULL DEFAULT 0,
  delivered         INTEGER NOT NULL DEFAULT 0,
  rejected          INTEGER NOT NULL DEFAULT 0,
  expired           INTEGER NOT NULL DEFAULT 0,
  failures          INTEGER NOT NULL DEFAULT 0,
  last_delivered_at REAL,
  last_error        TEXT NOT NULL DEFAULT '',
  last_error_at     REAL
) STRICT;

-- Taken up and not acknowledged. `event` is the revocation's cursor.
CREATE TABLE event_delivery (
  receiver   TEXT NOT NULL,
  event      INTEGER NOT NULL,
  subject    TEXT NOT NULL,
  taken_at   REAL NOT NULL,
  attempts   INTEGER NOT NULL DEFAULT 0,
  not_before REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (receiver, event)
) STRICT;

CREATE INDEX event_delivery_by_subject ON event_delivery (receiver, subject, event);
