package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"headgate/client"
)

type loginCmd struct {
	Email        string `placeholder:"E-MAIL" help:"Who signs in; asked for when left out."`
	Organization string `placeholder:"ID" help:"Where to work; left out, the organization joined first."`
	FirstRun     bool   `help:"Sign in as the owner that the first start in ./data made."`
}

func (loginCmd) Help() string {
	return `Asks for e-mail and password, and keeps the session in your configuration directory, readable by you alone. It
is renewed as long as it is used. The password may also come as the first line of the input.

    headgate login
    headgate login --first-run
    headgate login --email ada@example.com --url https://mcp.example.com < password.txt`
}

// Run signs in.
func (c *loginCmd) Run(ctx context.Context, x *env) error {
	base := x.baseURL()
	api, err := x.client(base)
	if err != nil {
		return err
	}
	if insecure(base) {
		x.hint("Warning: %s is not encrypted: the password and every credential can be read on the way.", base)
	}
	email, password, err := c.ask(x, base)
	if err != nil {
		return err
	}
	body := client.LoginBody{Email: email, Password: password}
	if c.Organization != "" {
		body.OrganizationID = &c.Organization
	}
	data, meta, err := api.Login(ctx, body)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == 401 {
		return wrong(exitSignIn, refused.Code, "%s", refused.Message)
	}
	if err != nil {
		return err
	}
	s := &session{URL: base, Email: data.User.Email, Token: data.Token, RefreshToken: data.RefreshToken,
		ExpiresAt: time.Now().Add(time.Duration(meta.TokenExpires) * time.Second)}
	if err := x.keep(s); err != nil {
		return err
	}
	if x.getenv("HEADGATE_KEY") != "" {
		x.hint("HEADGATE_KEY is set and goes before the session. Unset it to use the session.")
	}
	return x.print(map[string]any{"user": data.User}, func() { x.say("Signed in to %s as %s (%s).", base, data.User.Email, data.User.Role) })
}

// ask finds e-mail and password: in the first start's file, or from the user.
func (c *loginCmd) ask(x *env, base string) (email, password string, err error) {
	if c.FirstRun {
		first := readFirstRun()
		if first == nil || first.OwnerPassword == "" {
			return "", "", wrong(exitNotFound, "NO_FIRST_RUN", "%s is not there: the owner has a password of their own, or the server runs elsewhere.\nSign in with it: headgate login --email …", firstRunFile())
		}
		if !isHere(base, first.URL) {
			return "", "", invalid("%s is of %s, not of %s.\nName the server with --url.", firstRunFile(), first.URL, base)
		}
		return first.OwnerEmail, first.OwnerPassword, nil
	}
	lines := bufio.NewReader(io.LimitReader(x.in, 8192))
	person := terminal(x.in)
	email = c.Email
	if email == "" {
		if !person {
			return "", "", invalid("who signs in? Give --email")
		}
		_, _ = fmt.Fprint(x.err, "E-mail: ")
		if email, err = readText(lines); err != nil {
			return "", "", err
		}
	}
	password, err = x.secret(lines, "Password: ")
	return email, password, err
}

func readText(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

type logoutCmd struct{}

func (logoutCmd) Help() string {
	return `Ends the session at the server and forgets it here.

    headgate logout`
}

// Run signs out. The session is forgotten even when the server cannot be told.
func (logoutCmd) Run(ctx context.Context, x *env) error {
	base := x.baseURL()
	s, err := x.readSession(base)
	if s == nil && err == nil {
		return nil
	}
	if err != nil { // unreadable: there is nothing to tell the server
		return x.forget(base)
	}
	api, err := x.client(base, client.WithSource((&keeper{env: x, session: s}).token))
	if err != nil {
		return err
	}
	_, _, err = api.Logout(ctx)
	if forgetErr := x.forget(base); forgetErr != nil {
		return forgetErr
	}
	var own *problem
	if code := exitOfError(err); code == exitSignIn || errors.As(err, &own) && own.exit == exitSignIn {
		return nil // it had ended before
	}
	if err != nil {
		x.hint("The server could not be told; the session is forgotten here and ends by itself there.")
	}
	return err
}

func exitOfError(err error) int {
	var e *client.Error
	if errors.As(err, &e) {
		return exitOf(e.Status, e.Code)
	}
	return 0
}

type whoamiCmd struct{}

func (whoamiCmd) Help() string {
	return `Shows the person behind the credential in use, and the organization it acts in.

    headgate whoami`
}

// Run shows who the credential belongs to.
func (whoamiCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.GetMe(ctx)
	if err != nil {
		return err
	}
	u := data.User
	return x.print(data, func() {
		x.pairs([][2]string{
			{"User", fmt.Sprintf("%s %s <%s>", u.FirstName, u.LastName, u.Email)},
			{"Id", u.ID},
			{"Role", u.Role},
			{"Organization", fmt.Sprintf("%s (%s)", u.Organization.Name, u.Organization.ID)},
			{"Server", x.baseURL()},
		}...)
	})
}
