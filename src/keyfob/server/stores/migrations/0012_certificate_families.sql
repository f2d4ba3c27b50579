-- SPDX-License-Identifier: Apache-2.0
-- The certificate (x5t#S256) that a public client's refresh tokens are bound to; NULL: to none.

ALTER TABLE refresh_family ADD COLUMN certificate TEXT;
