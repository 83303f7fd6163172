-- What replicas over PostgreSQL have told each other, for one that did not hear it. body is JSON.
CREATE TABLE changes (id {{serial}}, at BIGINT NOT NULL, body TEXT NOT NULL);
CREATE INDEX changes_at ON changes (at);
