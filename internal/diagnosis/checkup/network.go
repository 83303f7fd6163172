package checkup

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"headgate/internal/diagnosis/report"
)

// network looks at the way to the server. It says nothing of a way that led
// nowhere: who could tell a closed port from a name that does not exist could
// map a private network.
func (d *doctor) network(ctx context.Context, p *probed) {
	r := d.report
	if p.first == nil {
		r.Note("dns", report.Skipped, "There was no connection.")
		if r.Worst("tls") == report.Error {
			r.Note("tls", report.Error, p.problem.Message)
		} else {
			r.Note("tls", report.Skipped, "There was no connection.")
		}
		r.Note("redirects", report.Skipped, "There was no connection.")
		return
	}
	r.Network = &report.Network{HTTP: p.first.proto}
	u, err := url.Parse(d.line.url)
	if err != nil {
		return
	}
	r.Steps = append(r.Steps, report.Step{Name: "connection", DurationMs: ms(p.first.connect)})
	if p.first.handshake > 0 {
		r.Steps = append(r.Steps, report.Step{Name: "tls", DurationMs: ms(p.first.handshake)})
	}
	d.dns(ctx, u)
	d.tls(ctx, u, p.first)
	d.redirects(ctx, u, p.first)
	d.clock(p.first)
}

func (d *doctor) dns(ctx context.Context, u *url.URL) {
	r := d.report
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		r.Note("dns", report.OK, "The URL holds an address, no name.")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.line.patience/2)
	defer cancel()
	start := time.Now()
	addrs, err := d.Resolve(ctx, "ip", host)
	took := time.Since(start)
	if err != nil {
		r.Note("dns", report.Warning, "The name was found once, and not a second time.")
		return
	}
	for _, a := range addrs {
		if a.Unmap().Is4() {
			r.Network.IPv4++
		} else {
			r.Network.IPv6++
		}
	}
	r.Steps = append(r.Steps, report.Step{Name: "dns", DurationMs: ms(took)})
	if took > 500*time.Millisecond {
		r.Find(report.Finding{ID: "dns.slow", Check: "dns", Severity: report.SevWarning, What: fmt.Sprintf("The name server took %d ms.", ms(took)),
			Why: "Every new connection begins with this wait.", Fix: "Look at the zone's name servers and at the records' time to live."})
	}
	r.Note("dns", r.Worst("dns"), fmt.Sprintf("%d IPv4 and %d IPv6 addresses.", r.Network.IPv4, r.Network.IPv6))
}

func (d *doctor) tls(ctx context.Context, u *url.URL, a *answer) {
	r := d.report
	if u.Scheme != "https" {
		if onLoopback(u) {
			r.Note("tls", report.Skipped, "The server is on this machine.")
			return
		}
		r.Find(report.Finding{ID: "tls.none", Check: "tls", Severity: report.SevWarning, What: "The server is reached without TLS.",
			Why: "Credentials and answers can be read and changed on the way; OAuth is not allowed without TLS.", Fix: "Serve it by https and register that URL."})
		r.Note("tls", report.Warning, "No TLS.")
		return
	}
	if a.tls == nil || len(a.tls.PeerCertificates) == 0 {
		r.Note("tls", report.Skipped, "Nothing is known of the certificate.")
		return
	}
	leaf := a.tls.PeerCertificates[0]
	r.Network.TLS, r.Network.Issuer, r.Network.NotAfter = tls.VersionName(a.tls.Version), report.Clip(leaf.Issuer.CommonName, 100), &leaf.NotAfter
	if left := leaf.NotAfter.Sub(d.Now()); left < 14*24*time.Hour {
		r.Find(report.Finding{ID: "tls.expires-soon", Check: "tls", Severity: report.SevWarning, What: fmt.Sprintf("The certificate ends in %d days.", int(left.Hours()/24)),
			Why: "From then on no client connects.", Fix: "Renew it, and let that happen by itself."})
	}
	d.oldVersions(ctx, u)
	r.Note("tls", r.Worst("tls"), r.Network.TLS+", until "+leaf.NotAfter.UTC().Format(time.DateOnly)+".")
}

const maxHops = 3

// redirects follows where the address leads, without credentials. A gateway
// does not follow: it would carry the credentials to another place.
func (d *doctor) redirects(ctx context.Context, u *url.URL, a *answer) {
	r := d.report
	if a.status < 300 || a.status >= 400 || a.header.Get("Location") == "" {
		r.Note("redirects", report.OK, "None.")
		return
	}
	at, location, status := u, a.header.Get("Location"), a.status
	for range maxHops {
		next, err := at.Parse(location)
		if err != nil {
			break
		}
		r.Network.Redirects = append(r.Network.Redirects, report.Redirect{Status: status, To: report.PublicURL(next.String())})
		if at.Scheme == "https" && next.Scheme == "http" {
			r.Find(report.Finding{ID: "redirects.downgrade", Check: "redirects", Severity: report.SevError, What: "A redirect leads from https to http.",
				Why: "Whoever follows it shows everything to the network.", Fix: "Redirect to https addresses only."})
		}
		again, err := d.look(ctx, next)
		if err != nil || again.status < 300 || again.status >= 400 {
			break
		}
		at, location, status = next, again.header.Get("Location"), again.status
	}
	final := ""
	if n := len(r.Network.Redirects); n > 0 {
		final = r.Network.Redirects[n-1].To
	}
	r.Find(report.Finding{ID: "redirects.not-followed", Check: "redirects", Severity: report.SevError, What: "The address redirects.",
		Why: "MCP requests are not sent on to another address, because credentials would go with them.", Fix: "Register the address at the end of the redirects."}, final)
	r.Note("redirects", r.Worst("redirects"), fmt.Sprintf("%d, ending at %s.", len(r.Network.Redirects), final))
}

func (d *doctor) look(ctx context.Context, u *url.URL) (*answer, error) {
	l := &line{client: d.line.client, url: u.String(), patience: d.line.patience}
	return l.do(ctx, http.MethodGet, nil, nil, http.Header{})
}

// clock compares the server's clock with ours: tokens depend on both.
func (d *doctor) clock(a *answer) {
	theirs, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		return
	}
	if off := d.Now().Sub(theirs); off.Abs() > 5*time.Minute {
		d.report.Find(report.Finding{ID: "clock.skew", Check: "clock", Severity: report.SevWarning, What: fmt.Sprintf("The server's clock is %s off.", off.Abs().Round(time.Minute)),
			Why: "Tokens are taken for expired, or for not yet valid.", Fix: "Set the server's clock from the network (NTP)."})
		d.report.Note("clock", report.Warning, "Off by more than five minutes.")
	}
}

// latency judges the times that were noted on the way.
func (d *doctor) latency() {
	r := d.report
	slowest := report.Step{}
	for _, s := range r.Steps {
		if s.DurationMs > slowest.DurationMs {
			slowest = s
		}
		if s.FirstByteMs > 0 && s.DurationMs > 1000 && s.FirstByteMs*10 > s.DurationMs*9 {
			r.Find(report.Finding{ID: "streaming.buffered", Check: "streaming", Severity: report.SevInfo, What: "The first event of a stream came only with its end.",
				Why: "If a proxy buffers, progress is not seen before the answer.", Fix: "Send X-Accel-Buffering: no, and turn buffering off in proxies."}, s.Name)
		}
	}
	if slowest.Name == "" {
		return
	}
	if slowest.DurationMs > 3000 {
		r.Find(report.Finding{ID: "latency.slow", Check: "latency", Severity: report.SevWarning, What: fmt.Sprintf("The slowest step took %d ms.", slowest.DurationMs),
			Why: "People and models wait for it; some clients give up after ten seconds.", Fix: "Keep the server warm, and answer initialize and lists from memory."}, slowest.Name)
	}
	r.Note("latency", r.Worst("latency"), fmt.Sprintf("Slowest: %s, %d ms.", slowest.Name, slowest.DurationMs))
}
