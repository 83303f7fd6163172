-- Bodies of calls, many to a row: written in batches, found by the range of ids a row holds. They are in data, or in a
-- segment file beside the store at start.
CREATE TABLE body_chunks (
  organization_id TEXT NOT NULL, first_id BYTEA NOT NULL, last_id BYTEA NOT NULL, created_at BIGINT NOT NULL,
  data BYTEA, segment TEXT, start BIGINT NOT NULL, size BIGINT NOT NULL,
  PRIMARY KEY (organization_id, first_id, last_id)){{clustered}};
CREATE INDEX body_chunks_age ON body_chunks (created_at);
