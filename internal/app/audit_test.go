package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"headgate/client"
	"headgate/internal/db"
	"headgate/internal/testkit"
)

// verify runs headgate audit verify and returns what it printed and its exit
// code.
func (h *house) verify(env ...string) (string, int) {
	h.t.Helper()
	args := []string{"audit", "verify", "--data", h.data}
	if h.database != "" {
		args = append(args, "--database", h.database)
	}
	cmd := exec.Command(testkit.Must(binary())(h.t), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		h.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// verdict is headgate audit verify --json: what it printed and its exit code.
func (h *house) verdict(env ...string) (v client.VerdictData, code int) {
	h.t.Helper()
	args := []string{"audit", "verify", "--json", "--data", h.data}
	if h.database != "" {
		args = append(args, "--database", h.database)
	}
	cmd := exec.Command(testkit.Must(binary())(h.t), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		h.t.Fatal(err)
	}
	if err := json.Unmarshal(out, &v); err != nil {
		h.t.Fatalf("no JSON: %v\n%s", err, out)
	}
	return v, cmd.ProcessState.ExitCode()
}

// TestAuditVerify changes the trail by hand, in the database of a stopped
// server, in every way there is, and asks the program what it finds.
func TestAuditVerify(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		h.start()
		key, operator := h.rootKeys()
		for _, name := range []string{"A", "B", "C", "D"} {
			if got, failed, err := h.manage(key, "set_org_secret", map[string]any{"key": name, "value": "x"}); err != nil || failed {
				t.Fatalf("%v %v", got, err)
			}
		}
		if h.database == "" { // the store is taken: the server itself is asked
			if out, code := h.verify("HEADGATE_URL=http://"+h.addr, "HEADGATE_KEY="+operator); code != 0 || strings.Count(out, "sound") < 1 {
				t.Errorf("while it runs: %d %s", code, out)
			}
			if v, code := h.verdict("HEADGATE_URL=http://"+h.addr, "HEADGATE_KEY="+operator); code != 0 || !v.Sound || len(v.Trails) == 0 {
				t.Errorf("while it runs, as JSON: %d %+v", code, v)
			}
		}
		h.stop(syscall.SIGTERM)
		if out, code := h.verify(); code != 0 || strings.Contains(out, "NOT SOUND") {
			t.Fatalf("an untouched trail: %d %s", code, out)
		}
		if v, code := h.verdict(); code != 0 || !v.Sound || len(v.Trails) == 0 || v.Trails[0].Events == 0 {
			t.Errorf("an untouched trail, as JSON: %d %+v", code, v)
		}
		hand := func(statements ...string) {
			t.Helper()
			s := h.open()
			defer s.Close()
			for _, text := range statements {
				testkit.Must(db.Exec(context.Background(), s, text))(t)
			}
		}
		hand(`CREATE TABLE kept_events AS SELECT * FROM events`, `CREATE TABLE kept_heads AS SELECT * FROM event_heads`)
		// The last four events of the tenant are those of the secrets.
		const trail, end = `tenant_id = (SELECT tenant_id FROM events WHERE action = 'secret.set' LIMIT 1)`, `(SELECT MAX(seq) FROM kept_events k WHERE k.tenant_id = events.tenant_id)`
		for _, c := range []struct {
			name, problem string
			by            []string
		}{
			{"an edit", "its content was changed", []string{`UPDATE events SET target_id = 'someone' WHERE ` + trail + ` AND seq = ` + end + ` - 2`}},
			{"a quiet edit of who did it", "its content was changed", []string{`UPDATE events SET actor_name = 'nobody', ip = '10.0.0.1' WHERE ` + trail + ` AND seq = ` + end + ` - 1`}},
			{"a deletion", "an event is missing here", []string{`DELETE FROM events WHERE ` + trail + ` AND seq = ` + end + ` - 2`}},
			{"a deletion of the beginning", "an event is missing here", []string{`DELETE FROM events WHERE ` + trail + ` AND seq = 1`}},
			{"a deletion that closes the gap", "it does not follow the event before it", []string{`DELETE FROM events WHERE ` + trail + ` AND seq = ` + end + ` - 2`,
				`UPDATE events SET seq = seq - 1 WHERE ` + trail + ` AND seq = ` + end + ` - 1`, `UPDATE events SET seq = seq - 1 WHERE ` + trail + ` AND seq = ` + end}},
			{"a reordering", "it does not follow the event before it", []string{`UPDATE events SET seq = seq + 1000 WHERE ` + trail + ` AND seq = ` + end + ` - 1`,
				`UPDATE events SET seq = seq + 1 WHERE ` + trail + ` AND seq = ` + end + ` - 2`, `UPDATE events SET seq = seq - 1001 WHERE ` + trail + ` AND seq > 1000`}},
			{"a cut-off end", "the end of the trail is missing", []string{`DELETE FROM events WHERE ` + trail + ` AND seq > ` + end + ` - 2`}},
			{"an end cut off with care", "the end of the trail is missing", []string{`DELETE FROM events WHERE ` + trail + ` AND seq > ` + end + ` - 2`,
				`UPDATE event_heads SET seq = (SELECT MAX(seq) FROM events e WHERE e.tenant_id = event_heads.tenant_id)`,
				`UPDATE event_heads SET hash = (SELECT hash FROM events e WHERE e.tenant_id = event_heads.tenant_id AND e.seq = event_heads.seq)`}},
			{"a trail that is gone", "the end of the trail is missing", []string{`DELETE FROM events`, `DELETE FROM event_heads`}},
		} {
			hand(c.by...)
			if out, code := h.verify(); code != 1 || !strings.Contains(out, "NOT SOUND at event ") || !strings.Contains(out, c.problem) {
				t.Errorf("%s: exit code %d, wanted %q:\n%s", c.name, code, c.problem, out)
			}
			if v, code := h.verdict(); code != 1 || v.Sound || !slices.ContainsFunc(v.Trails, func(r client.VerdictRow) bool { return !r.Sound && strings.Contains(r.Problem, c.problem) }) {
				t.Errorf("%s, as JSON: exit code %d, wanted %q: %+v", c.name, code, c.problem, v)
			}
			hand(`DELETE FROM events`, `INSERT INTO events SELECT * FROM kept_events`, `DELETE FROM event_heads`, `INSERT INTO event_heads SELECT * FROM kept_heads`)
			if out, code := h.verify(); code != 0 {
				t.Fatalf("%s, undone: %d %s", c.name, code, out)
			}
		}
		t.Run("a checkpoint that was written by somebody else", func(t *testing.T) {
			kept := testkit.Must(filepath.Glob(filepath.Join(h.data, "checkpoints", "ten_*.json")))(t)
			text := testkit.Must(os.ReadFile(kept[0]))(t)
			testkit.Must0(t, os.WriteFile(kept[0], []byte(strings.Replace(string(text), `"seq": `, `"seq": 1`, 1)), 0o600))
			if out, code := h.verify(); code != 1 || !strings.Contains(out, "was not signed by this installation") {
				t.Errorf("%d %s", code, out)
			}
		})
	})
}

// TestBudgetUnderLoad makes 200 calls at once through the Gateway, on the
// program itself: what was answered and paid for never goes over the budget.
func TestBudgetUnderLoad(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		h.start()
		key, _ := h.rootKeys()
		const cents = 40 // as many calls of one credit
		if got, failed, err := h.manage(key, "set_workspace_budget", map[string]any{"workspace_id": "default", "budget_limits": map[string]any{"hourly": cents}}); err != nil || failed {
			t.Fatalf("%v %v", got, err)
		}
		shared := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 200}, Timeout: 2 * time.Minute}
		defer shared.CloseIdleConnections()
		var made, refused atomic.Int64
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				switch _, err := h.call(context.Background(), shared, int64(i)); {
				case err == nil:
					made.Add(1)
				case strings.Contains(err.Error(), "hourly") && strings.Contains(err.Error(), `"isError":true`):
					refused.Add(1)
				default:
					t.Errorf("call %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if made.Load() > cents || made.Load()+refused.Load() != 200 || h.database == "" && made.Load() != cents {
			t.Errorf("%d made, %d refused, with room for %d", made.Load(), refused.Load(), cents)
		}
		h.stop(syscall.SIGTERM)
		s := h.open()
		defer s.Close()
		one := func(text string) int64 { return testkit.Must(db.Value[int64](context.Background(), s, text))(t) }
		testkit.Equal(t, one(`SELECT COALESCE(SUM(spent), 0) FROM budget_buckets WHERE period = 'hourly'`), made.Load()*10_000)
		testkit.Equal(t, one(`SELECT COUNT(*) FROM calls WHERE credits_charged > 0`), made.Load())
		testkit.Equal(t, one(`SELECT COALESCE(SUM(amount), 0) FROM budget_leases`), int64(0))
	})
}
