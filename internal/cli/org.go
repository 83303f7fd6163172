package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"headgate/client"
)

// orgCmd are the commands on organizations.
type orgCmd struct {
	Show        orgShowCmd        `cmd:"" help:"Show the organization you work in."`
	List        orgListCmd        `cmd:"" help:"List the organizations you belong to."`
	Switch      orgSwitchCmd      `cmd:"" help:"Work in another organization."`
	Members     orgMembersCmd     `cmd:"" help:"List the organization's people."`
	Invite      orgInviteCmd      `cmd:"" help:"Invite somebody by mail."`
	Invitations orgInvitationsCmd `cmd:"" help:"List open invitations."`
	Accept      orgAcceptCmd      `cmd:"" help:"Accept an invitation that was mailed to you."`
}

type orgShowCmd struct{}

func (orgShowCmd) Help() string { return "Example:\n\n    headgate org show" }

// Run shows the organization.
func (orgShowCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.GetOrganization(ctx)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		o := data.Organization
		x.pairs([][2]string{
			{"Name", o.Name}, {"Slug", o.Slug}, {"Id", o.ID}, {"Plan", o.Plan.Name + " (" + o.Plan.ID + ")"}, {"Features", strings.Join(o.Plan.Features, ", ")},
			{"People", strconv.FormatInt(o.UsersCount, 10)}, {"Services", strconv.FormatInt(o.ServicesCount, 10)}, {"Keeps of calls", o.BodyPolicy},
			{"Contact", o.ContactEmail}, {"Since", moment(o.CreatedAt)},
		}...)
	})
}

type orgListCmd struct{}

func (orgListCmd) Help() string { return "Example:\n\n    headgate org list" }

// Run lists the user's organizations.
func (orgListCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.ListMyOrganizations(ctx)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		rows := make([][]string, len(data.Organizations))
		for i, o := range data.Organizations {
			current := ""
			if o.Current {
				current = "*"
			}
			rows[i] = []string{current, o.Slug, o.Name, o.Role, o.ID}
		}
		x.table([]string{"", "SLUG", "NAME", "ROLE", "ID"}, rows)
	})
}

type orgSwitchCmd struct {
	Organization string `arg:"" help:"Its slug or id (headgate org list)."`
}

func (orgSwitchCmd) Help() string {
	return `The session works there from then on. Keys always act in the organization they were made in.

    headgate org switch acme`
}

// Run moves the session to another organization.
func (c *orgSwitchCmd) Run(ctx context.Context, x *env) error {
	base := x.baseURL()
	s, err := x.readSession(base)
	if err != nil {
		return err
	}
	if s == nil {
		return wrong(exitSignIn, "SESSION_NEEDED", "only a session can switch, and there is none.\nSign in: headgate login")
	}
	k := &keeper{env: x, session: s}
	api, err := x.client(base, client.WithSource(k.token))
	if err != nil {
		return err
	}
	places, _, err := api.ListMyOrganizations(ctx)
	if err != nil {
		return err
	}
	id := c.Organization
	for _, p := range places.Organizations {
		if p.Slug == c.Organization {
			id = p.ID
		}
	}
	data, meta, err := api.SwitchOrganization(ctx, client.SwitchToBody{OrganizationID: id})
	if err != nil {
		return err
	}
	now := k.session
	now.Token, now.ExpiresAt = data.Token, time.Now().Add(time.Duration(meta.TokenExpires)*time.Second)
	if data.RefreshToken != "" {
		now.RefreshToken = data.RefreshToken
	}
	return x.keep(now)
}

type orgMembersCmd struct{ paging }

func (orgMembersCmd) Help() string { return "Example:\n\n    headgate org members" }

// Run lists members.
func (c *orgMembersCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, meta, err := api.ListMembers(ctx, client.ListMembersParams{Page: c.Page, Limit: c.Limit})
	if err != nil {
		return err
	}
	return x.print(struct {
		*client.MemberList
		*client.Paged
	}{data, meta}, func() {
		rows := make([][]string, len(data.Users))
		for i, u := range data.Users {
			state := "active"
			if !u.IsActive {
				state = "deactivated"
			}
			rows[i] = []string{u.Email, strings.TrimSpace(u.FirstName + " " + u.LastName), u.Role, state, momentOr(u.LastLoginAt, "never"), u.ID}
		}
		x.table([]string{"E-MAIL", "NAME", "ROLE", "STATE", "LAST LOGIN", "ID"}, rows)
		x.more(meta.Pagination)
	})
}

type orgInviteCmd struct {
	Email string `arg:"" help:"Whom."`
	Role  string `enum:"admin,developer,viewer,member" default:"member" placeholder:"ROLE" help:"As what: admin, developer, viewer or member (the default)."`
}

func (orgInviteCmd) Help() string {
	return `A link is mailed to them.

    headgate org invite ada@example.com --role developer`
}

// Run invites somebody.
func (c *orgInviteCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.Invite(ctx, client.InviteBody{Email: c.Email, Role: c.Role})
	if err != nil {
		return err
	}
	return x.print(data, func() {
		x.say("Invited %s as %s, until %s.", data.Invitation.Email, data.Invitation.Role, moment(data.Invitation.ExpiresAt))
	})
}

type orgAcceptCmd struct{}

func (orgAcceptCmd) Help() string {
	return `Asks for the link in the mail, or reads it as a line of the input. It is a secret, so it is no argument. You must be
signed in with the invited address.

    headgate org accept
    headgate org accept < link.txt`
}

// Run makes the user a member of the organization that invited them.
func (orgAcceptCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	if terminal(x.in) {
		_, _ = fmt.Fprint(x.err, "Link in the mail: ")
	}
	link, err := readText(bufio.NewReader(io.LimitReader(x.in, 8192)))
	if err != nil {
		return err
	}
	link = strings.TrimSpace(link)
	if _, secret, ok := strings.Cut(link, "#token="); ok {
		link = secret
	}
	if link == "" {
		return invalid("the link is missing: type it, or give it as a line of the input")
	}
	invited, _, err := api.ShowInvitation(ctx, client.SecretLinkBody{Token: link})
	if err != nil {
		return err
	}
	data, _, err := api.AcceptInvitation(ctx, client.SecretLinkBody{Token: link})
	if err != nil {
		return err
	}
	return x.print(data, func() {
		o := invited.Invitation.Organization
		x.say("You are in %s now, as %s. Work there: headgate org switch %s", o.Name, data.Membership.Role, o.ID)
	})
}

type orgInvitationsCmd struct {
	Revoke string `placeholder:"ID" help:"Take one back instead."`
}

func (orgInvitationsCmd) Help() string {
	return "Example:\n\n    headgate org invitations\n    headgate org invitations --revoke inv_01k…"
}

// Run lists open invitations, or takes one back.
func (c *orgInvitationsCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	if c.Revoke != "" {
		return api.RevokeInvitation(ctx, c.Revoke)
	}
	data, _, err := api.ListInvitations(ctx)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		rows := make([][]string, len(data.Invitations))
		for i, v := range data.Invitations {
			rows[i] = []string{v.Email, v.Role, moment(v.ExpiresAt), v.ID}
		}
		x.table([]string{"E-MAIL", "ROLE", "EXPIRES", "ID"}, rows)
	})
}
