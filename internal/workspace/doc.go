// Package workspace keeps workspaces: where an organization's servers run.
//
// It owns the table workspaces. Every organization has one marked default,
// made with it (Create, in the transaction that makes the organization).
//
// Promises: slugs and names are unique among an organization's workspaces; a
// name that is taken gets " (2)". Get, List and Default answer from memory, and
// never older than the last committed change that was announced: this package
// announces "workspace" with the workspace's id (keys depend on it) and
// "workspaces" with the organization's, and listens to the latter and to
// "organization". Another organization's workspace is one that does not exist.
//
// It leaves to others: who may (access), what runs in it (catalog, upstream),
// secrets (vault), and refusing calls while it is paused (call, by Usable).
package workspace
