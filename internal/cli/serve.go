package cli

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"headgate/internal/settings"
)

// settingFlags are the settings as flags, made from the one list of them. They
// are strings here: settings.Load judges values wherever they come from.
type settingFlags struct {
	Config       string `placeholder:"FILE" help:"YAML file with settings ($HEADGATE_CONFIG)."`
	kong.Plugins `group:"Settings (--log-level is also $HEADGATE_LOG_LEVEL, and log-level in the file)"`
}

func (f *settingFlags) prepare() {
	var fields []reflect.StructField
	for i, s := range settings.All() {
		help := strings.TrimSuffix(s.Help, ".")
		if s.Default != "" {
			help += " (default " + s.Default + ")"
		}
		kind := reflect.TypeFor[*string]()
		if s.List {
			kind = reflect.TypeFor[[]string]()
		}
		tag := fmt.Sprintf(`name:%q placeholder:%q help:%q sep:"none"`, s.Name, placeholder(s), help+".")
		fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: kind, Tag: reflect.StructTag(tag)})
	}
	f.Plugins = kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}
}

func placeholder(s settings.Setting) string {
	switch {
	case s.Enum != nil:
		return strings.Trim(strings.Join(s.Enum, "|"), "|")
	case s.List:
		return "LIST"
	}
	return "VALUE"
}

// load puts the settings together: file, environment, flags.
func (f *settingFlags) load(x *env) (*settings.Settings, error) {
	file := f.Config
	if file == "" {
		file = x.getenv("HEADGATE_CONFIG")
	}
	flags := map[string]string{}
	v := reflect.ValueOf(f.Plugins[0]).Elem()
	for i, s := range settings.All() {
		switch set := v.Field(i).Interface().(type) {
		case *string:
			if set != nil {
				flags[s.Name] = *set
			}
		case []string:
			if set != nil {
				flags[s.Name] = strings.Join(set, ",")
			}
		}
	}
	s, err := settings.Load(file, x.getenv, flags)
	if err != nil {
		return nil, invalid("%s\nSee: headgate serve --help", err)
	}
	return s, nil
}

// setUp gives the commands that take settings their flags.
func setUp(c *commands) {
	for _, f := range []*settingFlags{&c.Serve.settingFlags, &c.Settings.settingFlags, &c.Migrate.settingFlags, &c.Audit.Verify.settingFlags} {
		f.prepare()
	}
}

type serveCmd struct{ settingFlags }

func (serveCmd) Help() string {
	return `An empty data directory makes a first start: an organization, its owner and keys, shown once and kept in
first-run.json there until the owner changes the password.

    headgate serve
    headgate serve --listen 0.0.0.0:8080 --base-url https://mcp.example.com --database postgres://…
    headgate serve --config headgate.yaml`
}

// Run leaves serving until the context ends to do: a server that runs for
// months needs no memory of the command line.
func (c *serveCmd) Run(ctx context.Context, x *env) error {
	s, err := c.load(x)
	if err != nil {
		return err
	}
	x.then = func() error { return here(x.program.Serve(ctx, s)) }
	return nil
}

type settingsCmd struct{ settingFlags }

func (settingsCmd) Help() string {
	return `Prints each setting as it would be in force, secrets as dots. The output is a settings file.

    headgate settings
    headgate settings --config headgate.yaml --json`
}

// Run prints the settings.
func (c *settingsCmd) Run(x *env) error {
	s, err := c.load(x)
	if err != nil {
		return err
	}
	return x.print(s.Values(), func() { _ = s.Print(x.out) })
}

type migrateCmd struct{ settingFlags }

func (migrateCmd) Help() string {
	return `serve does this too when it starts; use it to see the schema change before a new version serves.

    headgate migrate
    headgate migrate --database postgres://…`
}

// Run migrates the store.
func (c *migrateCmd) Run(ctx context.Context, x *env) error {
	s, err := c.load(x)
	if err != nil {
		return err
	}
	took, err := x.program.Migrate(ctx, s)
	if err != nil {
		return here(err)
	}
	return x.print(map[string]any{"applied": append([]string{}, took...)}, func() {
		for _, step := range took {
			x.say("Applied %s", step)
		}
		x.say("The schema is up to date.")
	})
}

type versionCmd struct{}

func (versionCmd) Help() string {
	return "Example:\n\n    headgate version\n    headgate version --json"
}

// Run prints the version.
func (versionCmd) Run(x *env) error {
	return x.print(map[string]string{"version": x.program.Version}, func() { x.say("headgate %s", x.program.Version) })
}
