-- What a legacy MCP session has set, or that it is over: the rest is in its sealed id. hash is SHA-256 of what names it inside
-- that id, which opens nothing; subscriptions is JSON.
CREATE TABLE mcp_sessions (
  hash BYTEA PRIMARY KEY, level TEXT NOT NULL, subscriptions TEXT NOT NULL, ended BOOLEAN NOT NULL, expires_at BIGINT NOT NULL);
CREATE INDEX mcp_sessions_expires ON mcp_sessions (expires_at);
