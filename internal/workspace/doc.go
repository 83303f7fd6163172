// Package workspace keeps workspaces: where an organization's servers run, from
// provisioning to removal.
//
// It owns the tables workspaces, workspace_files and model_billing. Every
// organization has one marked default, made with it (Create, in the transaction
// that makes the organization).
//
// Promises: slugs and names are unique among an organization's workspaces; a
// name that is taken gets " (2)". A pause takes the descendants along, and a
// resume those that were paused with it. Every step of a life is one
// transaction, so a crash leaves it done or not begun; what others keep of a
// workspace joins it (OnRemove, OnRestart). A removed workspace is ErrGone for
// ever. Get, List and Default answer from memory, and never older than the last
// committed change that was announced: this package announces "workspace" with
// the workspace's id (keys depend on it) and "workspaces" with the
// organization's, and listens to the latter and to "organization". Another
// organization's workspace is one that does not exist.
//
// It leaves to others: who may (access), what runs in it (catalog, upstream),
// secrets (vault), refusing calls while it is paused (budget, by Usable).
package workspace
