-- Where a tenant's trail begins once its oldest events have expired: the last of these, signed with a key that the database
-- does not hold.
CREATE TABLE event_floors (tenant_id TEXT PRIMARY KEY, seq BIGINT NOT NULL, hash BYTEA NOT NULL, at BIGINT NOT NULL, signature BYTEA NOT NULL);
