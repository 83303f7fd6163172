package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/seal"
	"headgate/internal/tenancy"
)

// Issuer is another server whose tokens are believed, as far as said here.
type Issuer struct {
	URL       string     // the claim iss, exactly
	Audience  string     // must be in the claim aud
	Algorithm string     // the one that counts: RS256, ES256, EdDSA, …; HS256 with a Secret
	JWKS      string     // where its public keys are
	Secret    seal.Value // of HS256, at least 32 bytes; then JWKS is not used
	// TrustEmail believes its e-mail claims without email_verified, for a main
	// back end of the operator's own.
	TrustEmail bool
	// Provision makes users of people nobody here has met: as members of
	// Organization, or with a tenant of their own when it is "".
	Provision    bool
	Organization string
}

const (
	externalLeeway = time.Minute
	externalCheck  = 5 * time.Minute // how long a signature check counts
	externalPrefix = "external:"
)

var algorithms = []jose.SignatureAlgorithm{jose.HS256, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

type issuer struct {
	Issuer
	algorithm jose.SignatureAlgorithm
	keys      *keySet // nil with a shared secret
}

// newIssuers checks the configured issuers, all of them before it complains.
func newIssuers(list []Issuer, client *http.Client, now func() time.Time) (map[string]*issuer, error) {
	all, errs := map[string]*issuer{}, []error{}
	for _, c := range list {
		i := &issuer{Issuer: c, algorithm: jose.SignatureAlgorithm(c.Algorithm)}
		switch {
		case c.URL == "" || c.Audience == "" || all[c.URL] != nil:
			errs = append(errs, fmt.Errorf("issuer %q: needs a URL of its own and an audience", c.URL))
		case !slices.Contains(algorithms, i.algorithm):
			errs = append(errs, fmt.Errorf("issuer %q: the algorithm must be one of %v", c.URL, algorithms))
		case i.algorithm == jose.HS256 && (len(c.Secret.Reveal()) < 32 || c.JWKS != ""):
			errs = append(errs, fmt.Errorf("issuer %q: HS256 needs a secret of at least 32 bytes and no JWKS", c.URL))
		case i.algorithm != jose.HS256 && (c.JWKS == "" || !c.Secret.Empty() || client == nil):
			errs = append(errs, fmt.Errorf("issuer %q: %s needs a JWKS URL and no secret", c.URL, c.Algorithm))
		case i.algorithm != jose.HS256:
			i.keys = &keySet{url: c.JWKS, algorithm: c.Algorithm, client: client, now: now}
		}
		all[c.URL] = i
	}
	return all, errors.Join(errs...)
}

// externalClaims are what other issuers' tokens say of a person.
type externalClaims struct {
	jwt.Claims
	Email         string `json:"email"`
	EmailVerified any    `json:"email_verified"` // some send it as text
	GivenName     string `json:"given_name"`
	FamilyName    string `json:"family_name"`
}

// verifyExternal checks a token of a configured issuer and finds, or makes,
// its user.
func (s *Service) verifyExternal(ctx context.Context, token string) (verified, error) {
	i := s.issuers[claimedIssuer(token)]
	if i == nil {
		return verified{}, ErrTokenInvalid
	}
	c, err := i.verify(ctx, token, s.now())
	if err != nil {
		return verified{}, err
	}
	v := verified{ref: externalRef(i.URL, c.Subject), expires: c.Expiry.Time(), keep: s.now().Add(externalCheck)}
	return v, s.meet(ctx, i, c)
}

// claimedIssuer reads iss without believing it, to find the key to check with.
func claimedIssuer(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	plain, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(plain, &c) != nil {
		return ""
	}
	return c.Issuer
}

func (i *issuer) verify(ctx context.Context, token string, now time.Time) (*externalClaims, error) {
	t, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{i.algorithm})
	if err != nil || len(t.Headers) != 1 {
		return nil, ErrTokenInvalid.Because(err)
	}
	h := t.Headers[0]
	if typ, ok := h.ExtraHeaders[jose.HeaderType]; ok && typ != "JWT" && typ != "at+jwt" {
		return nil, ErrTokenInvalid
	}
	var key any = []byte(i.Secret.Reveal())
	if i.keys != nil {
		if key, err = i.keys.find(ctx, h.KeyID); err != nil {
			return nil, err
		}
	}
	c := &externalClaims{}
	if err := t.Claims(key, c); err != nil {
		return nil, ErrTokenInvalid.Because(err)
	}
	if c.Expiry == nil || c.Subject == "" && c.Email == "" || len(c.Subject) > 255 {
		return nil, ErrTokenInvalid
	}
	switch err := c.ValidateWithLeeway(jwt.Expected{Issuer: i.URL, AnyAudience: jwt.Audience{i.Audience}, Time: now}, externalLeeway); {
	case errors.Is(err, jwt.ErrExpired):
		return nil, ErrTokenExpired
	case err != nil:
		return nil, ErrTokenInvalid.Because(err)
	}
	return c, i.address(c)
}

// address normalises the token's e-mail address; a subject that is an address
// stands in for a claim that is missing.
func (i *issuer) address(c *externalClaims) (err error) {
	if c.Email == "" && strings.Contains(c.Subject, "@") {
		c.Email = c.Subject
	}
	if c.Email == "" {
		return ErrNoEmail
	}
	if c.Subject == "" {
		c.Subject = c.Email
	}
	if c.Email, err = tenancy.NormalEmail(c.Email); err != nil {
		return ErrNoEmail
	}
	return nil
}

func (i *issuer) proves(c *externalClaims) bool {
	return i.TrustEmail || c.EmailVerified == true || c.EmailVerified == "true"
}

// meet makes sure that the token's identity belongs to a user. The identity is
// issuer and subject. It is joined to a user of the same address only when
// both sides have proven the address and the user has no other identity;
// anything else would let an issuer, or whoever registers an address first,
// take over somebody.
func (s *Service) meet(ctx context.Context, i *issuer, c *externalClaims) error {
	for try := 0; ; try++ {
		_, err := externalUser(ctx, s.store, i.URL, c.Subject)
		if errors.Is(err, ErrNoUser) {
			err = s.introduce(ctx, i, c)
		}
		if !errors.Is(err, errOvertaken) || try == 2 {
			return err
		}
	}
}

// errOvertaken means that the same identity is being introduced by a parallel
// request, which has written first.
var errOvertaken = errors.New("a parallel request introduced this identity")

func (s *Service) introduce(ctx context.Context, i *issuer, c *externalClaims) error {
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		if _, err := externalUser(ctx, tx, i.URL, c.Subject); !errors.Is(err, ErrNoUser) {
			return err
		}
		u, err := oneUser(ctx, tx, `pool = $1 AND email = $2`, PlatformPool, c.Email)
		switch {
		case err == nil:
			others, err := db.Value[int64](ctx, tx, `SELECT COUNT(*) FROM external_identities WHERE user_id = $1`, u.ID)
			if err != nil {
				return fmt.Errorf("identities: %w", err)
			}
			if !i.proves(c) || u.EmailVerifiedAt.IsZero() || others > 0 {
				// The user may be this very identity's, made since the look above.
				if _, err := externalUser(ctx, tx, i.URL, c.Subject); !errors.Is(err, ErrNoUser) {
					return err
				}
				return ErrLinkRefused
			}
		case errors.Is(err, ErrNoUser):
			if u, err = s.provision(ctx, tx, i, c); err != nil {
				return err
			}
		default:
			return err
		}
		return s.join(ctx, tx, i, c, u)
	})
}

func (s *Service) join(ctx context.Context, tx *db.Tx, i *issuer, c *externalClaims, u *User) error {
	n, err := db.Exec(ctx, tx, `INSERT INTO external_identities (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (issuer, subject) DO NOTHING`,
		i.URL, c.Subject, u.ID, s.now().UnixMilli())
	if err != nil {
		return fmt.Errorf("add identity: %w", err)
	}
	if n == 0 {
		return errOvertaken
	}
	return s.record(ctx, tx, nil, u, "user.link", map[string]any{"issuer": i.URL})
}

func (s *Service) provision(ctx context.Context, tx *db.Tx, i *issuer, c *externalClaims) (*User, error) {
	if !i.Provision {
		return nil, ErrNotKnown
	}
	first, _ := cleanName(c.GivenName)
	last, _ := cleanName(c.FamilyName)
	u := &User{ID: id.New("user"), Pool: PlatformPool, Email: c.Email, FirstName: first, LastName: last, CreatedAt: s.now()}
	if i.proves(c) {
		u.EmailVerifiedAt = u.CreatedAt
	}
	if err := insertUser(ctx, tx, u); errors.Is(err, ErrEmailTaken) {
		return nil, errOvertaken // it was free a moment ago
	} else if err != nil {
		return nil, err
	}
	by := &access.Principal{Kind: access.Anonymous, ID: u.ID, Name: u.Email, User: u.ID}
	mailbox, _, _ := strings.Cut(u.Email, "@")
	m := tenancy.Membership{Organization: i.Organization, User: u.ID, Role: access.Member, Seat: true}
	if m.Organization == "" {
		o, err := s.tenancy.Found(ctx, tx, by, tenancy.Founding{Name: mailbox})
		if err != nil {
			return nil, err
		}
		m.Organization, m.Role = o.ID, access.Owner
	}
	if err := s.tenancy.AddMember(ctx, tx, by, m); err != nil {
		return nil, err
	}
	o, err := s.tenancy.Find(ctx, tx, "", m.Organization)
	if err != nil {
		return nil, err
	}
	return u, activity.Record(ctx, tx, by, activity.Event{Tenant: o.Tenant, Organization: o.ID, Action: "user.register", TargetType: "user", TargetID: u.ID, Details: map[string]any{"email": u.Email, "issuer": i.URL}})
}

func externalUser(ctx context.Context, q db.Querier, issuer, subject string) (string, error) {
	user, err := db.Value[string](ctx, q, `SELECT user_id FROM external_identities WHERE issuer = $1 AND subject = $2`, issuer, subject)
	if errors.Is(err, db.ErrNone) {
		return "", ErrNoUser
	}
	if err != nil {
		return "", fmt.Errorf("identity: %w", err)
	}
	return user, nil
}

// externalRef names an external identity among the grants.
func externalRef(issuer, subject string) string { return externalPrefix + issuer + "\n" + subject }

func cutExternal(ref string) (issuer, subject string, ok bool) {
	rest, ok := strings.CutPrefix(ref, externalPrefix)
	issuer, subject, _ = strings.Cut(rest, "\n")
	return issuer, subject, ok
}

// loadExternal is loadGrant for a person known by an issuer's token. There is
// no session of ours to end, so the grant stands on the user and their first
// place alone.
func (s *Service) loadExternal(ctx context.Context, issuer, subject string) (*grant, error) {
	user, err := externalUser(ctx, s.store, issuer, subject)
	if errors.Is(err, ErrNoUser) {
		return nil, ErrTokenInvalid
	}
	if err != nil {
		return nil, err
	}
	u, err := s.User(ctx, user)
	if err != nil {
		return nil, err
	}
	if !u.SuspendedAt.IsZero() {
		return nil, ErrSuspended
	}
	place, err := s.placeOf(ctx, s.store, u, "")
	if err != nil {
		return nil, err
	}
	r := &grantRow{user: u.ID, organization: place.ID, pool: u.Pool, email: u.Email, tenant: place.Tenant, role: place.Role, expires: s.now().Add(sessionLife)}
	g, err := s.newGrant(ctx, r, "")
	if err != nil {
		return nil, err
	}
	g.expires = time.Time{} // as long as the token
	return g, nil
}
