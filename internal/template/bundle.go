package template

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/vault"
	"headgate/internal/workspace"
)

// Schema names the form of a bundle.
const Schema = "headgate.bundle/1"

// Bundle is one workspace, with those below it, without secrets.
type Bundle struct {
	Schema string `json:"schema"`
	ID     string `json:"id,omitempty"` // of the workspace it was exported from
	Author string `json:"author,omitempty"`
	Node
	Services []Server  `json:"services,omitempty"` // of the organization's own, that its servers name
	Manifest *Manifest `json:"manifest,omitempty"`
}

// Manifest says what a bundle was when it was exported: a digest of each
// workspace by its path of names, signed by the installation.
type Manifest struct {
	Algorithm string            `json:"algorithm"`
	Digests   map[string]string `json:"digests"`
	CreatedAt time.Time         `json:"created_at"`
	PublicKey string            `json:"public_key"`
	Signature string            `json:"signature"`
}

func (m *Manifest) message() []byte {
	var b strings.Builder
	b.WriteString("headgate bundle\n" + m.CreatedAt.UTC().Format(time.RFC3339) + "\n")
	for _, path := range sorted(m.Digests) {
		b.WriteString(path + "\x00" + m.Digests[path] + "\n")
	}
	return []byte(b.String())
}

func (s *Service) signer() ed25519.PrivateKey {
	seed := s.Keys.Derive("bundle")
	return ed25519.NewKeyFromSeed(seed[:])
}

// sums are the digests of everything in a bundle: of each workspace by its path,
// and of the services.
func (b *Bundle) sums() (map[string]string, error) {
	into := map[string]string{}
	for _, service := range b.Services {
		text, err := json.Marshal(service)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		into["services/"+service.Slug] = hex.EncodeToString(sum[:])
	}
	return into, digests(b.Node, "", into)
}

// digests sums up each workspace of a bundle, by its path.
func digests(n Node, path string, into map[string]string) error {
	sub := n.SubWorkspaces
	n.SubWorkspaces = nil
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	path += "/" + n.Name
	into[path] = hex.EncodeToString(sum[:])
	for _, child := range sub {
		if err := digests(child, path, into); err != nil {
			return err
		}
	}
	return nil
}

// Export returns a workspace, and those below it, as a bundle.
func (s *Service) Export(ctx context.Context, by *access.Principal, ref string) (Bundle, error) {
	if err := access.Require(by, access.WorkspacesAdmin); err != nil {
		return Bundle{}, err
	}
	w, err := s.Workspaces.Get(ctx, by.Organization, ref)
	if err != nil {
		return Bundle{}, err
	}
	b := Bundle{Schema: Schema, ID: w.ID}
	if b.Node, err = s.export(ctx, by, w); err != nil {
		return Bundle{}, err
	}
	if err := s.exportNamed(ctx, by, &b); err != nil {
		return Bundle{}, err
	}
	key := s.signer()
	b.Manifest = &Manifest{Algorithm: "sha256", CreatedAt: s.Now().UTC().Truncate(time.Second), PublicKey: hex.EncodeToString(key.Public().(ed25519.PublicKey))}
	if b.Manifest.Digests, err = b.sums(); err != nil {
		return Bundle{}, err
	}
	b.Manifest.Signature = hex.EncodeToString(ed25519.Sign(key, b.Manifest.message()))
	return b, s.Store.Tx(ctx, func(tx *db.Tx) error {
		return activity.Record(ctx, tx, by, activity.Event{Workspace: w.ID, Action: "bundle.export", TargetType: "workspace", TargetID: w.ID, Details: map[string]any{"workspaces": len(b.Manifest.Digests)}})
	})
}

// Imported is what an import of a bundle has made, or would make.
type Imported struct {
	Import
	Signed  bool     // its manifest was signed by this installation
	Needs   []string // secrets that it requires and that are not there yet
	Root    workspace.Workspace
	Made    map[string]workspace.Workspace // by the names in the bundle
	Content Node
}

// ImportBundle makes the workspaces of a bundle, with new ids, all or none.
// With dryRun it only says what would be made; plan applies what was planned.
func (s *Service) ImportBundle(ctx context.Context, by *access.Principal, text []byte, parent string, dryRun bool, plan string) (Imported, error) {
	if err := access.Require(by, access.WorkspacesAdmin); err != nil {
		return Imported{}, err
	}
	b, signed, err := s.readBundle(by, text)
	if err != nil {
		return Imported{}, err
	}
	content, err := json.Marshal(b) // in one form, however it was sent
	if err != nil {
		return Imported{}, err
	}
	sum := sha256.Sum256(append([]byte("bundle\x00"+parent+"\x00"), content...))
	res := Imported{Import: Import{Kind: "bundle", Name: b.Name, State: Running, digest: sum[:]}, Signed: signed, Made: map[string]workspace.Workspace{}, Content: b.Node}
	list(&res, b.Node, dryRun)
	if res.Needs, err = s.lacking(ctx, by.Organization, b.Node); err != nil {
		return Imported{}, err
	}
	if !dryRun {
		if err := s.askFor(ctx, by, b.Services, []Node{b.Node}); err != nil {
			return Imported{}, err
		}
	}
	switch {
	case dryRun:
		res.State = Planned
		return res, s.open(ctx, by, &res.Import)
	case plan != "":
		err = s.claim(ctx, by, &res.Import, plan)
	default:
		err = s.open(ctx, by, &res.Import)
	}
	if err != nil {
		return Imported{}, err
	}
	defer s.alive()()
	if err := s.unpack(ctx, by, &res, b, parent); err != nil {
		return Imported{}, errors.Join(err, s.abandon(ctx, by, &res.Import, err))
	}
	return res, nil
}

func list(res *Imported, n Node, plan bool) {
	res.Steps = append(res.Steps, Step{Name: n.Name, State: map[bool]string{false: Waiting, true: Created}[plan]})
	for _, child := range n.SubWorkspaces {
		list(res, child, plan)
	}
}

// unpack makes everything of a bundle, and says so, in one transaction.
func (s *Service) unpack(ctx context.Context, by *access.Principal, res *Imported, b Bundle, parent string) error {
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		for _, service := range b.Services {
			p, err := service.portable("")
			if err == nil {
				err = s.Catalog.AddService(ctx, tx, owner(by, service), p)
			}
			if err != nil {
				return fmt.Errorf("service %s: %w", service.Slug, err)
			}
		}
		at := 0
		var walk func(n *Node, parent string) error
		walk = func(n *Node, parent string) error {
			w, err := s.build(ctx, tx, by, n, "", parent, "bundle")
			if err != nil {
				return err
			}
			res.Made[n.Name] = w
			if at == 0 {
				res.Root = w
			}
			res.Steps[at] = Step{Name: n.Name, State: Created, Workspace: w.ID, Made: w.Name}
			at++
			for i := range n.SubWorkspaces {
				if err := walk(&n.SubWorkspaces[i], w.ID); err != nil {
					return err
				}
			}
			return nil
		}
		if err := walk(&b.Node, parent); err != nil {
			return err
		}
		res.State = Done
		if err := s.note(ctx, tx, &res.Import); err != nil {
			return err
		}
		return event(ctx, tx, by, &res.Import, "import.end")
	})
}

// abandon notes that an import has made nothing.
func (s *Service) abandon(ctx context.Context, by *access.Principal, imp *Import, why error) error {
	imp.State = FailedState
	for i := range imp.Steps {
		imp.Steps[i].fail(why)
	}
	ctx = context.WithoutCancel(ctx)
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		if err := s.note(ctx, tx, imp); err != nil {
			return err
		}
		return event(ctx, tx, by, imp, "import.end")
	})
}

// readBundle reads a bundle and holds it to its manifest and to the rules.
func (s *Service) readBundle(by *access.Principal, text []byte) (b Bundle, signed bool, err error) {
	if err := decode(text, &b); err != nil {
		return b, false, ErrBundle.Because(err)
	}
	if b.Schema != Schema {
		return b, false, ErrBundle.Saying("The bundle's schema is not %s.", Schema)
	}
	if b.Template != "" {
		return b, false, ErrBundle.Saying("A bundle holds everything and names no template.")
	}
	c := checker{catalog: s.Catalog, by: by, names: map[string]bool{}}
	if err := c.node(&b.Node, "bundle", 1); err != nil {
		return b, false, err
	}
	if err := c.shared(&Organization{Services: b.Services}); err != nil {
		return b, false, err
	}
	if b.Manifest == nil {
		return b, false, nil
	}
	found, err := b.sums()
	if err != nil {
		return b, false, err
	}
	if len(found) != len(b.Manifest.Digests) {
		return b, false, ErrDigest
	}
	for path, digest := range found {
		if b.Manifest.Digests[path] != digest {
			return b, false, ErrDigest.With("workspace", path)
		}
	}
	public, _ := hex.DecodeString(b.Manifest.PublicKey)
	signature, _ := hex.DecodeString(b.Manifest.Signature)
	if len(public) != ed25519.PublicKeySize || !ed25519.Verify(public, b.Manifest.message(), signature) {
		return b, false, ErrDigest.Saying("The bundle's signature does not fit its manifest. Export it again, or leave its manifest out if the change is meant.")
	}
	return b, slices.Equal(public, s.signer().Public().(ed25519.PublicKey)), nil
}

// lacking names the secrets that a bundle requires and the organization does
// not have.
func (s *Service) lacking(ctx context.Context, organization string, n Node) ([]string, error) {
	secrets, err := s.Vault.List(ctx, vault.Place{Organization: organization})
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, x := range secrets {
		have[x.Name] = true
	}
	var missing []string
	var walk func(n Node)
	walk = func(n Node) {
		missing = append(missing, unmet(n.RequiredEnv, have)...)
		for _, child := range n.SubWorkspaces {
			walk(child)
		}
	}
	walk(n)
	slices.Sort(missing)
	return slices.Compact(missing), nil
}
