package workspace

import (
	"context"
	"fmt"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
)

// Mode says who pays the vendor of a model.
type Mode string

// The modes. An organization that says nothing is PlatformManaged.
const (
	PlatformManaged Mode = "platform_managed" // the platform's own keys; vendor keys are refused
	BYOK            Mode = "byok"             // the organization's keys
	NoModels        Mode = "disabled"
)

// Where a mode comes from.
const (
	FromWorkspace    = "workspace_override"
	FromOrganization = "org_default"
	FromPlatform     = "platform_default"
)

// Billing is the mode in force for a workspace, or for an organization when
// Workspace is "", and where it comes from. "" says nothing.
type Billing struct {
	Workspace    string
	Resolved     Mode
	Override     Mode
	Organization Mode
	Source       string
}

// Billing returns the mode in force. ref "" asks for the organization's.
func (s *Service) Billing(ctx context.Context, organization, ref string) (Billing, error) {
	b := Billing{}
	if ref != "" {
		w, err := s.Get(ctx, organization, ref)
		if err != nil {
			return b, err
		}
		b.Workspace = w.ID
	}
	return b, b.read(ctx, s.store, organization)
}

func (b *Billing) read(ctx context.Context, q db.Querier, organization string) error {
	type row struct {
		workspace string
		mode      Mode
	}
	rows, err := db.All(ctx, q, func(r *row) []any { return []any{&r.workspace, &r.mode} },
		`SELECT workspace_id, mode FROM model_billing WHERE organization_id = $1 AND workspace_id IN ('', $2)`, organization, b.Workspace)
	if err != nil {
		return fmt.Errorf("read billing modes: %w", err)
	}
	b.Resolved, b.Source = PlatformManaged, FromPlatform
	for _, r := range rows {
		if r.workspace == "" {
			b.Organization = r.mode
		} else {
			b.Override = r.mode
		}
	}
	if b.Organization != "" {
		b.Resolved, b.Source = b.Organization, FromOrganization
	}
	if b.Override != "" {
		b.Resolved, b.Source = b.Override, FromWorkspace
	}
	return nil
}

// SetBilling sets the mode of a workspace, or of the organization when ref is
// "". Mode "" clears it.
func (s *Service) SetBilling(ctx context.Context, by *access.Principal, organization, ref string, mode Mode) (Billing, error) {
	if err := permit(by, organization); err != nil {
		return Billing{}, err
	}
	b, err := s.Billing(ctx, organization, ref)
	if err != nil {
		return b, err
	}
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		if err := s.PutBilling(ctx, tx, by, organization, b.Workspace, mode); err != nil {
			return err
		}
		b = Billing{Workspace: b.Workspace}
		return b.read(ctx, tx, organization)
	})
	return b, err
}

// PutBilling is SetBilling in the caller's transaction; workspace is an id.
func (s *Service) PutBilling(ctx context.Context, tx *db.Tx, by *access.Principal, organization, workspace string, mode Mode) error {
	if err := permit(by, organization); err != nil {
		return err
	}
	switch mode {
	case "", PlatformManaged, BYOK, NoModels:
	default:
		return ErrMode
	}
	if _, err := db.Exec(ctx, tx, `DELETE FROM model_billing WHERE organization_id = $1 AND workspace_id = $2`, organization, workspace); err != nil {
		return err
	}
	if mode != "" {
		if _, err := db.Exec(ctx, tx, `INSERT INTO model_billing (organization_id, workspace_id, mode, updated_at) VALUES ($1, $2, $3, $4)`,
			organization, workspace, string(mode), s.moment().UnixMilli()); err != nil {
			return err
		}
	}
	tenant, err := tenantOf(ctx, tx, organization)
	if err != nil {
		return err
	}
	return activity.Record(ctx, tx, by, activity.Event{Tenant: tenant, Organization: organization, Workspace: workspace, Action: "billing_mode.set",
		TargetType: "workspace", TargetID: workspace, Details: map[string]any{"mode": string(mode)}})
}
