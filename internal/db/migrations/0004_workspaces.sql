-- The life of workspaces. paused_by is the workspace whose pause this one shares.
ALTER TABLE workspaces ADD COLUMN description TEXT;
ALTER TABLE workspaces ADD COLUMN paused_by TEXT;
UPDATE workspaces SET tier = 4 WHERE is_default;
CREATE INDEX workspaces_parent ON workspaces (parent_id) WHERE parent_id IS NOT NULL;

-- Files that came with a template or a bundle: skills and notes for agents.
CREATE TABLE workspace_files (
  workspace_id TEXT NOT NULL REFERENCES workspaces(id), path TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (workspace_id, path));

-- Who pays for models: an organization's default (workspace_id '') and what its workspaces say instead.
CREATE TABLE model_billing (
  organization_id TEXT NOT NULL REFERENCES organizations(id), workspace_id TEXT NOT NULL, mode TEXT NOT NULL, updated_at BIGINT NOT NULL,
  PRIMARY KEY (organization_id, workspace_id));

-- Ceilings of workspaces, in cents; NULL is unlimited. What was spent is kept in sixtieths of each period, in micro-USD.
CREATE TABLE budgets (
  workspace_id TEXT PRIMARY KEY REFERENCES workspaces(id), organization_id TEXT NOT NULL REFERENCES organizations(id),
  hourly BIGINT, daily BIGINT, weekly BIGINT, monthly BIGINT, updated_at BIGINT NOT NULL);
CREATE TABLE budget_buckets (
  workspace_id TEXT NOT NULL, period TEXT NOT NULL, bucket BIGINT NOT NULL, spent BIGINT NOT NULL, PRIMARY KEY (workspace_id, period, bucket)){{clustered}};
-- What a replica may spend of a budget without asking again, as leases of accounts.
CREATE TABLE budget_leases (
  workspace_id TEXT NOT NULL, replica TEXT NOT NULL, amount BIGINT NOT NULL, deadline BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, replica), CHECK (amount >= 0));
-- The highest of 50, 80 and 100 per cent that was told of.
CREATE TABLE budget_notices (workspace_id TEXT NOT NULL, period TEXT NOT NULL, level BIGINT NOT NULL, PRIMARY KEY (workspace_id, period));

-- Recipes: kind is workspace or organization, files a JSON object of paths and texts.
CREATE TABLE templates (
  organization_id TEXT NOT NULL REFERENCES organizations(id), slug TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, files TEXT NOT NULL,
  created_by TEXT NOT NULL, created_at BIGINT NOT NULL, PRIMARY KEY (organization_id, slug));

-- Imports: planned, running, done, failed or interrupted, and how far each came. plan is sealed, steps JSON.
CREATE TABLE imports (
  id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id), kind TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
  digest BYTEA NOT NULL, steps TEXT NOT NULL, owner TEXT NOT NULL, created_by TEXT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL);
CREATE INDEX imports_organization ON imports (organization_id, id);

-- Which services an organization's workspaces may have; no rows: all.
CREATE TABLE service_allowlist (
  organization_id TEXT NOT NULL REFERENCES organizations(id), service_id TEXT NOT NULL REFERENCES services(id), enabled_by TEXT NOT NULL, enabled_at BIGINT NOT NULL,
  PRIMARY KEY (organization_id, service_id));

-- Gated operations that wait for a person. hash is an HMAC of the exact operation, its arguments and who asks.
CREATE TABLE approvals (
  id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id), workspace_id TEXT, gate TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL,
  hash BYTEA NOT NULL, asked_by_kind TEXT NOT NULL, asked_by TEXT NOT NULL, asked_by_name TEXT NOT NULL, reason TEXT NOT NULL,
  status TEXT NOT NULL, decided_by TEXT, note TEXT, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, decided_at BIGINT, used_at BIGINT);
CREATE INDEX approvals_organization ON approvals (organization_id, id);
-- What an organization gates: a list of words.
CREATE TABLE approval_policies (organization_id TEXT PRIMARY KEY REFERENCES organizations(id), gates TEXT NOT NULL, updated_at BIGINT NOT NULL);
