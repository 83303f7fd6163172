package mcp_test

import (
	"testing"

	"headgate/internal/mcp"
)

func TestRevision(t *testing.T) {
	t.Run("eras split at 2026-07-28", func(t *testing.T) {
		for r, want := range map[mcp.Revision]mcp.Era{
			"2024-11-05": mcp.Legacy, "2025-11-25": mcp.Legacy, "": mcp.Legacy, "2026-07-28": mcp.Modern, "2027-01-01": mcp.Modern,
		} {
			if r.Era() != want {
				t.Errorf("%q: got %v", r, r.Era())
			}
		}
		if !mcp.Revision20260728.AtLeast(mcp.Revision20251125) || mcp.Revision20250326.Compare(mcp.Revision20250618) >= 0 {
			t.Error("out of order")
		}
	})
	t.Run("every listed revision is known, and nothing else", func(t *testing.T) {
		for _, era := range []mcp.Era{mcp.Legacy, mcp.Modern} {
			for _, r := range mcp.Revisions(era) {
				if got, ok := mcp.Known(string(r)); !ok || got != r || r.Era() != era {
					t.Errorf("%s: got %s %v", r, got, ok)
				}
			}
		}
		if _, ok := mcp.Known("2025-06-19"); ok {
			t.Error("an unknown date is known")
		}
	})
	t.Run("the handshake settles on a legacy revision", func(t *testing.T) {
		for asked, want := range map[string]mcp.Revision{
			"2024-11-05": mcp.Revision20241105, "2025-06-18": mcp.Revision20250618,
			"2026-07-28": mcp.LatestLegacy, "1.0": mcp.LatestLegacy, "": mcp.LatestLegacy,
		} {
			if got := mcp.Negotiate(asked); got != want {
				t.Errorf("%q: got %s", asked, got)
			}
		}
	})
	t.Run("a message shows its era", func(t *testing.T) {
		for _, row := range []struct {
			header, text string
			want         mcp.Era
		}{
			{"", call("x"), mcp.Legacy},
			{"2025-11-25", call("x"), mcp.Legacy},
			{"2026-07-28", call("x"), mcp.Modern},
			{"", modernCall, mcp.Modern},
			{"2025-11-25", modernCall, mcp.Modern},
			{"2026-07-28", `{"jsonrpc":"2.0","id":1,"method":"initialize"}`, mcp.Legacy},
		} {
			e, _ := scan(t, row.text)
			if got := mcp.EraOf(row.header, &e); got != row.want {
				t.Errorf("%q %.60s: got %v", row.header, row.text, got)
			}
		}
	})
	t.Run("every method is decoded to itself", func(t *testing.T) {
		for _, m := range methods {
			if e, _ := scan(t, `{"jsonrpc":"2.0","method":"`+m+`"}`); e.Method != m {
				t.Errorf("%s: got %s", m, e.Method)
			}
			b := []byte(`{"jsonrpc":"2.0","method":"` + m + `"}`)
			var e mcp.Envelope
			if n := testing.AllocsPerRun(10, func() { _ = mcp.Scan(b, &e, mcp.Limits{}) }); n != 0 {
				t.Errorf("%s: %v allocations", m, n)
			}
		}
	})
	t.Run("Mcp-Name mirrors what the specification says", func(t *testing.T) {
		for m, want := range map[string]string{
			mcp.MethodToolsCall: "name", mcp.MethodPromptsGet: "name", mcp.MethodResourcesRead: "uri",
			mcp.MethodTasksGet: "taskId", mcp.MethodTasksUpdate: "taskId", mcp.MethodTasksCancel: "taskId", mcp.MethodToolsList: "",
		} {
			if got := mcp.NamedBy(m); got != want {
				t.Errorf("%s: got %q", m, got)
			}
		}
	})
}

var methods = []string{
	mcp.MethodInitialize, mcp.MethodPing, mcp.MethodDiscover, mcp.MethodToolsList, mcp.MethodToolsCall, mcp.MethodResourcesList,
	mcp.MethodResourceTemplatesList, mcp.MethodResourcesRead, mcp.MethodResourcesSubscribe, mcp.MethodResourcesUnsubscribe,
	mcp.MethodPromptsList, mcp.MethodPromptsGet, mcp.MethodComplete, mcp.MethodSetLevel, mcp.MethodSubscriptionsListen,
	mcp.MethodTasksGet, mcp.MethodTasksUpdate, mcp.MethodTasksCancel, mcp.MethodTasksList, mcp.MethodTasksResult,
	mcp.MethodSamplingCreate, mcp.MethodElicitCreate, mcp.MethodRootsList, mcp.NotifyInitialized, mcp.NotifyCancelled,
	mcp.NotifyProgress, mcp.NotifyMessage, mcp.NotifyToolsChanged, mcp.NotifyPromptsChanged, mcp.NotifyResourcesChanged,
	mcp.NotifyResourceUpdated, mcp.NotifyRootsChanged, mcp.NotifyElicitationComplete, mcp.NotifySubscriptionsAck,
	mcp.NotifyTasksStatus, mcp.NotifyTasks,
}
