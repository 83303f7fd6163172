package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"headgate/client"
)

type passwordCmd struct {
	FirstRun bool `help:"Take the present password from ./data/first-run.json, which the change deletes."`
}

func (passwordCmd) Help() string {
	return `Changes your password: every other session ends, keys stay. It asks for the present password and for the new one; from a
script they are the first two lines of the input (with --first-run, the new one alone). It needs a session (headgate
login). The first start's file is deleted with the owner's first change; its keys are shown once more, and stay valid.

    headgate password
    headgate login --first-run && headgate password --first-run
    headgate password < passwords.txt`
}

// Run changes the password.
func (c *passwordCmd) Run(ctx context.Context, x *env) error {
	base := x.baseURL()
	s, err := x.readSession(base)
	if err != nil {
		return err
	}
	if s == nil {
		return wrong(exitSignIn, "SESSION_NEEDED", "a password is changed by the person it belongs to: this needs a session.\nSign in: headgate login")
	}
	first := readFirstRun()
	if first != nil && (first.OwnerEmail != s.Email || !isHere(base, first.URL)) {
		first = nil // another server's, or somebody else's
	}
	body, err := c.ask(x, first)
	if err != nil {
		return err
	}
	api, err := x.client(base, client.WithSource((&keeper{env: x, session: s}).token))
	if err != nil {
		return err
	}
	if _, _, err := api.ChangePassword(ctx, body); err != nil {
		return err
	}
	shown := map[string]string{}
	if _, gone := os.Stat(firstRunFile()); first != nil && errors.Is(gone, os.ErrNotExist) {
		shown = map[string]string{"apiKey": first.APIKey, "organizationKey": first.OrganizationKey, "operatorKey": first.OperatorKey}
	}
	return x.print(map[string]any{"changed": true, "keys": shown}, func() {
		x.say("The password is changed, and every other session has ended.")
		if len(shown) > 0 {
			x.say("%s is deleted. Its keys stay valid; they are shown this last time:", firstRunFile())
			x.pairs([][2]string{{"API key", first.APIKey}, {"Organization key", first.OrganizationKey}, {"Operator key", first.OperatorKey}}...)
		}
	})
}

// ask finds the two passwords.
func (c *passwordCmd) ask(x *env, first *firstRun) (body client.ChangePasswordBody, err error) {
	if c.FirstRun && (first == nil || first.OwnerPassword == "") {
		return body, wrong(exitNotFound, "NO_FIRST_RUN", "%s is not there, or not of this server and owner.\nLeave --first-run out, and give the present password.", firstRunFile())
	}
	lines := bufio.NewReader(io.LimitReader(x.in, 8192))
	if c.FirstRun {
		body.CurrentPassword = first.OwnerPassword
	} else if body.CurrentPassword, err = x.secret(lines, "Present password: "); err != nil {
		return body, err
	}
	if body.NewPassword, err = x.secret(lines, "New password: "); err != nil || !terminal(x.in) {
		return body, err
	}
	again, err := x.secret(lines, "The new one again: ")
	if err == nil && again != body.NewPassword {
		err = invalid("the two new passwords are not the same; nothing is changed")
	}
	return body, err
}

// secret reads a password: unseen from a person, else a line of the input.
func (x *env) secret(lines *bufio.Reader, prompt string) (text string, err error) {
	if !terminal(x.in) {
		text, err = readText(lines)
	} else {
		_, _ = fmt.Fprint(x.err, prompt)
		var typed []byte
		typed, err = term.ReadPassword(int(x.in.(*os.File).Fd()))
		_, _ = fmt.Fprintln(x.err)
		text = string(typed)
	}
	if err == nil && text == "" {
		err = invalid("the password is missing: type it, or give it as a line of the input")
	}
	return text, err
}
