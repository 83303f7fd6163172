package diagnosis

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/diagnosis/checkup"
	"headgate/internal/diagnosis/report"
	"headgate/internal/netguard"
	"headgate/internal/seal"
	"headgate/internal/upstream"
)

// What Options leave open.
const (
	parallel = 64
	runTime  = 45 * time.Second
	patience = 10 * time.Second
	kept     = 100
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
		o.Parallel = parallel
	}
	if o.Timeout <= 0 {
		o.Timeout = runTime
	}
	if o.Patience <= 0 {
		o.Patience = patience
	}
	if o.Keep <= 0 {
		o.Keep = kept
	}
	return &Service{Options: o, slots: make(chan struct{}, o.Parallel)}
}

const maxLocalHeaders = 16

// Extra is what goes along with the diagnosis of a URL, and what it does beyond
// looking.
type Extra struct {
	Headers map[string]string
	// Register tries dynamic client registration at the server's authorization
	// server, which may leave a client behind there.
	Register bool
	// Call names a tool to call. A registered server's are metered, and this one
	// is not.
	Call *checkup.Call
}

// Examine diagnoses any URL and keeps nothing; extra may be nil. Who may do that
// is the caller's business.
func (s *Service) Examine(ctx context.Context, raw string, extra *Extra) (*report.Report, error) {
	u, err := s.address(raw)
	if err != nil {
		return nil, err
	}
	if extra == nil {
		extra = &Extra{}
	}
	if len(extra.Headers) > maxLocalHeaders {
		return nil, ErrLocal
	}
	var fields []catalog.Header
	for name, value := range extra.Headers {
		if err := netguard.CheckHeader(name, value); err != nil {
			return nil, err
		}
		fields = append(fields, catalog.Header{Name: name, Value: seal.NewValue(value)})
	}
	r := report.New(report.Target{URL: report.PublicURL(u.String()), Transport: string(catalog.HTTP)}, s.Now())
	return r, s.examine(ctx, r, func(ctx context.Context) { s.overNetwork(ctx, r, u.String(), fields, catalog.Auto, extra) })
}

// address reads a URL that somebody gives. One that holds a closed address is
// refused as what it is: no name was asked for, so nothing is learned by it.
func (s *Service) address(raw string) (*url.URL, error) {
	u, err := s.Guard.CheckURL(raw)
	if errors.Is(err, netguard.ErrBlocked) {
		return nil, ErrClosed.Because(err)
	}
	return u, err
}

// Doctor diagnoses a server with the caller's credentials, keeps the report
// and returns it. What is wrong is in the report; an error means that there
// was no diagnosis. With register it also tries dynamic client registration,
// which takes the right to register servers.
func (s *Service) Doctor(ctx context.Context, by *access.Principal, server *catalog.Server, register bool) (*report.Report, error) {
	if err := access.Require(by, access.Diagnose); err != nil {
		return nil, err
	}
	if register {
		if err := access.Require(by, access.ServicesAdmin); err != nil {
			return nil, err
		}
	}
	r, err := s.doctor(ctx, by, server, register)
	if err != nil {
		return nil, err
	}
	return r, s.save(ctx, by, r, false)
}

// DoctorURL is Examine for a principal who may register servers, and call tools
// where one is to be called. It keeps the report.
func (s *Service) DoctorURL(ctx context.Context, by *access.Principal, raw string, extra *Extra) (*report.Report, error) {
	if err := access.Require(by, access.ServicesAdmin); err != nil {
		return nil, err
	}
	if extra != nil && extra.Call != nil {
		if err := access.Require(by, access.Call); err != nil {
			return nil, err
		}
	}
	r, err := s.Examine(ctx, raw, extra)
	if err != nil {
		return nil, err
	}
	r.Target.Organization = by.Organization
	return r, s.save(ctx, by, r, false)
}

func (s *Service) doctor(ctx context.Context, by *access.Principal, server *catalog.Server, register bool) (*report.Report, error) {
	r := report.New(targetOf(server), s.Now())
	b, err := s.Binder.Bind(ctx, server, by)
	if errors.Is(err, catalog.ErrUnconfigured) {
		checkup.Disconnected(r, checkup.ProblemOf(err))
		r.Conclude()
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	return r, s.examine(ctx, r, func(ctx context.Context) {
		if server.Transport == catalog.HTTP || server.Transport == catalog.SSE {
			s.overNetwork(ctx, r, server.URL, b.Headers, server.Era, &Extra{Register: register})
		} else {
			checkup.OverHub(ctx, r, s.Hub, by, server)
		}
	})
}

func targetOf(s *catalog.Server) report.Target {
	t := report.Target{ServerID: s.ID, ServerName: s.Name, Slug: s.Slug, Workspace: s.Workspace, Organization: s.Organization, Transport: string(s.Transport)}
	if s.Transport == catalog.HTTP || s.Transport == catalog.SSE {
		t.URL = report.PublicURL(s.URL)
	}
	return t
}

// examine runs one diagnosis within its time, when there is a free slot.
func (s *Service) examine(ctx context.Context, r *report.Report, run func(context.Context)) error {
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
	r.DurationMs = time.Since(start).Milliseconds()
	return nil
}

func (s *Service) overNetwork(ctx context.Context, r *report.Report, url string, fields []catalog.Header, era catalog.Era, extra *Extra) {
	client := checkup.Client(s.Guard, s.Timeout)
	defer client.CloseIdleConnections()
	checkup.OverNetwork(ctx, r, checkup.Options{URL: url, Headers: fields, Era: era, Slug: r.Target.Slug, Client: client, Dial: s.Guard.DialContext, Resolve: s.Resolve, Now: s.Now, Patience: s.Patience,
		Register: extra.Register, Call: extra.Call})
}
