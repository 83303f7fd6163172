package report

import (
	"encoding/json"
	"time"
)

// Status is the verdict of a report.
type Status string

// The verdicts.
const (
	Ready         Status = "ready"
	OAuthRequired Status = "oauth_required"
	Partial       Status = "partial"
	Failed        Status = "error"
)

// Report is what one diagnosis found. Its JSON is stable: fields are added,
// never changed.
type Report struct {
	ID          string    `json:"id,omitempty"`
	Target      Target    `json:"target"`
	GeneratedAt time.Time `json:"generatedAt"`
	DurationMs  int64     `json:"durationMs"`
	Status      Status    `json:"status"`

	Probe             *Probe                     `json:"probe"`
	Connection        Connection                 `json:"connection"`
	InitInfo          *InitInfo                  `json:"initInfo"`
	Capabilities      json.RawMessage            `json:"capabilities"`
	Tools             []json.RawMessage          `json:"tools"`
	ToolsMetadata     map[string]json.RawMessage `json:"toolsMetadata"`
	Resources         []json.RawMessage          `json:"resources"`
	ResourceTemplates []json.RawMessage          `json:"resourceTemplates"`
	Prompts           []json.RawMessage          `json:"prompts"`
	Checks            Checks                     `json:"checks"`
	Error             *Problem                   `json:"error"`

	Network  *Network  `json:"network,omitempty"`
	Protocol *Protocol `json:"protocol,omitempty"`
	Size     *Size     `json:"size,omitempty"`
	Steps    []Step    `json:"steps"`
	Further  []Outcome `json:"furtherChecks"`
	Findings []Finding `json:"findings"`
}

// Target is what was diagnosed.
type Target struct {
	URL          string `json:"url,omitempty"` // without its query
	ServerID     string `json:"serverId,omitempty"`
	ServerName   string `json:"serverName,omitempty"`
	Slug         string `json:"slug,omitempty"`
	Workspace    string `json:"projectId,omitempty"`
	Organization string `json:"-"`
	Transport    string `json:"transport"`
}

// The outcomes of a check.
const (
	OK      = "ok"
	Error   = "error"
	Warning = "warning" // of further checks only
	Skipped = "skipped"
)

// Check is the outcome of one of the eight checks that make the status.
type Check struct {
	Status string `json:"status"`
	Detail string `json:"detail"`
}

// Checks are the eight.
type Checks struct {
	Probe             Check `json:"probe"`
	Connection        Check `json:"connection"`
	Initialization    Check `json:"initialization"`
	Capabilities      Check `json:"capabilities"`
	Tools             Check `json:"tools"`
	Resources         Check `json:"resources"`
	ResourceTemplates Check `json:"resourceTemplates"`
	Prompts           Check `json:"prompts"`
}

// NamedCheck is a check with its name.
type NamedCheck struct {
	Name string
	Check
}

// List returns the eight in the order they run.
func (c *Checks) List() []NamedCheck {
	return []NamedCheck{
		{"probe", c.Probe}, {"connection", c.Connection}, {"initialization", c.Initialization}, {"capabilities", c.Capabilities},
		{"tools", c.Tools}, {"resources", c.Resources}, {"resourceTemplates", c.ResourceTemplates}, {"prompts", c.Prompts},
	}
}

// The states of a connection.
const Connected = "connected"

// Connection says whether a session or its modern like was had.
type Connection struct {
	Status string `json:"status"` // connected, error, skipped
	Detail string `json:"detail"`
}

// InitInfo is what the server says of itself.
type InitInfo struct {
	_ struct{} `nullable:"true"` // a report may have none

	ProtocolVersion string          `json:"protocolVersion"`
	Era             string          `json:"era"`
	ServerInfo      json.RawMessage `json:"serverInfo"`
	Capabilities    json.RawMessage `json:"capabilities"`
	Instructions    string          `json:"instructions,omitempty"`
}

// Problem is the first thing that went wrong. Codes are those of the
// Diagnostics API.
type Problem struct {
	_ struct{} `nullable:"true"` // a report may have none

	Code    string         `json:"code"`
	Message string         `json:"message"`
	Details map[string]any `json:"details,omitempty"`
}

// The verdicts of a probe.
const (
	ProbedReady     = "ready"
	ProbedOAuth     = "oauth_required"
	ProbedReachable = "reachable"
	ProbedError     = "error"
)

// Probe is what a request without any credential met.
type Probe struct {
	_ struct{} `nullable:"true"` // a report may have none

	URL             string         `json:"url"`
	ProtocolVersion string         `json:"protocolVersion"`
	Status          string         `json:"status"`
	Transport       ProbeTransport `json:"transport"`
	OAuth           ProbeOAuth     `json:"oauth"`
	Error           string         `json:"error,omitempty"`
}

// ProbeTransport says which transport answered, and every attempt.
type ProbeTransport struct {
	Selected string    `json:"selected,omitempty"` // streamable-http, sse
	Attempts []Attempt `json:"attempts"`
}

// Attempt is one HTTP exchange of a probe.
type Attempt struct {
	Name       string           `json:"name"`
	Request    AttemptRequest   `json:"request"`
	Response   *AttemptResponse `json:"response,omitempty"`
	Error      string           `json:"error,omitempty"`
	DurationMs int64            `json:"durationMs"`
}

// AttemptRequest is what was sent.
type AttemptRequest struct {
	Method string          `json:"method"`
	URL    string          `json:"url"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// AttemptResponse is what came back. Only headers that tell something about
// MCP are kept, never a session id or a cookie.
type AttemptResponse struct {
	Status      int               `json:"status"`
	Headers     map[string]string `json:"headers"`
	Body        json.RawMessage   `json:"body,omitempty"`
	ContentType string            `json:"contentType,omitempty"`
}

// ProbeOAuth is what is known of signing in.
type ProbeOAuth struct {
	Required                       bool            `json:"required"`
	Optional                       bool            `json:"optional"`
	WWWAuthenticate                string          `json:"wwwAuthenticate,omitempty"`
	ResourceMetadataURL            string          `json:"resourceMetadataUrl,omitempty"`
	ResourceMetadata               json.RawMessage `json:"resourceMetadata,omitempty"`
	AuthorizationServerMetadataURL string          `json:"authorizationServerMetadataUrl,omitempty"`
	AuthorizationServerMetadata    json.RawMessage `json:"authorizationServerMetadata,omitempty"`
	RegistrationStrategies         []string        `json:"registrationStrategies"`
	DiscoveryError                 string          `json:"discoveryError,omitempty"`
	ChallengeStatus                int             `json:"nonCompliantChallengeStatus,omitempty"` // when it is not 401
}

// Network is what the way to the server looks like, once there was one.
type Network struct {
	HTTP      string     `json:"http,omitempty"`
	IPv4      int        `json:"ipv4Addresses"`
	IPv6      int        `json:"ipv6Addresses"`
	TLS       string     `json:"tls,omitempty"`
	Issuer    string     `json:"certificateIssuer,omitempty"`
	NotAfter  *time.Time `json:"certificateExpiresAt,omitempty"`
	Redirects []Redirect `json:"redirects,omitempty"`
}

// Redirect is one hop.
type Redirect struct {
	Status int    `json:"status"`
	To     string `json:"to"` // without its query
}

// Protocol is how the server speaks MCP.
type Protocol struct {
	Eras      []string `json:"eras"`
	Revisions []string `json:"revisions"`
	Session   bool     `json:"sessions"`
	Streams   bool     `json:"answersAsEvents"`
}

// Size is what the server costs a model's context. Tokens are estimated at
// four bytes each.
type Size struct {
	Tools        int   `json:"tools"`
	Bytes        int   `json:"bytes"`
	Tokens       int   `json:"estimatedTokens"`
	LargestTools []Big `json:"largestTools"`
}

// Big is a large tool definition.
type Big struct {
	Name   string `json:"name"`
	Tokens int    `json:"estimatedTokens"`
}

// Step is how long something took.
type Step struct {
	Name       string `json:"name"`
	DurationMs int64  `json:"durationMs"`
	// FirstByteMs is the time to the first event of an answer that came as a stream.
	FirstByteMs int64 `json:"firstByteMs,omitempty"`
}

// Outcome is the outcome of a further check.
type Outcome struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Detail string `json:"detail"`
}

// Finding is one thing to know or to mend.
type Finding struct {
	ID       string   `json:"id"`    // "names.too-long"
	Check    string   `json:"check"` // the further check that made it
	Severity string   `json:"severity"`
	What     string   `json:"what"`
	Why      string   `json:"why"`
	Fix      string   `json:"fix"`
	Subjects []string `json:"subjects,omitempty"` // tools, URLs; the first ten
	Count    int      `json:"count,omitempty"`    // of all subjects
}

// The severities of a finding.
const (
	SevError   = "error"   // it breaks a client, or the protocol
	SevWarning = "warning" // it will cost somebody time
	SevInfo    = "info"
)

const (
	maxFindings = 200
	maxSubjects = 10
)

// Count returns how many findings have a severity.
func (r *Report) Count(severity string) (n int64) {
	for _, f := range r.Findings {
		if f.Severity == severity {
			n++
		}
	}
	return n
}

// New returns a report before anything was done.
func New(target Target, now time.Time) *Report {
	notYet := func(what string) Check { return Check{Skipped, what + " not collected."} }
	return &Report{
		Target: target, GeneratedAt: now.UTC().Truncate(time.Millisecond), Status: Ready,
		Connection: Connection{Skipped, "The connection was not tried."},
		Tools:      []json.RawMessage{}, ToolsMetadata: map[string]json.RawMessage{}, Resources: []json.RawMessage{},
		ResourceTemplates: []json.RawMessage{}, Prompts: []json.RawMessage{},
		Checks: Checks{
			Probe: Check{Skipped, "The probe was not made."}, Connection: Check{Skipped, "The connection was not tried."},
			Initialization: notYet("What the server says of itself was"), Capabilities: notYet("Capabilities were"), Tools: notYet("Tools were"),
			Resources: notYet("Resources were"), ResourceTemplates: notYet("Resource templates were"), Prompts: notYet("Prompts were"),
		},
		Steps: []Step{}, Further: []Outcome{}, Findings: []Finding{},
	}
}

// Conclude derives the status: the contract's rule.
func (r *Report) Conclude() {
	switch {
	case r.Probe != nil && r.Probe.Status == ProbedOAuth && r.Connection.Status == Skipped:
		r.Status = OAuthRequired
	case r.Connection.Status == Error:
		r.Status = Failed
	default:
		r.Status = Ready
		for _, c := range r.Checks.List() {
			if c.Status == Error {
				r.Status = Partial
			}
		}
	}
}

// Fail notes the first problem.
func (r *Report) Fail(p *Problem) {
	if r.Error == nil {
		r.Error = p
	}
}

// Note adds the outcome of a further check.
func (r *Report) Note(id, status, detail string) {
	r.Further = append(r.Further, Outcome{id, status, detail})
}

// Find adds a finding; one of the same id gets the subjects.
func (r *Report) Find(f Finding, subjects ...string) {
	for i := range r.Findings {
		if have := &r.Findings[i]; have.ID == f.ID {
			have.add(subjects)
			return
		}
	}
	if len(r.Findings) >= maxFindings {
		return
	}
	f.add(subjects)
	r.Findings = append(r.Findings, f)
}

func (f *Finding) add(subjects []string) {
	for _, s := range subjects {
		f.Count++
		if len(f.Subjects) < maxSubjects {
			f.Subjects = append(f.Subjects, Clip(s, 200))
		}
	}
}

// Worst is the outcome a further check has by its findings.
func (r *Report) Worst(check string) string {
	status := OK
	for _, f := range r.Findings {
		switch {
		case f.Check != check:
		case f.Severity == SevError:
			return Error
		case f.Severity == SevWarning:
			status = Warning
		}
	}
	return status
}

// Clip cuts a text at a number of bytes, not inside a character.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
