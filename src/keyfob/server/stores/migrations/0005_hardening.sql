-- SPDX-License-Identifier: Apache-2.0
-- Who changed what in the register, and a row that shows whether anything can be changed.

-- Committed with what it tells of; a line of it is never changed and never goes.
CREATE TABLE admin_action (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at      REAL NOT NULL,
  actor   TEXT NOT NULL,
  action  TEXT NOT NULL,      -- such as device.disable
  subject TEXT NOT NULL,      -- a name, or ? for what is none
  result  TEXT NOT NULL       -- done, or an error's code
) STRICT;

CREATE INDEX admin_action_by_subject ON admin_action (subject, id);

CREATE TRIGGER admin_action_stays BEFORE DELETE ON admin_action
BEGIN SELECT RAISE(ABORT, 'the trail is only added to'); END;

CREATE TRIGGER admin_action_is_true BEFORE UPDATE ON admin_action
BEGIN SELECT RAISE(ABORT, 'the trail is only added to'); END;

CREATE TABLE probe (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  at REAL NOT NULL
) STRICT;
