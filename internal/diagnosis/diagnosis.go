package diagnosis

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/netguard"
	"headgate/internal/seal"
	"headgate/internal/upstream"
)

// Options are what a Service needs. Examine needs the Guard alone.
type Options struct {
	Store    *db.Store
	Guard    *netguard.Guard
	Hub      *upstream.Hub
	Binder   upstream.Binder // how a caller reaches a server, a person's tokens included
	Resolver *catalog.Resolver

	// Granted reports whether the caller has brought tokens for a server. May be nil.
	Granted func(ctx context.Context, by *access.Principal, s *catalog.Server) bool
	// RunAs returns the principal of a schedule's author, so that their tokens
	// are used, or nil when they may no more. Nil: schedules use the
	// organization's credentials alone.
	RunAs func(ctx context.Context, organization, user string) *access.Principal
	// Resolve finds addresses for the dns check; nil is the system's.
	Resolve netguard.Resolver

	Now      func() time.Time
	Log      *slog.Logger
	Parallel int           // runs at once; 64 when 0
	Timeout  time.Duration // of one run; 45 s when 0
	Patience time.Duration // with one exchange; 10 s when 0
	Keep     int           // reports kept of each server; 100 when 0
}

// Service is the domain of diagnoses.
type Service struct {
	Options
	slots chan struct{}
}

// New returns the service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Resolve == nil {
		o.Resolve = net.DefaultResolver.LookupNetIP
	}
	if o.Parallel <= 0 {
		o.Parallel = 64
	}
	if o.Timeout <= 0 {
		o.Timeout = 45 * time.Second
	}
	if o.Patience <= 0 {
		o.Patience = 10 * time.Second
	}
	if o.Keep <= 0 {
		o.Keep = 100
	}
	return &Service{Options: o, slots: make(chan struct{}, o.Parallel)}
}

const maxLocalHeaders = 16

// Examine diagnoses any URL, with the headers the caller gives, and keeps
// nothing. Who may do that is the caller's business.
func (s *Service) Examine(ctx context.Context, raw string, headers map[string]string) (*Report, error) {
	u, err := s.Guard.CheckURL(raw)
	if err != nil {
		return nil, err
	}
	if len(headers) > maxLocalHeaders {
		return nil, ErrLocal
	}
	var fields []catalog.Header
	for name, value := range headers {
		if err := netguard.CheckHeader(name, value); err != nil {
			return nil, err
		}
		fields = append(fields, catalog.Header{Name: name, Value: seal.NewValue(value)})
	}
	r := fresh(Target{URL: shown(u.String()), Transport: string(catalog.HTTP)}, s.Now())
	return r, s.examine(ctx, r, func(ctx context.Context) { s.overNetwork(ctx, r, u.String(), fields, catalog.Auto) })
}

// Doctor diagnoses a server with the caller's credentials, keeps the report
// and returns it. What is wrong is in the report; an error means that there
// was no diagnosis.
func (s *Service) Doctor(ctx context.Context, by *access.Principal, server *catalog.Server) (*Report, error) {
	if err := access.Require(by, access.Diagnose); err != nil {
		return nil, err
	}
	r, err := s.doctor(ctx, by, server)
	if err != nil {
		return nil, err
	}
	return r, s.save(ctx, by, r, false)
}

// DoctorURL is Examine for a principal who may register servers, and keeps the
// report.
func (s *Service) DoctorURL(ctx context.Context, by *access.Principal, raw string, headers map[string]string) (*Report, error) {
	if err := access.Require(by, access.ServicesAdmin); err != nil {
		return nil, err
	}
	r, err := s.Examine(ctx, raw, headers)
	if err != nil {
		return nil, err
	}
	r.Target.Organization = by.Organization
	return r, s.save(ctx, by, r, false)
}

func (s *Service) doctor(ctx context.Context, by *access.Principal, server *catalog.Server) (*Report, error) {
	r := fresh(targetOf(server), s.Now())
	b, err := s.Binder.Bind(ctx, server, by)
	if errors.Is(err, catalog.ErrUnconfigured) {
		(&doctor{report: r}).disconnected(problemFault(err))
		r.conclude()
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	return r, s.examine(ctx, r, func(ctx context.Context) {
		if server.Transport == catalog.HTTP || server.Transport == catalog.SSE {
			s.overNetwork(ctx, r, server.URL, b.Headers, server.Era)
		} else {
			s.overHub(ctx, r, by, server)
		}
	})
}

func targetOf(s *catalog.Server) Target {
	t := Target{ServerID: s.ID, ServerName: s.Name, Slug: s.Slug, Workspace: s.Workspace, Organization: s.Organization, Transport: string(s.Transport)}
	if s.Transport == catalog.HTTP || s.Transport == catalog.SSE {
		t.URL = shown(s.URL)
	}
	return t
}

// examine runs one diagnosis within its time, when there is a free slot.
func (s *Service) examine(ctx context.Context, r *Report, run func(context.Context)) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ErrBusy.Because(ctx.Err()).After(time.Second)
	}
	defer func() { <-s.slots }()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	start := time.Now()
	run(ctx)
	r.DurationMs = ms(time.Since(start))
	return nil
}

func (s *Service) overNetwork(ctx context.Context, r *Report, url string, fields []catalog.Header, era catalog.Era) {
	client := s.client()
	defer client.CloseIdleConnections()
	d := &doctor{svc: s, report: r, era: era, slug: r.Target.Slug, line: &line{client: client, url: url, fields: fields, steps: &r.Steps, patience: s.Patience}}
	d.run(ctx)
	r.scrub(append(secretsOf(url, fields), d.line.session))
}

// client is one run's own, so that what it measures is not warmed by others.
func (s *Service) client() *http.Client {
	c := s.Guard.HTTPClient(s.Timeout, maxBody)
	c.Transport = steady{c.Transport}
	return c
}

func (s *Service) now() time.Time { return s.Now() }
