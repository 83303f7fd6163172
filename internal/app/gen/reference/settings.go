package reference

import (
	"fmt"
	"strings"

	"headgate/internal/settings"
)

// Settings writes the page of all settings.
func Settings(list []settings.Setting) []byte {
	var b strings.Builder
	b.WriteString(Note + `# Settings

A setting has one name: the flag of ` + "`headgate serve`" + ` (` + "`--listen`" + `), the environment
variable (` + "`HEADGATE_LISTEN`" + `) and the key of the YAML file that ` + "`--config`" + ` names
(` + "`listen:`" + `). A flag wins over the environment, the environment over the file.
Lists are separated by commas. Unknown keys and wrong values are refused at
start, all at once. ` + "`headgate settings`" + ` prints what is in force.

| Setting | Variable | Default | |
| --- | --- | --- | --- |
`)
	for _, s := range list {
		standard := ""
		if s.Default != "" {
			standard = "`" + s.Default + "`"
		}
		text := s.Help
		if s.Enum != nil {
			text += " One of " + strings.Join(nonEmpty(s.Enum), ", ") + "."
		}
		if s.List {
			text += " A list."
		}
		if s.Secret {
			text += " Secret: printed as dots."
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", s.Name, s.Env, standard, strings.ReplaceAll(text, "|", `\|`))
	}
	return []byte(b.String())
}

func nonEmpty(list []string) (words []string) {
	for _, w := range list {
		if w != "" {
			words = append(words, "`"+w+"`")
		}
	}
	return words
}
