-- Secrets of an organization (workspace_id '') and of its workspaces, sealed for their place.
CREATE TABLE secrets (
  organization_id TEXT NOT NULL REFERENCES organizations(id), workspace_id TEXT NOT NULL, name TEXT NOT NULL,
  sealed BYTEA NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
  PRIMARY KEY (organization_id, workspace_id, name));
