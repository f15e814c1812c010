"""The tables of a store in PostgreSQL, as migrations that run forward one after the other.

A migration that only adds tables, columns with defaults and indexes leaves the otaseal before able to go on, and is run
by a server that starts. `READABLE_BY` is the oldest schema whose otaseal can still work with this one.
"""

from __future__ import annotations

_FIRST = """
CREATE TABLE documents (name text PRIMARY KEY, data bytea NOT NULL, written timestamptz NOT NULL);
CREATE TABLE blobs (sha256 text PRIMARY KEY, data bytea NOT NULL);
ALTER TABLE blobs ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE audit (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, line text NOT NULL);
CREATE TABLE changes (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, server text NOT NULL, kind text NOT NULL,
    names text[] NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE servers (name text PRIMARY KEY, seen bigint NOT NULL, at timestamptz NOT NULL);
CREATE TABLE judged (at timestamptz NOT NULL);
INSERT INTO judged VALUES ('epoch');
CREATE TABLE devices (product text, device text, channel text NOT NULL, md5 text NOT NULL, version text NOT NULL,
    mac text NOT NULL, first_seen double precision NOT NULL, last_seen double precision NOT NULL, offered text,
    expected_md5 text, offered_at double precision, deliveries integer NOT NULL, delivered_at double precision,
    confirmed_at double precision, failed_at double precision, counter bigint, error bigint, certs text NOT NULL,
    address text NOT NULL, elsewhere text, elsewhere_deliveries integer NOT NULL, elsewhere_at double precision,
    other_mac text, enrolled double precision, sequence bigint, PRIMARY KEY (product, device)) WITH (fillfactor = 70);
CREATE INDEX by_silence ON devices (last_seen);
CREATE INDEX by_channel ON devices (product, channel);
CREATE TABLE rollouts (product text, channel text, version text NOT NULL, began double precision NOT NULL,
    set_aside double precision, PRIMARY KEY (product, channel));
CREATE TABLE statements (product text, device text, md5 text, version text NOT NULL, channel text NOT NULL,
    address text NOT NULL, said_at double precision NOT NULL, PRIMARY KEY (product, device, md5));
CREATE FUNCTION forget_statements() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    DELETE FROM statements WHERE product = old.product AND device = old.device; RETURN old; END $$;
CREATE TRIGGER forget_statements AFTER DELETE ON devices FOR EACH ROW EXECUTE FUNCTION forget_statements();
CREATE TABLE keys (product text, device text, key bytea NOT NULL, agreed double precision, enrolled double precision,
    PRIMARY KEY (product, device));
CREATE TABLE closed (since double precision NOT NULL);
CREATE TABLE waiting_keys (product text, device text, key bytea NOT NULL, shown double precision NOT NULL,
    address text NOT NULL, last double precision NOT NULL, PRIMARY KEY (product, device));
CREATE TABLE claims (sha256 text PRIMARY KEY, id text NOT NULL, product text NOT NULL, device text NOT NULL,
    expires text NOT NULL, uses integer NOT NULL, used integer NOT NULL);
CREATE TABLE requests (product text, device text, key text NOT NULL, csr bytea NOT NULL, proof text NOT NULL,
    credential text NOT NULL, asked double precision NOT NULL, certificate bytea, ends double precision,
    PRIMARY KEY (product, device));
"""
_LABELS = """
CREATE TABLE labels (product text, device text, name text NOT NULL, note text NOT NULL, tags text NOT NULL,
    pinned integer NOT NULL, PRIMARY KEY (product, device));
"""
_HISTORY = """
ALTER TABLE devices ADD COLUMN board text NOT NULL DEFAULT '', ADD COLUMN chip text NOT NULL DEFAULT '',
    ADD COLUMN free_space bigint, ADD COLUMN sketch_size bigint, ADD COLUMN chip_size bigint,
    ADD COLUMN sdk text NOT NULL DEFAULT '', ADD COLUMN answered text NOT NULL DEFAULT '',
    ADD COLUMN events bigint NOT NULL DEFAULT 0, ADD COLUMN pace double precision;
CREATE TABLE history (product text, device text, slot integer, number bigint NOT NULL, at double precision NOT NULL,
    event text NOT NULL, version text NOT NULL, detail text NOT NULL, PRIMARY KEY (product, device, slot));
CREATE FUNCTION forget_history() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    DELETE FROM history WHERE product = old.product AND device = old.device; RETURN old; END $$;
CREATE TRIGGER forget_history AFTER DELETE ON devices FOR EACH ROW EXECUTE FUNCTION forget_history();
"""
_NOTES = """
CREATE TABLE release_notes (product text, version text, severity text NOT NULL, notes text NOT NULL,
    cves text NOT NULL DEFAULT '', advisory text NOT NULL DEFAULT '', PRIMARY KEY (product, version));
CREATE TABLE support (product text PRIMARY KEY, ends text NOT NULL);
CREATE TABLE token_uses (id text PRIMARY KEY, used double precision NOT NULL);
"""
_TAG_RULES = """
CREATE TABLE tag_rules (product text, tag text, board text NOT NULL, chip text NOT NULL, version text NOT NULL,
    channel text NOT NULL, name text NOT NULL, PRIMARY KEY (product, tag));
"""
_KINDS = """
CREATE INDEX by_kind ON devices (product, channel, md5, version, board, chip, free_space, sketch_size, chip_size,
    counter);
CREATE INDEX by_answer ON devices (product, answered, channel);
"""
MIGRATIONS = (_FIRST, _LABELS, _HISTORY, _NOTES, _TAG_RULES, _KINDS)
"""The first one makes a store; each of the others makes the schema of the one before into the next."""
READABLE_BY = 1
EXISTS = "SELECT to_regclass('otaseal_schema') IS NOT NULL"
MAKE = "CREATE TABLE otaseal_schema (version integer NOT NULL, readable_by integer NOT NULL)"
"""Which schema it is: its name alone says that a database is ours."""
