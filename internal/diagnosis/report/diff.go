package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"headgate/internal/mcp"
)

// Drift is what changed between two reports of one server.
type Drift struct {
	From      ReportRef `json:"from"`
	To        ReportRef `json:"to"`
	Changed   bool      `json:"changed"`
	Broke     []string  `json:"broke"` // what worked before and does not now, in words
	Mended    []string  `json:"mended"`
	Tools     Delta     `json:"tools"`
	Resources Delta     `json:"resources"`
	Templates Delta     `json:"resourceTemplates"`
	Prompts   Delta     `json:"prompts"`
	Server    []Move    `json:"server"` // version, protocol, sign-in, instructions, capabilities
	Latency   []Move    `json:"latency"`
}

// ReportRef names a report.
type ReportRef struct {
	ID          string    `json:"id,omitempty"`
	GeneratedAt time.Time `json:"generatedAt"`
	Status      Status    `json:"status"`
}

// Delta is what changed in one list.
type Delta struct {
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
	Changed []Change `json:"changed"`
}

// Change is an entry that is there still and not the same.
type Change struct {
	Name     string   `json:"name"`
	Fields   []string `json:"fields"`
	Breaking []string `json:"breaking,omitempty"` // why callers of before may fail now
}

// Move is a fact that was one thing and is another.
type Move struct {
	What string `json:"what"`
	From string `json:"from"`
	To   string `json:"to"`
}

func (d *Delta) empty() bool { return len(d.Added)+len(d.Removed)+len(d.Changed) == 0 }

// Diff compares two reports, the older one first. Lists that could not be read
// in one of them are not compared: that is told by what broke.
func Diff(a, b *Report) *Drift {
	d := &Drift{From: refOf(a), To: refOf(b), Broke: []string{}, Mended: []string{}, Server: []Move{}, Latency: []Move{}}
	d.Tools = delta(a.Tools, b.Tools, "name", readBoth(a.Checks.Tools, b.Checks.Tools))
	d.Resources = delta(a.Resources, b.Resources, "uri", readBoth(a.Checks.Resources, b.Checks.Resources))
	d.Templates = delta(a.ResourceTemplates, b.ResourceTemplates, "uriTemplate", readBoth(a.Checks.ResourceTemplates, b.Checks.ResourceTemplates))
	d.Prompts = delta(a.Prompts, b.Prompts, "name", readBoth(a.Checks.Prompts, b.Checks.Prompts))
	d.verdicts(a, b)
	d.facts(a, b)
	d.latency(a, b)
	d.Changed = len(d.Broke)+len(d.Mended)+len(d.Server) > 0 || !d.Tools.empty() || !d.Resources.empty() || !d.Templates.empty() || !d.Prompts.empty()
	return d
}

func refOf(r *Report) ReportRef { return ReportRef{r.ID, r.GeneratedAt, r.Status} }

// readBoth reports whether both lists are what the server had: read, or not
// declared at all.
func readBoth(a, b Check) bool { return a.Status != Error && b.Status != Error }

func (d *Drift) verdicts(a, b *Report) {
	if a.Status == Ready && b.Status != Ready {
		d.Broke = append(d.Broke, fmt.Sprintf("The server was ready and is %s now.", b.Status))
	}
	if a.Status != Ready && b.Status == Ready {
		d.Mended = append(d.Mended, "The server is ready again.")
	}
	before := a.Checks.List()
	for i, now := range b.Checks.List() {
		switch was := before[i].Status; {
		case was == OK && now.Status == Error:
			d.Broke = append(d.Broke, fmt.Sprintf("%s: %s", now.Name, now.Detail))
		case was == Error && now.Status == OK:
			d.Mended = append(d.Mended, fmt.Sprintf("%s: %s", now.Name, now.Detail))
		}
	}
	for _, name := range d.Tools.Removed {
		d.Broke = append(d.Broke, "The tool "+name+" is gone.")
	}
	for _, c := range d.Tools.Changed {
		for _, why := range c.Breaking {
			d.Broke = append(d.Broke, "The tool "+c.Name+" changed: "+why)
		}
	}
	old := map[string]bool{}
	for _, f := range a.Findings {
		old[f.ID] = true
	}
	for _, f := range b.Findings {
		// What one of the eight checks came to is told by the check.
		if f.Severity == SevError && !old[f.ID] && !slices.ContainsFunc(before, func(c NamedCheck) bool { return c.Name == f.Check }) {
			d.Broke = append(d.Broke, f.What)
		}
	}
}

// facts compares what the server says of itself.
func (d *Drift) facts(a, b *Report) {
	move := func(what, from, to string) {
		if from != to {
			d.Server = append(d.Server, Move{what, Clip(from, 300), Clip(to, 300)})
		}
	}
	if a.InitInfo != nil && b.InitInfo != nil {
		move("protocolVersion", a.InitInfo.ProtocolVersion, b.InitInfo.ProtocolVersion)
		move("serverInfo", string(a.InitInfo.ServerInfo), string(b.InitInfo.ServerInfo))
		move("capabilities", string(a.InitInfo.Capabilities), string(b.InitInfo.Capabilities))
		move("instructions", a.InitInfo.Instructions, b.InitInfo.Instructions)
	}
	if a.Probe != nil && b.Probe != nil {
		move("signIn", signIn(a.Probe), signIn(b.Probe))
		move("transport", a.Probe.Transport.Selected, b.Probe.Transport.Selected)
	}
}

func signIn(p *Probe) string {
	switch {
	case p.OAuth.Required:
		return "required"
	case p.OAuth.Optional:
		return "optional"
	}
	return "none"
}

// latency names the steps that take three times as long, or a third, and
// whose difference somebody notices.
func (d *Drift) latency(a, b *Report) {
	was := map[string]int64{}
	for _, s := range a.Steps {
		was[s.Name] = s.DurationMs
	}
	for _, s := range b.Steps {
		before, ok := was[s.Name]
		more, less := max(before, s.DurationMs), min(before, s.DurationMs)
		if ok && more-less >= 200 && more >= 3*less {
			d.Latency = append(d.Latency, Move{s.Name, fmt.Sprintf("%d ms", before), fmt.Sprintf("%d ms", s.DurationMs)})
		}
	}
}

func delta(before, after []json.RawMessage, key string, both bool) Delta {
	d := Delta{Added: []string{}, Removed: []string{}, Changed: []Change{}}
	if !both {
		return d
	}
	old, now := index(before, key), index(after, key)
	for _, name := range slices.Sorted(maps.Keys(now)) {
		was, ok := old[name]
		switch {
		case !ok:
			d.Added = append(d.Added, name)
		default:
			if c, changed := compare(name, was, now[name]); changed {
				d.Changed = append(d.Changed, c)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, ok := now[name]; !ok {
			d.Removed = append(d.Removed, name)
		}
	}
	return d
}

func index(items []json.RawMessage, key string) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	for _, raw := range items {
		if v, ok := mcp.Get(raw, mcp.Root(raw), key); ok {
			if name, err := mcp.String(raw, v); err == nil {
				m[name] = raw
			}
		}
	}
	return m
}

// compare tells which members differ, as JSON and not as text.
func compare(name string, a, b json.RawMessage) (Change, bool) {
	x, y := decode(a), decode(b)
	c := Change{Name: name}
	fields := map[string]bool{}
	for k := range x {
		fields[k] = true
	}
	for k := range y {
		fields[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		if !reflect.DeepEqual(x[k], y[k]) {
			c.Fields = append(c.Fields, k)
		}
	}
	if slices.Contains(c.Fields, "inputSchema") {
		c.Breaking = breaking(x["inputSchema"], y["inputSchema"])
	}
	return c, len(c.Fields) > 0
}

// decode keeps numbers as they are written: rounding would hide a change.
func decode(text []byte) (m map[string]any) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	_ = dec.Decode(&m) // what is no object has no members
	return m
}

// breaking says why arguments that were right before may be wrong now.
func breaking(a, b any) (why []string) {
	x, _ := a.(map[string]any)
	y, _ := b.(map[string]any)
	were, are := required(x), required(y)
	for _, name := range slices.Sorted(maps.Keys(are)) {
		if !were[name] {
			why = append(why, "the argument "+Clip(name, 100)+" is required now")
		}
	}
	xp, _ := x["properties"].(map[string]any)
	yp, _ := y["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(xp)) {
		now, ok := yp[name]
		if !ok {
			why = append(why, "the argument "+Clip(name, 100)+" is gone")
			continue
		}
		p, _ := xp[name].(map[string]any)
		q, _ := now.(map[string]any)
		if p["type"] != nil && q["type"] != nil && !reflect.DeepEqual(p["type"], q["type"]) {
			why = append(why, "the argument "+Clip(name, 100)+" has another type")
		}
	}
	return why
}

func required(schema map[string]any) map[string]bool {
	m := map[string]bool{}
	list, _ := schema["required"].([]any)
	for _, v := range list {
		if s, ok := v.(string); ok {
			m[s] = true
		}
	}
	return m
}
