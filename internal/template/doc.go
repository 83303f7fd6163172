// Package template makes workspaces from recipes: workspace templates, whole
// organizations, and bundles of workspaces that were exported.
//
// It owns the tables templates and imports. A recipe is a Node, the same form
// in all three; its files are plain relative paths. What needs a secret names it
// (required_env, {{secret.NAME}}), and nothing that is exported holds one. A
// template's files are kept sealed all the same: somebody may have written the
// value of a header into them.
//
// Promises: a recipe is found wrong before anything is made of it; an import of
// an organization whose required secrets are missing makes nothing; each
// workspace of it is made whole or not at all, a bundle altogether. An import
// keeps account of its steps in the transactions of those steps, so that after
// a crash it says what is done and what never began. A bundle names its digest,
// signed by the installation that made it; one that was changed is refused. A
// plan applies to exactly what was planned.
//
// It leaves to others: workspaces, servers, secrets and budgets themselves.
package template
