package launch

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"headgate/internal/catalog"
	"headgate/internal/sandbox"
)

// Entry describes a program that may be offered. It is the operator's: an
// entry file, or what a command stored.
type Entry struct {
	Name        string            `yaml:"name" json:"name"`
	Title       string            `yaml:"title" json:"title,omitempty"`
	Description string            `yaml:"description" json:"description,omitempty"`
	Package     *Package          `yaml:"package" json:"package,omitempty"`
	Program     string            `yaml:"program" json:"program,omitempty"` // absolute; of the host, instead of a package
	Runtime     string            `yaml:"runtime" json:"runtime,omitempty"` // node, for packages
	AtLeast     string            `yaml:"atLeast" json:"atLeast,omitempty"` // the runtime's version
	Args        []string          `yaml:"args" json:"args,omitempty"`
	Env         map[string]string `yaml:"env" json:"env,omitempty"`
	Parameters  []Parameter       `yaml:"parameters" json:"parameters,omitempty"`
	Network     []string          `yaml:"network" json:"network,omitempty"` // hosts it may reach; none without
	ReadOnly    []string          `yaml:"readOnly" json:"readOnly,omitempty"`
	ReadWrite   []string          `yaml:"readWrite" json:"readWrite,omitempty"`
	Limits      Limits            `yaml:"limits" json:"limits,omitzero"`
	PerUser     bool              `yaml:"perUser" json:"perUser,omitempty"` // each user configures, and has a child of their own
	Era         catalog.Era       `yaml:"era" json:"era,omitempty"`
	TimeoutMs   int64             `yaml:"timeoutMs" json:"timeoutMs,omitempty"`
}

// Package is a package of npm.
type Package struct {
	NPM       string `yaml:"npm" json:"npm"`
	Version   string `yaml:"version" json:"version"`     // exact
	Integrity string `yaml:"integrity" json:"integrity"` // as npm writes it: sha512-…
	Bin       string `yaml:"bin" json:"bin,omitempty"`   // which of its programs; needed where it has several
}

// Limits bound a child; zero is the sandbox's default.
type Limits struct {
	DataMiB    int64 `yaml:"dataMiB" json:"dataMiB,omitempty"`
	MemoryMiB  int64 `yaml:"memoryMiB" json:"memoryMiB,omitempty"`
	DiskMiB    int64 `yaml:"diskMiB" json:"diskMiB,omitempty"`
	FileMiB    int64 `yaml:"fileMiB" json:"fileMiB,omitempty"`
	Processes  int64 `yaml:"processes" json:"processes,omitempty"`
	Files      int64 `yaml:"files" json:"files,omitempty"`
	CPUSeconds int64 `yaml:"cpuSeconds" json:"cpuSeconds,omitempty"`
}

func (l Limits) sandbox() sandbox.Limits {
	const mib = 1 << 20
	return sandbox.Limits{Data: l.DataMiB * mib, Memory: l.MemoryMiB * mib, Disk: l.DiskMiB * mib, FileSize: l.FileMiB * mib,
		Processes: l.Processes, Files: l.Files, CPU: time.Duration(l.CPUSeconds) * time.Second}
}

const maxEntry = 64 << 10

// Parse reads an entry file (YAML, or JSON, which is YAML) and holds it to
// the rules.
func Parse(text []byte) (*Entry, error) {
	if len(text) > maxEntry {
		return nil, ErrEntry.Saying("The entry is longer than %d bytes.", maxEntry)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	e := &Entry{}
	if err := d.Decode(e); err != nil {
		return nil, ErrEntry.Saying("The entry is not readable%s. An entry is a YAML or JSON map; headgate catalog show prints one that ships.", lineOf(err)).Because(err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, ErrEntry.Saying("The file holds more than one entry.")
	}
	return e, e.check()
}

// lineOf says where a YAML error is. What is wrong there is in the error too,
// but with the rejected value, which is not said back.
func lineOf(err error) string {
	if at := yamlLine.FindString(err.Error()); at != "" {
		return ", see " + at
	}
	return ""
}

var (
	yamlLine = regexp.MustCompile(`line [0-9]+`)
	npmName  = regexp.MustCompile(`^(?:@[a-z0-9~][a-z0-9._~-]*/)?[a-z0-9~][a-z0-9._~-]*$`)
	exact    = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?$`)
	sha512   = regexp.MustCompile(`^sha512-[A-Za-z0-9+/]{86}==$`)
	envName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	major    = regexp.MustCompile(`^[0-9]{1,4}(?:\.[0-9]{1,4}){0,2}$`)
	fieldRef = regexp.MustCompile(`\{([a-zA-Z_][a-zA-Z0-9_]*)\}`)
)

// check holds an entry to the rules, but for what only an installation tells.
func (e *Entry) check() error {
	bad := func(format string, args ...any) error { return ErrEntry.Saying(format, args...) }
	if err := catalog.CheckSlug(e.Name); err != nil {
		return bad("An entry's name is 1 to 32 lower-case letters, digits and hyphens, beginning with a letter or digit.")
	}
	if len(e.Title) > 100 || len(e.Description) > 4000 || len(e.Args) > 64 || len(e.Env) > 64 || len(e.Parameters) > 32 || len(e.Network) > 32 {
		return bad("The entry is too large: at most 64 arguments and variables, 32 parameters and hosts.")
	}
	if err := e.checkProgram(bad); err != nil {
		return err
	}
	known := map[string]*Parameter{}
	for i := range e.Parameters {
		p := &e.Parameters[i]
		if known[p.Name] != nil || p.Name == privateRef {
			return bad("A parameter is there twice, or its name is reserved.")
		}
		known[p.Name] = p
		if err := p.check(bad); err != nil {
			return err
		}
	}
	if err := e.checkUses(known, bad); err != nil {
		return err
	}
	for _, path := range slices.Concat(e.ReadOnly, e.ReadWrite) {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
			return bad("Paths to show must be absolute and clean.")
		}
	}
	if e.Era != "" && e.Era != catalog.Auto && e.Era != catalog.Legacy && e.Era != catalog.Modern {
		return bad("The era is auto, legacy or modern.")
	}
	l := e.Limits
	if min(l.DataMiB, l.MemoryMiB, l.DiskMiB, l.FileMiB, l.Processes, l.Files, l.CPUSeconds, e.TimeoutMs) < 0 || max(l.DataMiB, l.MemoryMiB, l.DiskMiB, l.FileMiB) > 1<<20 {
		return bad("A limit is negative or beyond all measure.")
	}
	return nil
}

func (e *Entry) checkProgram(bad func(string, ...any) error) error {
	p := e.Package
	switch {
	case (p == nil) == (e.Program == ""):
		return bad("An entry has either a package or a program.")
	case p == nil && !(filepath.IsAbs(e.Program) && filepath.Clean(e.Program) == e.Program):
		return bad("The program must be an absolute path.")
	case p == nil && e.Runtime != "":
		return bad("A runtime belongs to a package. Give the runtime itself as the program, and the script as its first argument.")
	case p == nil:
		return checkStarter(e.Program, e.Args, bad)
	case !npmName.MatchString(p.NPM) || len(p.NPM) > 214:
		return bad("The package's name is no npm name.")
	case !exact.MatchString(p.Version):
		return bad("The package's version must be exact, such as 1.2.3: no range and no tag.")
	case !sha512.MatchString(p.Integrity):
		return bad("The package's integrity must be the sha512-… that npm has for this version.")
	case e.Runtime != "node":
		return bad("The runtime of an npm package is node.")
	case e.AtLeast != "" && !major.MatchString(e.AtLeast):
		return bad("atLeast is a version such as 20 or 20.10.")
	}
	return nil
}

// checkUses holds arguments and variables to the parameters there are.
func (e *Entry) checkUses(known map[string]*Parameter, bad func(string, ...any) error) error {
	used := map[string]bool{}
	for _, arg := range e.Args {
		if strings.ContainsRune(arg, 0) {
			return bad("An argument contains a NUL.")
		}
		for _, m := range fieldRef.FindAllStringSubmatch(arg, -1) {
			p := known[m[1]]
			switch {
			case m[1] == privateRef:
			case p == nil:
				return bad("An argument refers to the parameter %s, which is not declared.", m[1])
			case p.Type == Secret:
				return bad("The secret %s must go into a variable: arguments can be seen by other programs.", m[1])
			case p.List && arg != m[0]:
				return bad("The list %s must be an argument by itself.", m[1])
			}
			used[m[1]] = true
		}
	}
	for name, value := range e.Env {
		if !envName.MatchString(name) || strings.ContainsRune(value, 0) {
			return bad("A variable has a bad name or contains a NUL.")
		}
		if loadsCode(name) {
			return bad("The variable %s makes programs load code or changes where they find it. Leave it out.", name)
		}
		for _, m := range fieldRef.FindAllStringSubmatch(value, -1) {
			if p := known[m[1]]; m[1] != privateRef && (p == nil || p.List) {
				return bad("The variable %s refers to %s, which is not declared, or a list.", name, m[1])
			}
			used[m[1]] = true
		}
	}
	for name := range known {
		if !used[name] {
			return bad("The parameter %s goes nowhere. Use it as {%s} in an argument or a variable.", name, name)
		}
	}
	return nil
}
