-- SPDX-License-Identifier: Apache-2.0
-- What a client is registered with beside its credentials and scopes: one JSON object.

ALTER TABLE client ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
