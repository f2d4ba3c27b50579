-- SPDX-License-Identifier: Apache-2.0
-- Signing keys that follow each other: when each one signs is the same for every process.

-- Encrypted, which begins with kfk1:
ALTER TABLE signing_key RENAME COLUMN private_pem TO private_key;

-- A key signs until the next one's moment; a moment is never changed once it is stored.
ALTER TABLE signing_key ADD COLUMN signs_from DOUBLE PRECISION NOT NULL DEFAULT 0;

UPDATE signing_key SET signs_from = created_at;
