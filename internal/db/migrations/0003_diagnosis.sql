-- What diagnoses found. server_id is '' for a URL that is no registered server. report is the whole report, JSON.
CREATE TABLE reports (
  id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id), workspace_id TEXT NOT NULL, server_id TEXT NOT NULL,
  kind TEXT NOT NULL, url TEXT NOT NULL, status TEXT NOT NULL, created_by TEXT NOT NULL, scheduled BOOLEAN NOT NULL, created_at BIGINT NOT NULL,
  duration_ms BIGINT NOT NULL, tools BIGINT NOT NULL, errors BIGINT NOT NULL, warnings BIGINT NOT NULL, report TEXT NOT NULL);
CREATE INDEX reports_server ON reports (organization_id, server_id, id);
CREATE INDEX reports_age ON reports (created_at);

-- When a server is diagnosed by itself: a cron expression in UTC, and the next time it is due.
CREATE TABLE diagnosis_schedules (
  server_id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id), workspace_id TEXT NOT NULL,
  cron TEXT NOT NULL, enabled BOOLEAN NOT NULL, created_by TEXT NOT NULL, next_at BIGINT, last_at BIGINT, last_report TEXT,
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL);
CREATE INDEX diagnosis_schedules_due ON diagnosis_schedules (next_at) WHERE enabled;
CREATE INDEX diagnosis_schedules_organization ON diagnosis_schedules (organization_id);

-- OAuth tokens that a person has brought for a server; sealed for their row. refreshing_until is the lease of whoever refreshes them.
CREATE TABLE upstream_grants (
  organization_id TEXT NOT NULL REFERENCES organizations(id), user_id TEXT NOT NULL REFERENCES users(id), server_id TEXT NOT NULL,
  server_url TEXT NOT NULL, resource TEXT NOT NULL, issuer TEXT NOT NULL, token_endpoint TEXT NOT NULL, client_id TEXT NOT NULL, scope TEXT NOT NULL,
  sealed BYTEA NOT NULL, expires_at BIGINT, revision BIGINT NOT NULL, refreshing_until BIGINT, problem TEXT NOT NULL,
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, PRIMARY KEY (organization_id, user_id, server_id));
CREATE INDEX upstream_grants_server ON upstream_grants (server_id);
