package vault

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"headgate/internal/db"
	"headgate/internal/workspace"
)

// vendorKeys are the names under which vendors' libraries look for their keys.
var vendorKeys = []string{
	"AI21_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "AZURE_OPENAI_API_KEY", "CEREBRAS_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "COHERE_API_KEY", "DASHSCOPE_API_KEY",
	"DEEPSEEK_API_KEY", "FIREWORKS_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GROQ_API_KEY", "KIMI_API_KEY", "MINIMAX_API_KEY", "MISTRAL_API_KEY", "MOONSHOT_API_KEY",
	"OPENAI_API_KEY", "OPENROUTER_API_KEY", "PERPLEXITY_API_KEY", "TOGETHER_API_KEY", "XAI_API_KEY", "ZAI_API_KEY",
}

// refuseVendor refuses a model vendor's key where the platform pays for models.
func (s *Service) refuseVendor(ctx context.Context, at Place, name string) error {
	if !slices.Contains(vendorKeys, strings.ToUpper(name)) {
		return nil
	}
	b, err := s.workspaces.Billing(ctx, at.Organization, at.Workspace)
	if err != nil {
		return err
	}
	if b.Resolved == workspace.PlatformManaged {
		return ErrVendor.With("mode", string(b.Resolved)).With("source", b.Source)
	}
	return nil
}

// WorkspaceRemoved joins the transaction that removes a workspace: with its
// data erased, its secrets are gone.
func (s *Service) WorkspaceRemoved(ctx context.Context, tx *db.Tx, w workspace.Workspace, r workspace.Removal) error {
	if !r.Erase && !r.Purge {
		return nil
	}
	if _, err := db.Exec(ctx, tx, `DELETE FROM secrets WHERE organization_id = $1 AND workspace_id = $2`, w.Organization, w.ID); err != nil {
		return fmt.Errorf("erase secrets: %w", err)
	}
	return nil
}
