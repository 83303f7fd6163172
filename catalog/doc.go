// Package catalog holds the entries that Headgate ships: programs of stdio
// servers, ready for an operator to enable. Each has a file NAME.yaml and, in
// locks/, the npm lock file that pins every package below it by its hash.
// internal/launch says what an entry may hold.
package catalog
