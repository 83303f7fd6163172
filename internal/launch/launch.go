package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/sandbox"
)

// Options are what a Service needs.
type Options struct {
	Store   *db.Store
	Catalog *catalog.Catalog
	Data    string        // the data directory
	Shipped fs.FS         // the shipped entries
	Level   sandbox.Level // with None a child sees its work directory where it is
	Now     func() time.Time
	Log     *slog.Logger
}

// Service keeps the operator's catalog of programs.
type Service struct {
	store   *db.Store
	catalog *catalog.Catalog
	data    string
	plain   bool
	shipped func() (map[string]*stored, error)
	now     func() time.Time
	log     *slog.Logger

	installing sync.Mutex // one at a time
	versions   sync.Map   // of runtimes, by path
}

// stored is an entry with its lock file.
type stored struct {
	Entry *Entry          `json:"entry"`
	Lock  json.RawMessage `json:"lock,omitempty"`

	shipped bool
}

// New returns the service.
func New(o Options) (*Service, error) {
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return nil, err
	}
	if data, err = filepath.EvalSymlinks(data); err != nil {
		return nil, err
	}
	s := &Service{store: o.Store, catalog: o.Catalog, data: data, plain: o.Level == sandbox.None, now: o.Now, log: o.Log}
	s.shipped = sync.OnceValues(func() (map[string]*stored, error) { return readShipped(o.Shipped) })
	return s, nil
}

// readShipped reads the entries that Headgate ships. A mistake in one is a bug,
// found by any test that lists them.
func readShipped(from fs.FS) (map[string]*stored, error) {
	files, err := fs.Glob(from, "*.yaml")
	if err != nil {
		return nil, err
	}
	entries := map[string]*stored{}
	for _, file := range files {
		text, err := fs.ReadFile(from, file)
		if err != nil {
			return nil, err
		}
		e, err := Parse(text)
		if err != nil {
			return nil, fmt.Errorf("shipped entry %s: %w", file, err)
		}
		var lock []byte
		if e.Package != nil {
			if lock, err = fs.ReadFile(from, "locks/"+e.Name+".json"); err == nil {
				_, err = readLock(e, lock)
			}
			if err != nil {
				return nil, fmt.Errorf("the lock file of shipped entry %s: %w", file, err)
			}
		}
		if e.Name+".yaml" != file {
			return nil, fmt.Errorf("shipped entry %s is named %s", file, e.Name)
		}
		entries[e.Name] = &stored{e, lock, true}
	}
	return entries, nil
}

// Offer is an entry and what has become of it.
type Offer struct {
	Entry     *Entry
	Shipped   bool
	Installed bool             // on this replica
	Service   *catalog.Service // on offer; nil when the entry is not enabled
	Outdated  bool             // enabled in another version, or with other arguments, than the entry now has
	Schema    json.RawMessage
}

// List returns every entry, by name.
func (s *Service) List(ctx context.Context, by *access.Principal) ([]Offer, error) {
	if err := access.Require(by, access.Operate); err != nil {
		return nil, err
	}
	all, err := s.added(ctx)
	if err != nil {
		return nil, err
	}
	shipped, err := s.shipped()
	if err != nil {
		return nil, err
	}
	maps.Copy(all, shipped)
	services, err := s.services(ctx, by)
	if err != nil {
		return nil, err
	}
	list := make([]Offer, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		o, err := s.offer(all[name], services[name])
		if err != nil {
			return nil, err
		}
		list = append(list, *o)
	}
	return list, nil
}

// Get returns one entry.
func (s *Service) Get(ctx context.Context, by *access.Principal, name string) (*Offer, error) {
	e, services, err := s.find(ctx, by, name)
	if err != nil {
		return nil, err
	}
	return s.offer(e, services[name])
}

func (s *Service) find(ctx context.Context, by *access.Principal, name string) (*stored, map[string]*catalog.Service, error) {
	if err := access.Require(by, access.Operate); err != nil {
		return nil, nil, err
	}
	shipped, err := s.shipped()
	if err != nil {
		return nil, nil, err
	}
	e := shipped[name]
	if e == nil {
		if e, err = s.load(ctx, name); err != nil {
			return nil, nil, err
		}
	}
	services, err := s.services(ctx, by)
	return e, services, err
}

func (s *Service) offer(e *stored, service *catalog.Service) (*Offer, error) {
	o := &Offer{Entry: e.Entry, Shipped: e.shipped, Service: service, Schema: e.Entry.schema()}
	c, err := e.command()
	if err != nil {
		return nil, err
	}
	o.Installed = e.Entry.Package == nil || s.installed(s.installation(e.Entry), c.Lock)
	if service != nil {
		want, _ := json.Marshal(c) // it did before
		o.Outdated = string(want) != string(service.Command)
	}
	return o, nil
}

// command resolves an entry to what a service keeps of it.
func (e *stored) command() (*Command, error) {
	c := &Command{Entry: *e.Entry}
	if e.Entry.Package == nil {
		return c, nil
	}
	lock, err := readLock(e.Entry, e.Lock)
	if err != nil {
		return nil, err
	}
	c.Lock = hashOf(e.Lock)
	c.Script, err = lock.script(e.Entry.Package)
	return c, err
}

// services returns the stdio services on offer, by the name of their entry.
func (s *Service) services(ctx context.Context, by *access.Principal) (map[string]*catalog.Service, error) {
	list, _, err := s.catalog.ListServices(ctx, by, "", catalog.Page{})
	if err != nil {
		return nil, err
	}
	found := map[string]*catalog.Service{}
	for i := range list {
		if list[i].Transport == catalog.Stdio && list[i].Tenant == "" {
			found[list[i].Slug] = &list[i]
		}
	}
	return found, nil
}

// Enable installs an entry's package and offers it to every organization. An
// entry that is enabled already is brought to its present version.
func (s *Service) Enable(ctx context.Context, by *access.Principal, name string, price *int64) (*Offer, error) {
	e, services, err := s.find(ctx, by, name)
	if err != nil {
		return nil, err
	}
	c, err := e.command()
	if err != nil {
		return nil, err
	}
	if err := s.install(ctx, e.Entry, e.Lock); err != nil {
		return nil, err
	}
	service, err := s.provide(ctx, by, c, services[name], price)
	if err != nil {
		return nil, err
	}
	return s.offer(e, service)
}

// provide makes or changes the service of a command.
func (s *Service) provide(ctx context.Context, by *access.Principal, c *Command, old *catalog.Service, price *int64) (*catalog.Service, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	scope := catalog.ForOrganization
	if c.PerUser {
		scope = catalog.ForUser
	}
	title, version := c.Title, "1.0.0"
	if title == "" {
		title = c.Name
	}
	if c.Package != nil {
		version = c.Package.Version
	}
	timeout := time.Duration(c.TimeoutMs) * time.Millisecond
	if old != nil {
		if price != nil {
			return nil, ErrEnabled.Saying("The entry is enabled. Change its price with headgate service price.")
		}
		schema, era := c.schema(), c.Era
		if era == "" {
			era = catalog.Auto
		}
		ch := catalog.ServiceChange{Name: &title, Description: &c.Description, Version: &version, Command: (*json.RawMessage)(&text), ConfigSchema: &schema, ConfigScope: &scope, Era: &era}
		if timeout > 0 {
			ch.Timeout = &timeout
		}
		return s.catalog.UpdateService(ctx, by, old.ID, ch)
	}
	return s.catalog.CreateService(ctx, by, catalog.ServiceInput{Slug: c.Name, Name: title, Description: c.Description, Version: version, Transport: catalog.Stdio,
		Command: text, Era: c.Era, Timeout: timeout, ConfigScope: scope, ConfigSchema: c.schema(), Price: price})
}

// Disable takes an entry's service off the offer, with every server made of it.
func (s *Service) Disable(ctx context.Context, by *access.Principal, name string) error {
	_, services, err := s.find(ctx, by, name)
	if err != nil {
		return err
	}
	if services[name] == nil {
		return nil
	}
	return s.catalog.RemoveService(ctx, by, services[name].ID)
}

// Remove forgets an entry that the operator added.
func (s *Service) Remove(ctx context.Context, by *access.Principal, name string) error {
	e, services, err := s.find(ctx, by, name)
	switch {
	case err != nil:
		return err
	case e.shipped:
		return ErrShipped
	case services[name] != nil:
		return ErrEnabled
	}
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		if _, err := db.Exec(ctx, tx, `DELETE FROM installation WHERE name=$1`, rowName(name)); err != nil {
			return err
		}
		return activity.Record(ctx, tx, by, activity.Event{Action: "catalog.remove", TargetType: "entry", TargetID: name})
	})
}

// Try installs an entry's package and hands its program, in a directory that is
// gone afterwards, to whoever runs it.
func (s *Service) Try(ctx context.Context, by *access.Principal, name string, config map[string]any, run func(ctx context.Context, spec sandbox.Spec, era catalog.Era) error) error {
	e, _, err := s.find(ctx, by, name)
	if err != nil {
		return err
	}
	c, err := e.command()
	if err == nil {
		err = s.install(ctx, e.Entry, e.Lock)
	}
	if err != nil {
		return err
	}
	dir, err := makeTemp(filepath.Join(s.data, "stdio"))
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	spec, err := s.spec(ctx, c, config, dir)
	if err != nil {
		return err
	}
	spec.Name = name
	return run(ctx, spec, e.Entry.Era)
}

// Restore installs what is enabled and not on this machine: its operator has
// decided, perhaps on another replica. It returns how many are enabled.
func (s *Service) Restore(ctx context.Context) (enabled int, err error) {
	by := &access.Principal{Kind: access.System}
	if services, err := s.services(ctx, by); err != nil || len(services) == 0 {
		return 0, err
	}
	all, err := s.List(ctx, by)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, o := range all {
		if o.Service != nil {
			enabled++
		}
		if o.Service == nil || o.Installed || o.Outdated {
			continue
		}
		e, _, err := s.find(ctx, by, o.Entry.Name)
		if err == nil {
			err = s.install(ctx, e.Entry, e.Lock)
		}
		errs = append(errs, err)
	}
	return enabled, errors.Join(errs...)
}

func names[T any](m map[string]T) string { return strings.Join(slices.Sorted(maps.Keys(m)), ", ") }
