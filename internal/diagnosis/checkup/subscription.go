package checkup

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"time"

	"headgate/internal/diagnosis/report"
	"headgate/internal/mcp"
)

// changes are what a server may say that it tells of: the capability, and the
// word for it in a subscription's filter.
var changes = []struct{ capability, filter string }{
	{"tools", "toolsListChanged"}, {"prompts", "promptsListChanged"}, {"resources", "resourcesListChanged"},
}

// declares reports whether a capability has a setting that is true.
func declares(r *report.Report, capability, setting string) bool {
	if r.Capabilities == nil {
		return false
	}
	v, ok := mcp.Find(r.Capabilities, mcp.Root(r.Capabilities), capability, setting)
	return ok && string(v.Of(r.Capabilities)) == "true"
}

// tells reports whether the server says that it tells of changes.
func tells(r *report.Report) bool {
	for _, c := range changes {
		if declares(r, c.capability, "listChanged") {
			return true
		}
	}
	return false
}

// lapse is a finding about subscriptions.
func (d *doctor) lapse(id, what, fix string) {
	d.report.Find(report.Finding{ID: "subscriptions." + id, Check: "subscriptions", Severity: report.SevWarning, What: what,
		Why: "Clients go on with lists and resources that have changed.", Fix: fix})
}

// subscribe asks a legacy server to tell of one resource, and takes that back.
// It changes nothing but the session, which ends with this run.
func (d *doctor) subscribe(ctx context.Context) error {
	r := d.report
	uri := firstURI(r)
	switch {
	case !declares(r, "resources", "subscribe"):
		if !tells(r) {
			r.Note("subscriptions", report.Skipped, "The server declares none.")
			return nil
		}
	case uri != "":
		member := mcp.AppendString([]byte(`"uri":`), uri)
		a, err := d.line.call(ctx, mcp.MethodResourcesSubscribe, "", member)
		if err != nil {
			return err
		}
		if _, ok := a.result(); !ok {
			d.lapse("subscribe", "The server declares subscriptions to resources and refuses one.", "Answer resources/subscribe with {}, or leave resources.subscribe out of the capabilities.")
		} else if a, err = d.line.call(ctx, mcp.MethodResourcesUnsubscribe, "", member); err != nil {
			return err
		} else if _, ok := a.result(); !ok {
			d.lapse("unsubscribe", "A subscription to a resource cannot be taken back.", "Answer resources/unsubscribe with {}.")
		}
	}
	r.Note("subscriptions", r.Worst("subscriptions"), "What the server declares was tried.")
	return nil
}

func firstURI(r *report.Report) string {
	for _, raw := range r.Resources {
		if v, ok := mcp.Get(raw, mcp.Root(raw), "uri"); ok {
			uri, _ := mcp.String(raw, v)
			return uri
		}
	}
	return ""
}

// listen opens a modern subscription to all that the server says it tells of,
// and reads as far as the acknowledgement, which must come first.
func (d *doctor) listen(ctx context.Context) error {
	r := d.report
	asked := map[string]bool{}
	filter := []byte(`"notifications":{`)
	for _, c := range changes {
		if declares(r, c.capability, "listChanged") {
			if len(asked) > 0 {
				filter = append(filter, ',')
			}
			asked[c.filter] = true
			filter = append(append(append(filter, '"'), c.filter...), `":true`...)
		}
	}
	if len(asked) == 0 {
		r.Note("subscriptions", report.Skipped, "The server declares none.")
		return nil
	}
	id := d.line.next()
	first, a, err := d.line.firstEvent(ctx, d.line.message(id, mcp.MethodSubscriptionsListen, append(filter, '}')), id, d.line.headers(mcp.MethodSubscriptionsListen, ""))
	var e mcp.Envelope
	switch {
	case a == nil:
		return err
	case a.rpcCode() == mcp.CodeMethodNotFound:
		d.lapse("missing", "The server declares that it tells of changes and does not know subscriptions/listen.", "Offer subscriptions/listen, or leave listChanged out of the capabilities.")
	case first == nil:
		d.lapse("silent", "A subscription is not acknowledged.", "Send notifications/subscriptions/acknowledged as the first message, at once.")
	case mcp.ScanReply(first, &e, mcp.Limits{}) != nil || e.Method != mcp.NotifySubscriptionsAck:
		d.lapse("not-first", "The first message of a subscription is not its acknowledgement.", "Send notifications/subscriptions/acknowledged before anything else.")
	default:
		d.acknowledged(first, &e, id, asked)
	}
	if a.kind == "sse" && !strings.EqualFold(a.header.Get("X-Accel-Buffering"), "no") {
		r.Find(report.Finding{ID: "subscriptions.buffering", Check: "subscriptions", Severity: report.SevInfo, What: "A subscription's stream does not forbid proxies to buffer it.",
			Why: "A proxy may keep news back until it has enough of them.", Fix: "Send X-Accel-Buffering: no."})
	}
	r.Note("subscriptions", r.Worst("subscriptions"), "A subscription to what the server declares was opened and closed.")
	return nil
}

// acknowledged judges the first message of a subscription.
func (d *doctor) acknowledged(b []byte, e *mcp.Envelope, id []byte, asked map[string]bool) {
	if e.SubscriptionID.Empty() || !mcp.SameID(id, e.SubscriptionID.Of(b)) {
		d.lapse("no-id", "The acknowledgement does not name the subscription it is of.", "Set _meta."+mcp.MetaSubscriptionID+" to the id of the request, here and on every message of the stream.")
	}
	granted, _ := mcp.Get(b, e.Params, "notifications")
	for m := range mcp.Members(b, granted) {
		name, _ := mcp.String(b, m.Key)
		if v := string(m.Value.Of(b)); v == "true" && !asked[name] {
			d.lapse("more", "A subscription is granted more than was asked for.", "Acknowledge only what the request names.")
		}
	}
}

// firstEvent posts a message and returns the data of the first event of the
// answer, nil when none came in time. An answer that is no stream is read whole.
func (l *line) firstEvent(ctx context.Context, body, id []byte, h http.Header) ([]byte, *answer, error) {
	ctx, cancel := context.WithTimeout(ctx, l.patience/2)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	r.Header = h
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for _, f := range l.fields {
		r.Header.Set(f.Name, f.Value.Reveal())
	}
	resp, err := l.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return nil, a, a.read(resp.Body, id, time.Now(), func() {})
	}
	a.kind = "sse"
	var first []byte
	err = events(resp.Body, func(_ string, data []byte) bool {
		first = bytes.Clone(data)
		return len(data) == 0
	})
	if len(first) == 0 {
		return nil, a, err
	}
	if a.take(first, id) { // an error as the only event
		return nil, a, nil
	}
	return first, a, nil
}
