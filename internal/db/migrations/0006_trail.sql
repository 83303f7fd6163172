-- Pages of the audit trail and their totals, by what a trail is asked for. The
-- time is in each, so that a count reads nothing else.
DROP INDEX events_organization;
CREATE INDEX events_organization ON events (organization_id, id, created_at);
CREATE INDEX events_workspace ON events (organization_id, workspace_id, id, created_at);
CREATE INDEX events_actor ON events (organization_id, actor_id, id, created_at);
CREATE INDEX events_target ON events (organization_id, target_id, id, created_at);
CREATE INDEX events_action ON events (organization_id, action, id, created_at);
