// Package access says who calls (Principal) and whether they may (Require).
//
// It owns the closed lists of principal kinds, roles, scopes and permissions,
// and the one table that joins them. Every door and every domain asks it; none
// compares a role or a scope itself. It knows no store and no HTTP.
//
// A credential can only narrow its owner: a key passes when its scopes hold
// the permission's scope and its owner's present role does too. The rights of
// an owner are read when the principal is made, so a role lost is lost by the
// owner's keys at the same moment.
package access
