package settings

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Settings are what is in force. Field tags give the name that flag,
// environment and file share; `secret` values print as dots.
type Settings struct {
	Listen         string `name:"listen" default:"127.0.0.1:8080" help:"Address of the public listener."`
	InternalListen string `name:"internal-listen" default:"" help:"Address of the internal listener with /metrics and pprof, such as 127.0.0.1:9090; empty: none."`
	Data           string `name:"data" default:"./data" help:"Directory for the database, the keys file, mail and the first start's credentials."`
	Database       string `name:"database" default:"" secret:"true" help:"postgres:// URL; empty: SQLite in the data directory."`
	Keys           string `name:"keys" default:"" help:"The keys file (master key and pepper); empty: keys.json in the data directory."`
	BaseURL        string `name:"base-url" default:"" help:"The URL people reach this server at, for links in mails and documents; empty: made from listen."`
	BaseDomain     string `name:"base-domain" default:"" help:"With it, <slug>.<base-domain> selects an organization."`

	AllowHosts     []string `name:"allow-hosts" help:"Host names accepted besides those of listen, base-url and base-domain."`
	AllowOrigins   []string `name:"allow-origins" help:"Origins of browsers accepted besides base-url."`
	TrustedProxies []string `name:"trusted-proxies" help:"Networks whose X-Forwarded-For is believed, such as 10.0.0.0/8."`
	AllowNetworks  []string `name:"allow-networks" help:"Private networks that server URLs may reach, such as 10.1.0.0/16. A server that listens on loopback alone also allows loopback."`

	SignUp     string        `name:"sign-up" default:"closed" enum:"open,invite,closed" help:"Who may register: open (anybody), invite (with an invitation), closed (nobody)."`
	SMTP       string        `name:"smtp" default:"" secret:"true" help:"smtp:// (with STARTTLS) or smtps:// URL of the mail server, with user and password in it where it wants them; ?security=none for one on this host. Empty: mails are written to outbox/ in the data directory."`
	MailFrom   string        `name:"mail-from" default:"headgate@localhost" help:"Sender of mails."`
	SessionFor time.Duration `name:"session-lifetime" default:"15m" help:"How long a session's access token lasts; its refresh token lasts 30 days."`

	ExternalIssuer    string `name:"external-issuer" default:"" help:"Issuer (URL) whose JWTs are accepted as sessions; needs external-audience, and external-jwks or external-secret."`
	ExternalAudience  string `name:"external-audience" default:"" help:"Audience those JWTs must have."`
	ExternalJWKS      string `name:"external-jwks" default:"" help:"URL of the issuer's keys."`
	ExternalAlgorithm string `name:"external-algorithm" default:"" enum:",RS256,ES256,EdDSA,HS256" help:"The one algorithm accepted; HS256 only with external-secret."`
	ExternalSecret    string `name:"external-secret" default:"" secret:"true" help:"Shared secret of an HS256 issuer, at least 32 bytes."`
	ActingService     string `name:"acting-service" default:"" secret:"true" help:"Credential (hga_ and at least 32 characters) of a first-party service that may act as a user on the Diagnostics API; empty: off."`

	CreditValue    int64         `name:"credit-value" default:"10000" help:"What a credit is worth, in micro-USD."`
	Durability     string        `name:"durability" default:"full" enum:"full,normal" help:"SQLite only. full: an answered call survives a power loss. normal: the last moments before one may be lost; a crash of Headgate loses nothing either way."`
	KeepCalls      time.Duration `name:"keep-calls" default:"2160h" help:"How long the call log is kept."`
	KeepBodies     time.Duration `name:"keep-bodies" default:"720h" help:"How long requests and responses of calls are kept."`
	KeepErrors     time.Duration `name:"keep-errors" default:"2160h" help:"How long the error log is kept."`
	KeepAudit      time.Duration `name:"keep-audit" default:"87600h" help:"How long the audit trail is kept. What expires leaves a signed mark, so that the rest can still be verified."`
	SandboxLevel   string        `name:"sandbox-level" default:"full" enum:"full,basic,none" help:"The walls a stdio server must be behind; with fewer, stdio servers stay off. none is for a developer's own machine."`
	FastLane       string        `name:"fast-lane" default:"on" enum:"on,off" help:"Serve plain MCP requests without net/http in between, which saves a fifth of the processor time of a call; off: net/http serves everything."`
	MaxConnections int           `name:"max-connections" default:"10000" help:"Connections accepted at once; more are closed."`
	LogLevel       string        `name:"log-level" default:"info" enum:"debug,info,warn,error" help:"What goes to the log."`
	LogFormat      string        `name:"log-format" default:"text" enum:"text,json" help:"How the log is written."`
	DrainFor       time.Duration `name:"drain" default:"25s" help:"How long a stop waits for requests in flight."`
}

// Setting describes one setting, for help and the reference page.
type Setting struct {
	Name, Env, Default, Help string
	Enum                     []string
	Secret                   bool
	List                     bool
}

// All lists every setting in the order of the struct.
func All() []Setting {
	t := reflect.TypeFor[Settings]()
	list := make([]Setting, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		s := Setting{Name: f.Tag.Get("name"), Env: EnvOf(f.Tag.Get("name")), Default: f.Tag.Get("default"), Help: f.Tag.Get("help"),
			Secret: f.Tag.Get("secret") == "true", List: f.Type.Kind() == reflect.Slice}
		if e, ok := f.Tag.Lookup("enum"); ok {
			s.Enum = strings.Split(e, ",")
		}
		list = append(list, s)
	}
	return list
}

// EnvOf returns the environment variable of a setting.
func EnvOf(name string) string {
	return "HEADGATE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Load puts the settings together: defaults, then the YAML file (when named),
// then the environment, then flags. The error lists every mistake.
func Load(file string, getenv func(string) string, flags map[string]string) (*Settings, error) {
	s := &Settings{}
	var errs []error
	values := map[string]string{}
	for _, d := range All() {
		values[d.Name] = d.Default
	}
	if file != "" {
		errs = append(errs, readFile(file, values)...)
	}
	for _, d := range All() {
		if v := getenv(d.Env); v != "" {
			values[d.Name] = v
		}
		if v, ok := flags[d.Name]; ok {
			values[d.Name] = v
		}
	}
	errs = append(errs, s.fill(values)...)
	errs = append(errs, s.check()...)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("the settings are not right:\n%w", err)
	}
	return s, nil
}

func readFile(path string, values map[string]string) (errs []error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return []error{fmt.Errorf("read the settings file: %w", err)}
	}
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		// The parser's own words may repeat a value; where it stopped is enough.
		return []error{fmt.Errorf("the settings file %s is no YAML map of names and values%s", path, where(err))}
	}
	for name, v := range doc {
		if _, ok := values[name]; !ok {
			errs = append(errs, fmt.Errorf("%s: there is no such setting (headgate settings lists them)", name))
			continue
		}
		switch v := v.(type) {
		case []any:
			words := make([]string, len(v))
			for i, w := range v {
				words[i] = fmt.Sprint(w)
			}
			values[name] = strings.Join(words, ",")
		case map[string]any:
			errs = append(errs, fmt.Errorf("%s: takes a value or a list, not a map", name))
		case nil:
		default:
			values[name] = fmt.Sprint(v)
		}
	}
	return errs
}

var lineOf = regexp.MustCompile(`\bline \d+`)

func where(err error) string {
	if line := lineOf.FindString(err.Error()); line != "" {
		return " (" + line + ")"
	}
	return ""
}

// fill parses the texts into the struct.
func (s *Settings) fill(values map[string]string) (errs []error) {
	v := reflect.ValueOf(s).Elem()
	for i, d := range All() {
		text, field := strings.TrimSpace(values[d.Name]), v.Field(i)
		if d.Enum != nil && !slices.Contains(d.Enum, text) {
			errs = append(errs, fmt.Errorf("%s: must be one of %s", d.Name, strings.Join(d.Enum, ", ")))
			continue
		}
		switch field.Interface().(type) {
		case string:
			field.SetString(text)
		case []string:
			for w := range strings.SplitSeq(text, ",") {
				if w = strings.TrimSpace(w); w != "" {
					field.Set(reflect.Append(field, reflect.ValueOf(w)))
				}
			}
		case time.Duration:
			n, err := time.ParseDuration(text)
			if err != nil || n <= 0 {
				errs = append(errs, fmt.Errorf("%s: must be a duration above zero, such as 30s or 24h", d.Name))
			}
			field.SetInt(int64(n))
		case int, int64:
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n <= 0 {
				errs = append(errs, fmt.Errorf("%s: must be a whole number above zero", d.Name))
			}
			field.SetInt(n)
		}
	}
	return errs
}

// check judges the values together.
func (s *Settings) check() (errs []error) {
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
	}
	for _, l := range []struct{ name, addr string }{{"listen", s.Listen}, {"internal-listen", s.InternalListen}} {
		if l.addr == "" && l.name != "listen" {
			continue
		}
		_, port, err := net.SplitHostPort(l.addr)
		if _, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil {
			bad(l.name, "must be host:port, such as 127.0.0.1:8080")
		}
	}
	if s.Data == "" {
		bad("data", "must name a directory")
	}
	if s.Database != "" && !strings.HasPrefix(s.Database, "postgres://") && !strings.HasPrefix(s.Database, "postgresql://") {
		bad("database", "must begin with postgres:// (leave it empty for SQLite)")
	}
	for _, u := range []struct{ name, text string }{{"base-url", s.BaseURL}, {"external-jwks", s.ExternalJWKS}} {
		if p, err := url.Parse(u.text); u.text != "" && (err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https") {
			bad(u.name, "must be an http or https URL")
		}
	}
	if p, err := url.Parse(s.SMTP); s.SMTP != "" && (err != nil || p.Host == "" || p.Scheme != "smtp" && p.Scheme != "smtps") {
		bad("smtp", "must look like smtp://user:password@host:587")
	}
	if _, err := mail.ParseAddress(s.MailFrom); err != nil {
		bad("mail-from", "must be a mail address")
	}
	for _, n := range []struct {
		name string
		list []string
	}{{"trusted-proxies", s.TrustedProxies}, {"allow-networks", s.AllowNetworks}} {
		for _, w := range n.list {
			if _, err := netip.ParsePrefix(w); err != nil {
				bad(n.name, "each must be a network such as 10.1.0.0/16")
				break
			}
		}
	}
	for _, sec := range []struct{ name, text string }{{"external-secret", s.ExternalSecret}, {"acting-service", s.ActingService}} {
		if sec.text != "" && Weak(sec.text) {
			bad(sec.name, "is too weak: at least 32 bytes, and no well-known or repeated text")
		}
	}
	if s.ActingService != "" && !strings.HasPrefix(s.ActingService, "hga_") {
		bad("acting-service", "must begin with hga_")
	}
	s.checkIssuer(bad)
	return errs
}

func (s *Settings) checkIssuer(bad func(name, format string, args ...any)) {
	if s.ExternalIssuer == "" {
		if s.ExternalAudience+s.ExternalJWKS+s.ExternalSecret+s.ExternalAlgorithm != "" {
			bad("external-issuer", "is missing, and other external-… settings are there")
		}
		return
	}
	if s.ExternalAudience == "" {
		bad("external-audience", "is missing: without it, any token of the issuer would do")
	}
	switch {
	case (s.ExternalJWKS == "") == (s.ExternalSecret == ""):
		bad("external-jwks", "give exactly one of external-jwks and external-secret")
	case s.ExternalAlgorithm == "":
		bad("external-algorithm", "is missing: it pins the one algorithm accepted")
	case (s.ExternalSecret != "") != (s.ExternalAlgorithm == "HS256"):
		bad("external-algorithm", "HS256 goes with external-secret, the others with external-jwks")
	}
}

// Weak reports whether a secret is too short or guessable.
func Weak(secret string) bool {
	if len(secret) < 32 {
		return true
	}
	lower := strings.ToLower(secret)
	for _, w := range []string{"changeme", "password", "secret", "default", "example", "12345678", "headgate"} {
		if strings.Contains(lower, w) {
			return true
		}
	}
	seen := map[byte]bool{}
	for _, c := range []byte(secret) {
		seen[c] = true
	}
	return len(seen) < 8
}

// LoopbackOnly reports whether the public listener is on loopback.
func (s *Settings) LoopbackOnly() bool {
	host, _, _ := net.SplitHostPort(s.Listen)
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// PublicURL returns the URL people reach this server at, without a slash at the end.
func (s *Settings) PublicURL() string {
	if s.BaseURL != "" {
		return strings.TrimRight(s.BaseURL, "/")
	}
	host, port, _ := net.SplitHostPort(s.Listen)
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// KeysFile returns the path of the keys file.
func (s *Settings) KeysFile() string {
	if s.Keys != "" {
		return s.Keys
	}
	return filepath.Join(s.Data, "keys.json")
}

// Print writes every setting in force as YAML, secrets as dots.
func (s *Settings) Print(w io.Writer) error {
	for _, p := range s.pairs() {
		text := fmt.Sprint(p.value)
		switch v := p.value.(type) {
		case []string:
			text = "[" + strings.Join(v, ", ") + "]"
		case string:
			if p.text {
				text = strconv.Quote(v)
			}
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", p.name, text); err != nil {
			return err
		}
	}
	return nil
}

// Values returns what is in force by name, for JSON: texts, numbers and lists;
// durations and secrets as Print writes them.
func (s *Settings) Values() map[string]any {
	values := map[string]any{}
	for _, p := range s.pairs() {
		values[p.name] = p.value
	}
	return values
}

type pair struct {
	name  string
	value any  // string, int64 or []string
	text  bool // a text and no duration
}

func (s *Settings) pairs() []pair {
	v := reflect.ValueOf(s).Elem()
	var pairs []pair
	for i, d := range All() {
		p := pair{name: d.Name}
		switch f := v.Field(i).Interface().(type) {
		case []string:
			p.value = append([]string{}, f...)
		case time.Duration:
			p.value = f.String()
		case string:
			if d.Secret && f != "" {
				f = "••••••••"
			}
			p.value, p.text = f, true
		default:
			p.value = v.Field(i).Int()
		}
		pairs = append(pairs, p)
	}
	return pairs
}
