-- SPDX-License-Identifier: Apache-2.0
-- Who changed what in the register, and a row that shows whether anything can be changed.

-- Committed with what it tells of; a line of it is never changed and never goes.
CREATE TABLE admin_action (
  id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at      DOUBLE PRECISION NOT NULL,
  actor   TEXT NOT NULL,
  action  TEXT NOT NULL,                  -- such as device.disable
  subject TEXT COLLATE "C" NOT NULL,      -- a name, or ? for what is none
  result  TEXT NOT NULL                   -- done, or an error's code
);

CREATE INDEX admin_action_by_subject ON admin_action (subject, id);

CREATE FUNCTION keep_admin_actions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the trail is only added to' USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER admin_action_stays BEFORE DELETE OR UPDATE OR TRUNCATE ON admin_action
FOR EACH STATEMENT EXECUTE FUNCTION keep_admin_actions();

CREATE TABLE probe (
  id BIGINT PRIMARY KEY CHECK (id = 1),
  at DOUBLE PRECISION NOT NULL
);

-- What has been used up of the limits (docs/adr/0013-limits.md), by all servers together. SQLite has
-- no such table: there one process counts in its memory. UNLOGGED: nothing waits for the disk, and a
-- crash of PostgreSQL forgets what was counted, as a restart of that one process does.
CREATE UNLOGGED TABLE allowance (
  kind      TEXT COLLATE "C" NOT NULL CHECK (kind IN ('known', 'failures', 'requests', 'mistakes')),
  whom      TEXT COLLATE "C" NOT NULL,   -- a network, or a name and a network
  rate      DOUBLE PRECISION NOT NULL,   -- so much comes in a second
  most      DOUBLE PRECISION NOT NULL,   -- and never more than this
  remaining DOUBLE PRECISION NOT NULL,   -- as it was at that moment
  at        DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (kind, whom)
) WITH (fillfactor = 50);

CREATE INDEX allowance_by_time ON allowance (kind, at);

CREATE FUNCTION allowance_now(of allowance, moment DOUBLE PRECISION)
RETURNS DOUBLE PRECISION LANGUAGE sql IMMUTABLE AS $$
  SELECT least(of.most, of.remaining + greatest(0, moment - of.at) * of.rate)
$$;

-- How many seconds until there is one to spend; 0 where there is, or nothing was used up.
CREATE FUNCTION allowance_wait(of_kind TEXT, of_whom TEXT, moment DOUBLE PRECISION)
RETURNS DOUBLE PRECISION LANGUAGE sql STABLE AS $$
  SELECT coalesce(max(greatest(0, 1 - allowance_now(a, moment)) / a.rate), 0)
  FROM allowance a WHERE kind = of_kind AND whom = of_whom
$$;

-- Spends one. Returns 0, or the seconds until there is one.
CREATE FUNCTION allowance_take(
  of_kind TEXT, of_whom TEXT, new_rate DOUBLE PRECISION, new_most DOUBLE PRECISION,
  moment DOUBLE PRECISION
) RETURNS DOUBLE PRECISION LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO allowance AS a (kind, whom, rate, most, remaining, at)
  VALUES (of_kind, of_whom, new_rate, new_most, new_most - 1, moment)
  ON CONFLICT (kind, whom) DO UPDATE
    SET remaining = allowance_now(a, moment) - 1, at = greatest(a.at, moment)
    WHERE allowance_now(a, moment) >= 1;
  IF FOUND THEN
    RETURN 0;
  END IF;
  RETURN allowance_wait(of_kind, of_whom, moment);
END
$$;

CREATE FUNCTION admit_request(
  name TEXT, network TEXT, address_rate DOUBLE PRECISION, address_most DOUBLE PRECISION,
  moment DOUBLE PRECISION, OUT reason TEXT, OUT seconds DOUBLE PRECISION, OUT is_known BOOLEAN
) LANGUAGE plpgsql AS $$
DECLARE
  pair TEXT := name || ' ' || network;
BEGIN
  is_known := EXISTS (SELECT 1 FROM allowance WHERE kind = 'known' AND whom = pair);
  reason := 'limit_failures';
  seconds := allowance_wait('failures', pair, moment);
  IF seconds > 0 THEN
    RETURN;
  END IF;
  IF is_known THEN
    reason := 'limit_client';
    seconds := allowance_take('known', pair, 0, 0, moment);
    RETURN;
  END IF;
  reason := 'limit_address_failures';
  seconds := allowance_wait('mistakes', network, moment);
  IF seconds > 0 THEN
    RETURN;
  END IF;
  reason := 'limit_address';
  seconds := allowance_take('requests', network, address_rate, address_most, moment);
END
$$;

-- One order for everybody, a pair and then its network: nobody waits for each other.
CREATE FUNCTION note_failure(
  name TEXT, network TEXT, pair_rate DOUBLE PRECISION, pair_most DOUBLE PRECISION,
  address_rate DOUBLE PRECISION, address_most DOUBLE PRECISION, moment DOUBLE PRECISION
) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
  pair TEXT := name || ' ' || network;
BEGIN
  PERFORM allowance_take('failures', pair, pair_rate, pair_most, moment);
  IF NOT EXISTS (SELECT 1 FROM allowance WHERE kind = 'known' AND whom = pair) THEN
    PERFORM allowance_take('mistakes', network, address_rate, address_most, moment);
  END IF;
END
$$;

-- What is full again says nothing, except of who is known; beyond so many, the oldest go.
CREATE FUNCTION trim_allowances(most_kept BIGINT, moment DOUBLE PRECISION)
RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
  each TEXT;
BEGIN
  FOREACH each IN ARRAY ARRAY['known', 'failures', 'requests', 'mistakes'] LOOP
    DELETE FROM allowance WHERE (kind, whom) IN (
      SELECT a.kind, a.whom FROM allowance a
      WHERE a.kind = each AND (
        (each <> 'known' AND allowance_now(a, moment) >= a.most)
        OR a.at < (SELECT b.at FROM allowance b WHERE b.kind = each
                   ORDER BY b.at DESC OFFSET most_kept - 1 LIMIT 1))
      FOR UPDATE SKIP LOCKED);
  END LOOP;
END
$$;
