package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"headgate/internal/catalog"
	"headgate/internal/sandbox"
)

// Command is what a service on offer keeps of its entry, in its command column.
type Command struct {
	Entry
	Lock   string `json:"lock,omitempty"`   // hash of the lock file
	Script string `json:"script,omitempty"` // below the installation
}

// Variables returns the names of the variables an entry sets, in order.
func (e *Entry) Variables() []string { return slices.Sorted(maps.Keys(e.Env)) }

// ReadConfig reads a configuration as the catalog does: numbers stay as they
// were written.
func ReadConfig(text []byte) (map[string]any, error) {
	if len(text) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var config map[string]any
	if d.Decode(&config) != nil {
		return nil, ErrValues.Saying("The configuration must be a JSON object.")
	}
	return config, nil
}

// privateDir is where a child behind walls sees its work directory.
const privateDir = "/private"

// Spec describes the program of a server as a binding configures it.
func (s *Service) Spec(ctx context.Context, server *catalog.Server, b *catalog.Binding) (sandbox.Spec, error) {
	var c Command
	if err := json.Unmarshal(server.Command, &c); err != nil {
		return sandbox.Spec{}, ErrEntry.Because(err)
	}
	user := b.User
	if user == "" {
		user = "shared"
	}
	return s.spec(ctx, &c, b.Config, filepath.Join(s.data, "stdio", segment(server.Organization), segment(server.Workspace), segment(server.Key()), segment(user)))
}

// segment makes an id a part of a path.
func segment(id string) string { return strings.NewReplacer("/", "_", "\\", "_", ".", "_").Replace(id) }

func (s *Service) spec(ctx context.Context, c *Command, config map[string]any, workDir string) (sandbox.Spec, error) {
	private := privateDir
	if s.plain {
		private = workDir
	}
	r, err := c.render(config, private)
	if err != nil {
		return sandbox.Spec{}, err
	}
	spec := sandbox.Spec{Env: r.env, WorkDir: workDir, ReadOnly: append([]string{}, c.ReadOnly...), ReadWrite: c.ReadWrite, Limits: c.Limits.sandbox(), Network: sandbox.Network{AllowHosts: c.Network}}
	if c.Package == nil {
		spec.Argv = append([]string{c.Program}, r.args...)
		spec.ReadOnly = append(spec.ReadOnly, around(c.Program)...)
	} else {
		dir := s.installation(&c.Entry)
		if !s.installed(dir, c.Lock) {
			return sandbox.Spec{}, ErrNotInstalled.With("entry", c.Name)
		}
		node, err := s.runtime(ctx, c.Runtime, c.AtLeast)
		if err != nil {
			return sandbox.Spec{}, err
		}
		spec.Argv = append([]string{node, filepath.Join(dir, c.Script)}, r.args...)
		spec.ReadOnly = append(append(spec.ReadOnly, dir), around(node)...)
	}
	return spec, furnish(workDir, r.dirs)
}

// around is what of the host a program outside of the usual places needs: its
// installation, where it lies in one.
func around(program string) []string {
	dir := filepath.Dir(program)
	if filepath.Base(dir) == "bin" && filepath.Dir(dir) != "/" {
		return []string{filepath.Dir(dir)}
	}
	return []string{program}
}

// furnish makes the directories that a child finds in its own. The child may
// have put links there: none is followed out of it.
func furnish(workDir string, dirs []string) error {
	if err := os.MkdirAll(workDir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(workDir)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		at := ""
		for part := range strings.SplitSeq(dir, "/") {
			at = path.Join(at, part)
			err := root.Mkdir(at, 0o700)
			if errors.Is(err, fs.ErrExist) {
				continue
			}
			if err == nil {
				err = give(root, at, info)
			}
			if err != nil {
				return ErrValues.Saying("A directory for the server could not be made.").Because(err)
			}
		}
	}
	return nil
}

// runtime finds a runtime that is new enough.
func (s *Service) runtime(ctx context.Context, name, atLeast string) (string, error) {
	found, err := exec.LookPath(name)
	if err == nil {
		found, err = filepath.EvalSymlinks(found)
	}
	if err == nil {
		found, err = filepath.Abs(found)
	}
	if err != nil {
		return "", ErrRuntime.Saying("%s is not on this machine. Install it, then try again.", name).Because(err)
	}
	if atLeast == "" {
		return found, nil
	}
	version, ok := s.versions.Load(found)
	if !ok {
		out, err := exec.CommandContext(ctx, found, "--version").Output()
		if err != nil {
			return "", ErrRuntime.Because(err)
		}
		version = strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
		s.versions.Store(found, version)
	}
	if older(version.(string), atLeast) {
		return "", ErrRuntime.Saying("The server needs %s %s or newer; this machine has %s.", name, atLeast, version)
	}
	return found, nil
}

// older compares dotted numbers.
func older(have, want string) bool {
	h, w := strings.Split(have, "."), strings.Split(want, ".")
	for i := range w {
		a, b := 0, 0
		if i < len(h) {
			a, _ = strconv.Atoi(h[i]) // what is no number is 0, and so older
		}
		if b, _ = strconv.Atoi(w[i]); a != b {
			return a < b
		}
	}
	return false
}
