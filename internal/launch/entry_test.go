package launch_test

import (
	"fmt"
	"strings"
	"testing"

	"headgate/internal/launch"
	"headgate/internal/testkit"
)

const hash = "sha512-ljj/3S4aGjxdNSQWw6gucKKGnTLdBPWxzapyY/MT2tOVyZwvxChvevXSLPwx59nKJAlVpUVW+cOlnVRXRwiqMQ=="

// entry is a good entry file with lines of one's own.
func entry(lines ...string) []byte {
	return []byte("name: notes\npackage: {npm: \"@acme/notes\", version: 1.2.3, integrity: " + hash + "}\nruntime: node\n" + strings.Join(lines, "\n") + "\n")
}

func program(path string, args ...string) []byte {
	return fmt.Appendf(nil, "name: notes\nprogram: %s\nargs: [%s]\n", path, strings.Join(args, ", "))
}

func TestParse(t *testing.T) {
	t.Run("a whole entry", func(t *testing.T) {
		e := testkit.Must(launch.Parse(entry(`args: [--root, "{root}", "--depth={depth}"]`, `env: {TOKEN: "{token}", MODE: fixed}`, "network: [api.example.com]", "perUser: true", "limits: {memoryMiB: 256}",
			"parameters:", "  - {name: root, type: path, required: true}", "  - {name: depth, type: integer, min: 1, max: 9, default: \"3\"}", "  - {name: token, type: secret}")))(t)
		if e.Package.NPM != "@acme/notes" || len(e.Parameters) != 3 || e.Limits.MemoryMiB != 256 || !e.PerUser {
			t.Errorf("%+v", e)
		}
	})
	for _, c := range []struct {
		name string
		text []byte
	}{
		{"no YAML", []byte("{")},
		{"a field that there is not", entry("shell: true")},
		{"two entries in a file", []byte(string(entry()) + "---\nname: other\n")},
		{"a name that is no slug", []byte(strings.Replace(string(entry()), "name: notes", "name: ../notes", 1))},
		{"a version range", []byte(strings.Replace(string(entry()), "1.2.3", `"^1.2.3"`, 1))},
		{"a tag", []byte(strings.Replace(string(entry()), "1.2.3", "latest", 1))},
		{"no hash", []byte(strings.Replace(string(entry()), hash, `""`, 1))},
		{"a weak hash", []byte(strings.Replace(string(entry()), hash, "sha1-abc", 1))},
		{"a package from elsewhere", []byte(strings.Replace(string(entry()), `"@acme/notes"`, `"git+https://example.com/x"`, 1))},
		{"an option as a package", []byte(strings.Replace(string(entry()), `"@acme/notes"`, `"--global"`, 1))},
		{"a package and a program", entry("program: /usr/bin/notes")},
		{"a relative program", program("notes")},
		{"a shell", program("/bin/bash", "-c", "x")},
		{"env -S", program("/usr/bin/env", "-S", "x")},
		{"npx -c", program("/usr/bin/npx", "-c", "x")},
		{"node -e", program("/usr/bin/node", "-e", "x")},
		{"python -c", program("/usr/bin/python3.11", "-c", "x")},
		{"python with a script from outside", []byte(string(program("/usr/bin/python3", `"{script}"`)) + "parameters: [{name: script, type: string}]\n")},
		{"an argument of no parameter", entry(`args: ["{what}"]`)},
		{"a parameter that goes nowhere", entry("parameters: [{name: what, type: string}]")},
		{"a secret as an argument", entry(`args: ["{what}"]`, "parameters: [{name: what, type: secret}]")},
		{"a list inside an argument", entry(`args: ["--x={what}"]`, "parameters: [{name: what, type: string, list: true}]")},
		{"NODE_OPTIONS", entry("env: {NODE_OPTIONS: --require=/private/x}")},
		{"node_options, in small letters", entry("env: {node_options: x}")},
		{"LD_PRELOAD", entry("env: {LD_PRELOAD: x}")},
		{"PYTHONSTARTUP", entry("env: {PYTHONSTARTUP: x}")},
		{"PATH", entry("env: {PATH: x}")},
		{"BASH_ENV", entry("env: {BASH_ENV: x}")},
		{"the same parameter twice", entry(`args: ["{a}"]`, "parameters: [{name: a, type: string}, {name: a, type: path}]")},
		{"an enum without values", entry(`args: ["{a}"]`, "parameters: [{name: a, type: enum}]")},
		{"a default against its own rules", entry(`args: ["{a}"]`, "parameters: [{name: a, type: string, default: -x}]")},
		{"a pattern that is none", entry(`args: ["{a}"]`, "parameters: [{name: a, type: string, pattern: \"(\"}]")},
		{"the whole disk", entry("readOnly: [/]")},
		{"a negative limit", entry("limits: {memoryMiB: -1}")},
		{"an era of its own", entry("era: stone")},
	} {
		t.Run(c.name+" is refused", func(t *testing.T) {
			_, err := launch.Parse(c.text)
			testkit.Fault(t, err, "launch.bad_entry")
		})
	}
}
