package catalog

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/netguard"
	"headgate/internal/seal"
)

// Transport says how a server is spoken to.
type Transport string

// The transports. Builtin servers live in this process; their URL is a name.
const (
	HTTP    Transport = "http" // Streamable HTTP
	SSE     Transport = "sse"  // HTTP+SSE of 2024-11-05
	Stdio   Transport = "stdio"
	Builtin Transport = "builtin"
)

// Era pins how a server is spoken to; see mcp-protocol.md 1.3.
type Era string

// The pins. Auto finds out.
const (
	Auto   Era = "auto"
	Legacy Era = "legacy"
	Modern Era = "modern"
)

// ConfigScope says who fills in a service's schema.
type ConfigScope string

// The scopes. With ForUser each user has a configuration of their own, and the
// organization's, if there is one, stands in for those who have none.
const (
	ForOrganization ConfigScope = "organization"
	ForUser         ConfigScope = "user"
)

// The defaults of a service.
const (
	DefaultPrice   = 1
	DefaultTimeout = 30 * time.Second

	minTimeout = 100 * time.Millisecond
	maxTimeout = time.Hour
	maxPrice   = 1_000_000_000
	maxTools   = 2_000 // tools with a price or a timeout of their own

	maxCommandBytes = 64 << 10
)

// Limit tells how many services an organization's plan has room for; limited
// is false when there is no bound. It runs inside the transaction that adds one.
type Limit func(ctx context.Context, q db.Querier, organization string) (limit int64, limited bool, err error)

// Options are what a Catalog needs.
type Options struct {
	Store *db.Store
	Keys  *seal.Keys
	Guard *netguard.Guard
	Limit Limit // nil: no plan bounds anything
	Ask   Ask   // nil: everybody may keep secrets here
	Now   func() time.Time
}

// Catalog changes and shows services, servers, prices and configurations.
type Catalog struct {
	store *db.Store
	keys  *seal.Keys
	guard *netguard.Guard
	limit Limit
	may   Ask
	now   func() time.Time

	schemas schemaCache
}

// New returns a catalog.
func New(o Options) *Catalog {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Limit == nil {
		o.Limit = func(context.Context, db.Querier, string) (int64, bool, error) { return 0, false, nil }
	}
	return &Catalog{store: o.Store, keys: o.Keys, guard: o.Guard, limit: o.Limit, may: o.Ask, now: o.Now}
}

// room returns ErrTooMany when the plan has no room for one more service.
func (c *Catalog) room(ctx context.Context, tx *db.Tx, organization string) error {
	limit, limited, err := c.limit(ctx, tx, organization)
	if err != nil || !limited {
		return err
	}
	if err := lockOrganization(ctx, tx, organization); err != nil {
		return err
	}
	used, err := CountServices(ctx, tx, organization)
	if err != nil || used < limit {
		return err
	}
	return ErrTooMany.With("feature", "services").With("limit", limit).With("used", used).With("reset", nil) // no time frees a place
}

// operates reports whether the principal acts on the installation, outside
// every organization.
func operates(by *access.Principal) bool {
	return by.Kind == access.OperatorKey || by.Kind == access.System && by.Organization == ""
}

// mayAdmin checks the right to register and change, inside an organization or
// on the installation.
func mayAdmin(by *access.Principal) error {
	if by != nil && operates(by) {
		return access.Require(by, access.Operate)
	}
	return access.Require(by, access.ServicesAdmin)
}

// CheckSlug returns ErrSlug unless text is a slug that may be given to a
// service or server. w and t are parts of Gateway paths.
func CheckSlug(text string) error {
	if text == "w" || text == "t" || len(text) == 0 || len(text) > 32 || text[0] == '-' {
		return ErrSlug
	}
	for _, c := range []byte(text) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return ErrSlug
		}
	}
	return nil
}

// checkText holds names and descriptions to one line or a page.
func checkText(field, text string, limit int, required bool) error {
	if required && strings.TrimSpace(text) == "" {
		return ErrInput.Saying("A %s is missing. Give one.", field).With("field", field)
	}
	if len(text) > limit || strings.ContainsFunc(text, isControl) {
		return ErrInput.Saying("The %s is longer than %d bytes or holds control characters. Shorten or clean it.", field, limit).With("field", field)
	}
	return nil
}

func isControl(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r == utf8.RuneError
}

func checkTimeout(d time.Duration) error {
	if d < minTimeout || d > maxTimeout {
		return ErrInput.Saying("A timeout lies between %s and %s. Choose one in that range.", minTimeout, maxTimeout).With("field", "timeout")
	}
	return nil
}

func checkPrice(p int64) error {
	if p < 0 || p > maxPrice {
		return ErrPrice
	}
	return nil
}
