-- SPDX-License-Identifier: Apache-2.0
-- Limits of the device authorization grant that several servers have together, and names that are in
-- the same order in every database, whatever its locale.

-- When each device code was polled last, and before that. UNLOGGED, as allowance is.
CREATE UNLOGGED TABLE device_poll (
  code_hash BYTEA NOT NULL PRIMARY KEY,
  at        DOUBLE PRECISION NOT NULL,
  previous  DOUBLE PRECISION             -- NULL: it was the first
) WITH (fillfactor = 50);

-- Wrong user codes: one row, which says what is left for all operators together.
ALTER TABLE allowance DROP CONSTRAINT allowance_kind_check;
ALTER TABLE allowance ADD CONSTRAINT allowance_kind_check
  CHECK (kind IN ('known', 'failures', 'requests', 'mistakes', 'codes'));

ALTER TABLE registration_token ALTER COLUMN name TYPE TEXT COLLATE "C";
ALTER TABLE operator_account ALTER COLUMN name TYPE TEXT COLLATE "C";
