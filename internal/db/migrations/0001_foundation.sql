-- Tenants, organizations, people.
CREATE TABLE tenants (
  id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  created_at BIGINT NOT NULL, suspended_at BIGINT);

CREATE TABLE plans (
  id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  users_limit BIGINT, services_limit BIGINT, requests_per_day BIGINT, -- NULL is unlimited
  rate_per_minute BIGINT NOT NULL, burst BIGINT NOT NULL,
  monthly_credits BIGINT NOT NULL, features TEXT NOT NULL, created_at BIGINT NOT NULL);

CREATE TABLE organizations (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenants(id), slug TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  home BOOLEAN NOT NULL, plan_id TEXT NOT NULL REFERENCES plans(id), body_policy TEXT NOT NULL, -- off, metadata, full
  contact_email TEXT, created_at BIGINT NOT NULL, suspended_at BIGINT, removed_at BIGINT);
CREATE INDEX organizations_tenant ON organizations (tenant_id);

-- A pool is 'platform' or one tenant's id; an e-mail is one user in it.
CREATE TABLE users (
  id TEXT PRIMARY KEY, pool TEXT NOT NULL, email TEXT NOT NULL, email_verified_at BIGINT,
  first_name TEXT NOT NULL, last_name TEXT NOT NULL, password_hash TEXT,
  created_at BIGINT NOT NULL, last_login_at BIGINT, password_changed_at BIGINT, suspended_at BIGINT,
  UNIQUE (pool, email));

CREATE TABLE memberships (
  organization_id TEXT NOT NULL REFERENCES organizations(id), user_id TEXT NOT NULL REFERENCES users(id),
  role TEXT NOT NULL, active BOOLEAN NOT NULL, seat BOOLEAN NOT NULL DEFAULT TRUE, -- end users take no seat of the plan
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
  PRIMARY KEY (organization_id, user_id));
CREATE INDEX memberships_user ON memberships (user_id);

CREATE TABLE invitations (
  id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id), email TEXT NOT NULL, role TEXT NOT NULL,
  token_hash BYTEA NOT NULL UNIQUE, invited_by TEXT, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL,
  accepted_at BIGINT, revoked_at BIGINT);
CREATE INDEX invitations_organization ON invitations (organization_id);

-- Links sent by mail: verify an address, reset a password. Only the hash is kept.
CREATE TABLE mail_tokens (
  hash BYTEA PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id), purpose TEXT NOT NULL,
  created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, used_at BIGINT);

CREATE TABLE sessions (
  id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id), organization_id TEXT NOT NULL REFERENCES organizations(id),
  created_at BIGINT NOT NULL, last_used_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, ended_at BIGINT,
  ip TEXT, user_agent TEXT);
CREATE INDEX sessions_user ON sessions (user_id);

-- Rotating refresh tokens; a session is the family. successor is sealed, for the ten seconds in which a repeat gets it again.
CREATE TABLE refresh_tokens (
  hash BYTEA PRIMARY KEY, session_id TEXT NOT NULL REFERENCES sessions(id), created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL, used_at BIGINT, successor BYTEA);

CREATE TABLE external_identities (
  issuer TEXT NOT NULL, subject TEXT NOT NULL, user_id TEXT NOT NULL REFERENCES users(id), created_at BIGINT NOT NULL,
  PRIMARY KEY (issuer, subject));

-- Failed sign-ins per account and network, for lockout that replicas share.
CREATE TABLE login_failures (
  scope TEXT NOT NULL, subject TEXT NOT NULL, failures BIGINT NOT NULL, window_started_at BIGINT NOT NULL, locked_until BIGINT,
  PRIMARY KEY (scope, subject));

-- Keys of every kind. hash is HMAC-SHA-256 with a pepper that is not here.
CREATE TABLE keys (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, hash BYTEA NOT NULL UNIQUE, pepper_id TEXT NOT NULL,
  tenant_id TEXT, organization_id TEXT, workspace_id TEXT, user_id TEXT, account_id TEXT,
  name TEXT NOT NULL, prefix TEXT NOT NULL, last_four TEXT NOT NULL, scopes TEXT NOT NULL, created_by TEXT,
  created_at BIGINT NOT NULL, expires_at BIGINT, last_used_at BIGINT, revoked_at BIGINT, replaced_by TEXT);
CREATE INDEX keys_user ON keys (user_id);
CREATE INDEX keys_organization ON keys (organization_id);
-- An account has one key.
CREATE UNIQUE INDEX keys_account ON keys (account_id) WHERE kind = 'account' AND revoked_at IS NULL;

-- Workspaces, the catalog, servers.
CREATE TABLE workspaces (
  id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id), slug TEXT NOT NULL, name TEXT NOT NULL,
  is_default BOOLEAN NOT NULL, status TEXT NOT NULL, reason TEXT, parent_id TEXT REFERENCES workspaces(id), role TEXT,
  runtime TEXT NOT NULL, tier BIGINT NOT NULL, model TEXT, instructions TEXT, template TEXT,
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, removed_at BIGINT);
CREATE UNIQUE INDEX workspaces_slug ON workspaces (organization_id, slug) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX workspaces_default ON workspaces (organization_id) WHERE is_default AND removed_at IS NULL;

-- organization_id is NULL for services on offer: to one tenant, or to all when tenant_id is NULL too.
-- price and read_price are those in force; prices has their history. revision counts changes of how a server is reached.
CREATE TABLE services (
  id TEXT PRIMARY KEY, tenant_id TEXT, organization_id TEXT REFERENCES organizations(id), slug TEXT NOT NULL, name TEXT NOT NULL,
  description TEXT NOT NULL, version TEXT NOT NULL, private BOOLEAN NOT NULL, -- made with a server, shown only to its organization
  transport TEXT NOT NULL, url TEXT, headers BYTEA, header_names TEXT NOT NULL, command TEXT, era TEXT NOT NULL, timeout_ms BIGINT NOT NULL,
  config_scope TEXT NOT NULL, config_schema TEXT, capabilities TEXT NOT NULL,
  price BIGINT NOT NULL, read_price BIGINT NOT NULL, charge_rejected BOOLEAN NOT NULL, revision BIGINT NOT NULL,
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, removed_at BIGINT,
  CHECK (price >= 0 AND read_price >= 0));
CREATE UNIQUE INDEX services_slug ON services (COALESCE(organization_id, ''), COALESCE(tenant_id, ''), slug) WHERE removed_at IS NULL AND NOT private;
CREATE INDEX services_organization ON services (organization_id);

-- What calls ('tool') and reads ('read') cost, and since when. tool '' is the service's default; a row with an end is history.
CREATE TABLE prices (
  service_id TEXT NOT NULL REFERENCES services(id), operation TEXT NOT NULL, tool TEXT NOT NULL, since BIGINT NOT NULL, until BIGINT,
  price BIGINT NOT NULL, PRIMARY KEY (service_id, operation, tool, since), CHECK (price >= 0));
CREATE UNIQUE INDEX prices_now ON prices (service_id, operation, tool) WHERE until IS NULL;

-- timeout_ms is the server's own, NULL for its service's.
CREATE TABLE servers (
  id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id), workspace_id TEXT NOT NULL REFERENCES workspaces(id),
  service_id TEXT NOT NULL REFERENCES services(id), slug TEXT NOT NULL, name TEXT NOT NULL, enabled BOOLEAN NOT NULL,
  timeout_ms BIGINT, revision BIGINT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, removed_at BIGINT);
CREATE UNIQUE INDEX servers_slug ON servers (workspace_id, slug) WHERE removed_at IS NULL;
CREATE INDEX servers_service ON servers (service_id);
CREATE INDEX servers_organization ON servers (organization_id);

CREATE TABLE tool_timeouts (
  server_id TEXT NOT NULL REFERENCES servers(id), tool TEXT NOT NULL, timeout_ms BIGINT NOT NULL, PRIMARY KEY (server_id, tool));

-- What an organization (user_id '') or a user filled into a service's schema; sealed whole.
CREATE TABLE configurations (
  service_id TEXT NOT NULL REFERENCES services(id), organization_id TEXT NOT NULL REFERENCES organizations(id), user_id TEXT NOT NULL,
  config BYTEA NOT NULL, revision BIGINT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
  PRIMARY KEY (service_id, organization_id, user_id));

-- Money. number is the integer id of the Account API. leased is credit set aside for calls in flight.
CREATE TABLE accounts (
  id TEXT PRIMARY KEY, number BIGINT NOT NULL UNIQUE, organization_id TEXT NOT NULL REFERENCES organizations(id), user_id TEXT NOT NULL,
  monthly BIGINT NOT NULL, purchased BIGINT NOT NULL, leased BIGINT NOT NULL, allocation BIGINT NOT NULL, tier TEXT NOT NULL,
  seq BIGINT NOT NULL, folded_seq BIGINT NOT NULL, total_calls BIGINT NOT NULL, total_used BIGINT NOT NULL,
  active BOOLEAN NOT NULL, allow_raw_records BOOLEAN NOT NULL, last_connected_at BIGINT, created_at BIGINT NOT NULL,
  UNIQUE (organization_id, user_id),
  CHECK (monthly >= 0 AND purchased >= 0 AND leased >= 0 AND leased <= monthly + purchased));

-- The ledger: append-only, numbered per account. monthly_amount is the part of amount that touched the monthly bucket.
CREATE TABLE entries (
  account_id TEXT NOT NULL, seq BIGINT NOT NULL, type TEXT NOT NULL, amount BIGINT NOT NULL, monthly_amount BIGINT NOT NULL,
  balance_before BIGINT NOT NULL, balance_after BIGINT NOT NULL, reference_type TEXT NOT NULL, reference_id TEXT,
  call_id BYTEA, service_id TEXT, price BIGINT, description TEXT, created_by TEXT, created_at BIGINT NOT NULL,
  PRIMARY KEY (account_id, seq), CHECK (balance_after = balance_before + amount AND balance_after >= 0)){{clustered}};

-- What may happen once (a month's grant, a payment, a top-up) has its key here; calls need none.
CREATE TABLE entry_keys (key TEXT PRIMARY KEY, account_id TEXT NOT NULL, seq BIGINT NOT NULL);

-- What a replica may spend without asking again; a dead replica's lease ends with its deadline.
CREATE TABLE leases (
  account_id TEXT NOT NULL REFERENCES accounts(id), replica TEXT NOT NULL, amount BIGINT NOT NULL, deadline BIGINT NOT NULL,
  PRIMARY KEY (account_id, replica), CHECK (amount >= 0));

-- The call log. Clustered by organization and time, so it needs no second index.
CREATE TABLE calls (
  organization_id TEXT NOT NULL, id BYTEA NOT NULL, account_id TEXT, personal_account TEXT, workspace_id TEXT, server_id TEXT, service_id TEXT,
  principal TEXT NOT NULL, user_id TEXT, door TEXT NOT NULL, operation TEXT NOT NULL, name TEXT NOT NULL,
  success BOOLEAN NOT NULL, status_code BIGINT NOT NULL, error_code TEXT, is_backend_error BOOLEAN NOT NULL,
  credits_cost BIGINT NOT NULL, credits_charged BIGINT NOT NULL, cost_micros BIGINT NOT NULL, duration_us BIGINT NOT NULL,
  request_bytes BIGINT NOT NULL, response_bytes BIGINT NOT NULL, ip TEXT, user_agent TEXT, created_at BIGINT NOT NULL,
  PRIMARY KEY (organization_id, id)){{clustered}};
-- Only calls paid from a person's account are listed by account (the Account API).
CREATE INDEX calls_personal ON calls (personal_account, id) WHERE personal_account IS NOT NULL;

-- Folded from entries, never from calls. day is the number of days since 1970 UTC.
CREATE TABLE usage_days (
  organization_id TEXT NOT NULL, account_id TEXT NOT NULL, service_id TEXT NOT NULL, day BIGINT NOT NULL,
  calls BIGINT NOT NULL, credits BIGINT NOT NULL, PRIMARY KEY (organization_id, day, service_id, account_id));

-- Calls counted against a plan's requests per day.
CREATE TABLE day_counts (organization_id TEXT NOT NULL, day BIGINT NOT NULL, used BIGINT NOT NULL, PRIMARY KEY (organization_id, day));

-- The audit trail, hash-chained per tenant; heads hold the newest hash.
CREATE TABLE events (
  tenant_id TEXT NOT NULL, seq BIGINT NOT NULL, id TEXT NOT NULL, organization_id TEXT, workspace_id TEXT,
  actor_kind TEXT NOT NULL, actor_id TEXT NOT NULL, actor_name TEXT NOT NULL, action TEXT NOT NULL,
  target_type TEXT NOT NULL, target_id TEXT NOT NULL, details TEXT NOT NULL, ip TEXT, request_id TEXT, created_at BIGINT NOT NULL,
  previous BYTEA NOT NULL, hash BYTEA NOT NULL, PRIMARY KEY (tenant_id, seq)){{clustered}};
CREATE INDEX events_organization ON events (organization_id, id);
CREATE TABLE event_heads (tenant_id TEXT PRIMARY KEY, seq BIGINT NOT NULL, hash BYTEA NOT NULL);

-- Failures of ours and of upstreams, for people who mend them.
CREATE TABLE error_lines (
  id TEXT PRIMARY KEY, organization_id TEXT, request_id TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,
  door TEXT NOT NULL, operation TEXT NOT NULL, severity TEXT NOT NULL, created_at BIGINT NOT NULL);
CREATE INDEX error_lines_organization ON error_lines (organization_id, id);

-- Answers kept for repeats of a request with the same Idempotency-Key; sealed.
CREATE TABLE idempotency (
  organization_id TEXT NOT NULL, key TEXT NOT NULL, fingerprint BYTEA NOT NULL, state TEXT NOT NULL, -- running, done
  status BIGINT, body BYTEA, owner TEXT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL,
  PRIMARY KEY (organization_id, key));

CREATE TABLE jobs (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, args TEXT NOT NULL, unique_key TEXT UNIQUE, state TEXT NOT NULL, -- available, running, done, dead
  run_at BIGINT NOT NULL, attempts BIGINT NOT NULL, max_attempts BIGINT NOT NULL, owner TEXT, leased_until BIGINT,
  last_error TEXT, created_at BIGINT NOT NULL, finished_at BIGINT);
CREATE INDEX jobs_due ON jobs (state, run_at);

-- Facts of the installation itself: the signing key (sealed), the check value of the master key.
CREATE TABLE installation (name TEXT PRIMARY KEY, value BYTEA NOT NULL, updated_at BIGINT NOT NULL);

-- Numbers that count up inside a transaction.
CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
