package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"unicode/utf8"

	"golang.org/x/term"

	"headgate/client"
)

// secretCmd are the commands on secrets.
type secretCmd struct {
	List   secretListCmd   `cmd:"" help:"List secrets, never their values."`
	Set    secretSetCmd    `cmd:"" help:"Set a secret; its value is asked for, or is the input."`
	Remove secretRemoveCmd `cmd:"" aliases:"rm" help:"Delete a secret."`
}

// secretPlace says whose secrets are meant.
type secretPlace struct {
	Workspace string `placeholder:"SLUG" help:"Of this workspace; left out, of the organization."`
}

type secretListCmd struct{ secretPlace }

func (secretListCmd) Help() string {
	return `A workspace sees its organization's and its own; its own win.

    headgate secret list
    headgate secret list --workspace research`
}

// Run lists secrets.
func (c *secretListCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	var data *client.SecretList
	if c.Workspace == "" {
		data, _, err = api.ListOrganizationSecrets(ctx)
	} else {
		data, _, err = api.ListWorkspaceSecrets(ctx, c.Workspace)
	}
	if err != nil {
		return err
	}
	return x.print(data, func() {
		rows := make([][]string, len(data.Secrets))
		for i, s := range data.Secrets {
			rows[i] = []string{s.Key, s.Scope, moment(s.CreatedAt), moment(s.UpdatedAt)}
		}
		x.table([]string{"NAME", "OF", "SINCE", "CHANGED"}, rows)
	})
}

type secretSetCmd struct {
	secretPlace
	Name string `arg:"" help:"Its name: letters, digits, _, - and ."`
}

func (secretSetCmd) Help() string {
	return `Asks for the value without showing it, or takes the whole input for it, without its last line's end. It is never an
argument: those can be read by others. Headers and configurations of servers refer to it as {{secret.NAME}}; a change
is in force with the next call.

    headgate secret set GITHUB_TOKEN
    headgate secret set TLS_KEY --workspace research < key.pem`
}

// maxSecret bounds a value, as the server does.
const maxSecret = 65536

// Run sets a secret.
func (c *secretSetCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	body := client.SetSecretBody{}
	if body.Value, err = x.secretValue(c.Name); err != nil {
		return err
	}
	var data *client.SecretDone
	if c.Workspace == "" {
		data, _, err = api.SetOrganizationSecret(ctx, c.Name, body)
	} else {
		data, _, err = api.SetWorkspaceSecret(ctx, c.Workspace, c.Name, body)
	}
	if err != nil {
		return err
	}
	return x.print(data, func() { x.say("Saved. Refer to it as {{secret.%s}}.", data.Key) })
}

// secretValue reads a value: unseen from a person, else all of the input.
func (x *env) secretValue(name string) (string, error) {
	var value []byte
	var err error
	if terminal(x.in) {
		_, _ = fmt.Fprint(x.err, plain("Value of "+name+": "))
		value, err = term.ReadPassword(int(x.in.(*os.File).Fd()))
		_, _ = fmt.Fprintln(x.err)
	} else if value, err = x.input(maxSecret + 2); err == nil {
		value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
	}
	switch {
	case err != nil:
		return "", err
	case len(value) == 0:
		return "", invalid("the value is missing: type it, or give it as the input.\nTo take a secret away: headgate secret remove")
	case len(value) > maxSecret:
		return "", invalid("the value is larger than %d bytes", maxSecret)
	case !utf8.Valid(value):
		return "", invalid("the value is no text (UTF-8), which is what secrets are.\nEncode it first, such as with base64.")
	}
	return string(value), nil
}

type secretRemoveCmd struct {
	secretPlace
	Name string `arg:"" help:"The secret (headgate secret list)."`
}

func (secretRemoveCmd) Help() string {
	return `Servers that refer to it fail from then on, until it is set again.

    headgate secret remove GITHUB_TOKEN
    headgate secret remove GITHUB_TOKEN --workspace research`
}

// Run deletes a secret.
func (c *secretRemoveCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	var data *client.SecretDone
	if c.Workspace == "" {
		data, _, err = api.DeleteOrganizationSecret(ctx, c.Name)
	} else {
		data, _, err = api.DeleteWorkspaceSecret(ctx, c.Workspace, c.Name)
	}
	if err != nil {
		return err
	}
	return x.print(data, func() {})
}
