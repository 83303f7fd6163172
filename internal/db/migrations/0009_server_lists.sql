-- What servers listed last, by the credentials they were asked with, so that a restart need not wait for them. identity is a
-- SHA-256; items the JSON of a list, null when the server did not answer; kind and version are upstream's.
CREATE TABLE server_lists (
  organization_id TEXT NOT NULL, server_id TEXT NOT NULL, identity BYTEA NOT NULL, kind BIGINT NOT NULL, version BIGINT NOT NULL,
  items BYTEA, private BOOLEAN NOT NULL, seen_at BIGINT NOT NULL,
  PRIMARY KEY (organization_id, server_id, identity, kind));
CREATE INDEX server_lists_seen ON server_lists (seen_at);
