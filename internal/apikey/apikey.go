package apikey

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/singleflight"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/quota"
	"headgate/internal/seal"
)

// Key is what is known of a key. Its text is not.
type Key struct {
	ID           string
	Kind         access.Kind
	Tenant       string
	Organization string
	Workspace    string
	User         string
	Account      string
	Name         string
	Prefix       string // the first twelve characters
	LastFour     string
	Scopes       access.Scopes
	CreatedBy    string // a user's or key's id
	CreatedAt    time.Time
	ExpiresAt    time.Time
	LastUsedAt   time.Time
	RevokedAt    time.Time
	ReplacedBy   string // the key a rotation made of it
}

// Spec asks for a key.
type Spec struct {
	Kind         access.Kind
	Organization string // of every kind but operator keys
	Workspace    string // of workspace keys
	User         string // of personal, diagnostics and account keys
	Account      string // of account keys
	Name         string
	Scopes       access.Scopes // empty: all that the kind and the creator may have; a personal key must say
	ExpiresIn    time.Duration // 0: until it is revoked
}

// Options tune a Service. The zero value is right for a server.
type Options struct {
	Now       func() time.Time
	Log       *slog.Logger
	CacheSize int         // keys known in memory; 0 means 50,000
	Misses    quota.Limit // unknown credentials per address; zero means 60 a minute, 60 at once
}

// Service is the domain of keys.
type Service struct {
	store  *db.Store
	keys   *seal.Keys
	now    func() time.Time
	log    *slog.Logger
	cache  *cache
	missed *quota.Limiter[netip.Prefix]
	misses quota.Limit
	loads  singleflight.Group
}

// The limits of design.md section 3 and issue 5.
const (
	maxName          = 120
	maxLife          = 10 * 365 * 24 * time.Hour
	maxGrace         = 7 * 24 * time.Hour
	maxMints         = 10 // organization keys an hour
	missedAddresses  = 100_000
	defaultCacheSize = 50_000
)

// live is how many live keys of a kind an owner may have.
var live = map[access.Kind]int64{
	access.PersonalKey: 100, access.DiagnosticsKey: 100, access.AccountKey: 1,
	access.OrganizationKey: 100, access.WorkspaceKey: 50, access.OperatorKey: 10,
}

// New returns the service. From then on it hears of the store's changes.
func New(store *db.Store, keys *seal.Keys, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.Misses == (quota.Limit{}) {
		o.Misses = quota.Limit{PerMinute: 60, Burst: 60}
	}
	s := &Service{
		store: store, keys: keys, now: o.Now, log: o.Log, cache: newCache(o.CacheSize),
		missed: quota.NewLimiter[netip.Prefix](missedAddresses, o.Now), misses: o.Misses,
	}
	store.OnChange(s.cache.changed)
	return s
}

// Create is Issue in a transaction of its own.
func (s *Service) Create(ctx context.Context, by *access.Principal, spec Spec) (key Key, value seal.Value, err error) {
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		key, value, err = s.Issue(ctx, tx, by, spec)
		return err
	})
	return key, value, err
}

// Issue makes a key in the caller's transaction and returns its text, which
// nothing can show again. The key may have no more than its creator, and lives
// no longer when the creator is a key that expires. Headgate itself (a
// principal of kind System) may make any kind, within the owner's role.
func (s *Service) Issue(ctx context.Context, tx *db.Tx, by *access.Principal, spec Spec) (Key, seal.Value, error) {
	return s.issue(ctx, tx, by, spec, "")
}

// Replace revokes every key of the account and issues the one that follows
// them, in the caller's transaction.
func (s *Service) Replace(ctx context.Context, tx *db.Tx, by *access.Principal, spec Spec) (Key, seal.Value, error) {
	spec.Kind = access.AccountKey
	old, err := db.All(ctx, tx, (*Key).fields, `SELECT `+columns+` FROM keys WHERE account_id = $1 AND kind = 'account' AND revoked_at IS NULL`, spec.Account)
	if err != nil {
		return Key{}, seal.Value{}, err
	}
	for _, k := range old {
		if err := s.revoke(ctx, tx, by, k); err != nil {
			return Key{}, seal.Value{}, err
		}
	}
	return s.issue(ctx, tx, by, spec, "")
}

// issue makes a key; replaces is the id of the key that a rotation retires.
func (s *Service) issue(ctx context.Context, tx *db.Tx, by *access.Principal, spec Spec, replaces string) (Key, seal.Value, error) {
	now := s.now().UTC().Truncate(time.Millisecond)
	prefix, ok := prefixFor(spec.Kind)
	switch {
	case !ok:
		return Key{}, seal.Value{}, ErrKind
	case !validName(spec.Name):
		return Key{}, seal.Value{}, ErrName
	case spec.ExpiresIn != 0 && (spec.ExpiresIn < time.Second || spec.ExpiresIn > maxLife):
		return Key{}, seal.Value{}, ErrExpiry
	}
	tenant, lendable, err := s.permit(ctx, tx, by, spec)
	if err != nil {
		return Key{}, seal.Value{}, err
	}
	scopes, err := scopesFor(spec, lendable)
	if err != nil {
		return Key{}, seal.Value{}, err
	}
	k := Key{
		ID: id.New("key"), Kind: spec.Kind, Tenant: tenant, Organization: spec.Organization, Workspace: spec.Workspace,
		User: spec.User, Account: spec.Account, Name: spec.Name, Scopes: scopes, CreatedBy: creator(by), CreatedAt: now,
	}
	if spec.ExpiresIn > 0 {
		k.ExpiresAt = now.Add(spec.ExpiresIn).Truncate(time.Millisecond)
	}
	if by.Kind == access.OrganizationKey && !by.ExpiresAt.IsZero() && (k.ExpiresAt.IsZero() || k.ExpiresAt.After(by.ExpiresAt)) {
		return Key{}, seal.Value{}, ErrBeyond.Saying("A key cannot outlive the key that makes it, which expires at %s. Send a shorter expiresIn.", by.ExpiresAt.Format(time.RFC3339))
	}
	// First the event: its lock on the tenant's chain makes creators take
	// turns, so that the counts below are exact on every engine.
	if err := s.record(ctx, tx, by, k, "key.create", map[string]any{"kind": k.Kind.String(), "name": k.Name, "scopes": k.Scopes.List(), "replaces": replaces}); err != nil {
		return Key{}, seal.Value{}, err
	}
	if err := withinLimits(ctx, tx, k, replaces); err != nil {
		return Key{}, seal.Value{}, err
	}
	text := generate(prefix)
	k.Prefix, k.LastFour = text[:shownChars], text[len(text)-shownAtEnd:]
	sum, pepper := s.keys.Hash(text)
	if err := insert(ctx, tx, k, sum, pepper); err != nil {
		return Key{}, seal.Value{}, err
	}
	return k, seal.NewValue(text), nil
}

// permit judges whether by may make such a key, and returns the tenant it
// will belong to and the widest scopes it can be lent.
func (s *Service) permit(ctx context.Context, tx *db.Tx, by *access.Principal, spec Spec) (tenant string, lendable access.Scopes, err error) {
	if by == nil {
		return "", 0, access.ErrDenied
	}
	if spec.Kind == access.OperatorKey {
		return "", 0, access.Require(by, access.Operate)
	}
	tenant, err = tenantOf(ctx, tx, spec.Organization)
	if err != nil {
		return "", 0, err
	}
	switch spec.Kind {
	case access.OrganizationKey, access.WorkspaceKey:
		return tenant, access.Every, permitShared(ctx, tx, by, spec)
	default:
		lendable, err = permitOwn(ctx, tx, by, spec)
		return tenant, lendable, err
	}
}

// permitShared judges keys that belong to no person.
func permitShared(ctx context.Context, tx *db.Tx, by *access.Principal, spec Spec) error {
	switch by.Kind {
	case access.System:
	case access.Session, access.OrganizationKey:
		if by.Organization != spec.Organization {
			return access.ErrDenied
		}
		if err := access.Require(by, access.OrgKeysManage); err != nil {
			return err
		}
	default:
		return access.ErrNeedSession
	}
	if spec.Kind == access.WorkspaceKey {
		return inOrganization(ctx, tx, spec.Workspace, spec.Organization)
	}
	return nil
}

// permitOwn judges keys that belong to a person, who makes them in person, in
// any organization that has that person as a member.
func permitOwn(ctx context.Context, tx *db.Tx, by *access.Principal, spec Spec) (access.Scopes, error) {
	role, err := roleIn(ctx, tx, spec.Organization, spec.User)
	if errors.Is(err, db.ErrNone) {
		return 0, access.ErrDenied.Saying("The key's owner is no member of this organization. Add them first.")
	}
	if err != nil || by.Kind == access.System {
		return access.ScopesOf(role), err
	}
	if by.User == "" || by.User != spec.User {
		return 0, access.ErrNeedSession.Saying("A person's keys are made by that person alone. Ask them, or make an organization key.")
	}
	there := *by
	there.Organization, there.Role = spec.Organization, role
	permission := access.KeysManage
	if spec.Kind == access.AccountKey {
		permission = access.AccountManage
	}
	return by.Scopes & access.ScopesOf(role), access.Require(&there, permission)
}

// scopesFor returns the key's scopes: what was asked for, when that can be
// lent, or else what the kind has when nobody says.
func scopesFor(spec Spec, lendable access.Scopes) (access.Scopes, error) {
	calls, _ := access.ParseScopes([]string{string(access.MCPRead), string(access.MCPWrite)})
	switch spec.Kind {
	case access.OperatorKey:
		return 0, nil // judged by kind alone
	case access.OrganizationKey:
		return access.Every, nil
	case access.WorkspaceKey, access.AccountKey:
		lendable &= calls
	}
	if spec.Scopes == 0 {
		if spec.Kind == access.PersonalKey || lendable == 0 {
			return 0, ErrScopes
		}
		return lendable, nil
	}
	if !spec.Scopes.Within(lendable) {
		return 0, ErrBeyond.With("scopes", (spec.Scopes &^ lendable).List())
	}
	return spec.Scopes, nil
}

func (s *Service) record(ctx context.Context, tx *db.Tx, by *access.Principal, k Key, action string, details map[string]any) error {
	return activity.Record(ctx, tx, by, activity.Event{
		Tenant: k.Tenant, Organization: k.Organization, Workspace: k.Workspace,
		Action: action, TargetType: "key", TargetID: k.ID, Details: details,
	})
}

// creator returns who made a key: a session's person, or the key or part of
// Headgate that did.
func creator(by *access.Principal) string {
	if by.Kind == access.Session {
		return by.User
	}
	return by.ID
}

func validName(name string) bool {
	if !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName {
		return false
	}
	visible := false
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return false
		}
		visible = visible || r != ' '
	}
	return visible
}
