package platform

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/rest"
	"headgate/internal/server/request"
)

// keepAlive is how often a silent stream says that it lives.
const keepAlive = 15 * time.Second

type exportLogs struct {
	LogFilter
	Period
	Limit int `query:"limit" minimum:"1" maximum:"100000" default:"100000"`
}

type streamLogs struct{ LogFilter }

func (a *api) exports() {
	tags := []string{"logs"}
	detail := "Newest first, at most 100,000 lines: narrow it by startDate and endDate."
	rest.Stream(a.door, rest.Op{Method: "GET", Path: "/logs/requests/export.csv", ID: "exportRequestLogsCSV", Summary: "The log of calls as CSV", Tags: tags, Permission: access.LogsOwn,
		Detail: detail + " Texts that a spreadsheet would take for a formula begin with an apostrophe."}, "text/csv; charset=utf-8", a.exportCSV)
	rest.Stream(a.door, rest.Op{Method: "GET", Path: "/logs/requests/export.json", ID: "exportRequestLogsJSON", Summary: "The log of calls as JSON", Tags: tags, Permission: access.LogsOwn,
		Detail: detail}, "application/json", a.exportJSON)
	rest.Stream(a.door, rest.Op{Method: "GET", Path: "/logs/requests/stream", ID: "streamRequestLogs", Summary: "The log of calls, live", Tags: tags, Permission: access.LogsOwn,
		Detail: "Server-sent events named log; data is a line as in the list."}, "text/event-stream", a.streamLogs)
}

// rows walks an export, with the services' names.
func (a *api) rows(ctx context.Context, in *exportLogs, each func(LogRow) error) error {
	f := in.LogFilter.read(rest.Principal(ctx))
	var err error
	if f.From, f.Until, err = in.Period.read(); err != nil {
		return err
	}
	names := map[string]string{}
	for l, err := range activity.EachCall(ctx, a.Store, f, in.Limit) {
		if err != nil {
			return err
		}
		if _, known := names[l.Service]; !known {
			more, err := a.serviceNames(ctx, []activity.Line{l})
			if err != nil {
				return err
			}
			names[l.Service] = more[l.Service]
		}
		if err := each(logRowOf(&l, names[l.Service])); err != nil {
			return err
		}
	}
	return nil
}

// cutShort ends an answer that has begun and cannot go on: the client sees a
// broken connection instead of a file that looks whole.
func cutShort(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	if i := request.From(ctx); i != nil {
		i.Err = fmt.Errorf("export: %w", err)
	}
	panic(http.ErrAbortHandler)
}

var csvHead = []string{"id", "createdAt", "serviceId", "serviceName", "serverId", "workspaceId", "method", "operation", "door", "status", "statusCode", "errorCode",
	"isBackendError", "creditsCost", "creditsCharged", "durationMs", "userId", "credentialId", "ipAddress", "userAgent"}

func (a *api) exportCSV(ctx context.Context, in *exportLogs) (func(http.ResponseWriter), error) {
	if _, _, err := in.Period.read(); err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Disposition", `attachment; filename="requests.csv"`)
		out := csv.NewWriter(w)
		_ = out.Write(csvHead)
		err := a.rows(ctx, in, func(r LogRow) error {
			created, _ := r.CreatedAt.MarshalJSON()
			return out.Write(harmless(r.ID, strings.Trim(string(created), `"`), r.ServiceID, r.ServiceName, r.ServerID, r.WorkspaceID, r.Method, r.Operation, r.Door, r.Status,
				strconv.Itoa(r.StatusCode), r.ErrorCode, strconv.FormatBool(r.IsBackendError), strconv.FormatInt(r.CreditsCost, 10), strconv.FormatInt(r.CreditsCharged, 10),
				strconv.FormatInt(r.DurationMs, 10), r.UserID, r.CredentialID, r.IPAddress, r.UserAgent))
		})
		out.Flush()
		cutShort(ctx, err)
	}, nil
}

// harmless puts an apostrophe before texts that spreadsheets would compute:
// names and user agents are strangers' words.
func harmless(cells ...string) []string {
	for i, c := range cells {
		if c != "" && strings.IndexByte("=+-@\t\r\n|", c[0]) >= 0 {
			cells[i] = "'" + c
		}
	}
	return cells
}

func (a *api) exportJSON(ctx context.Context, in *exportLogs) (func(http.ResponseWriter), error) {
	if _, _, err := in.Period.read(); err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Disposition", `attachment; filename="requests.json"`)
		_, _ = io.WriteString(w, `{"success":true,"data":{"logs":[`)
		n := 0
		err := a.rows(ctx, in, func(r LogRow) error {
			line, err := json.Marshal(r)
			if err != nil {
				return err
			}
			if n++; n > 1 {
				line = append([]byte(",\n"), line...)
			}
			_, err = w.Write(line)
			return err
		})
		cutShort(ctx, err)
		_, _ = fmt.Fprintf(w, `]},"meta":{"count":%d,"more":%t}}`+"\n", n, n == in.Limit)
	}, nil
}

func (a *api) streamLogs(ctx context.Context, in *streamLogs) (func(http.ResponseWriter), error) {
	by := rest.Principal(ctx)
	lines, err := a.Feed.Subscribe(ctx, in.LogFilter.read(by))
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		s := stream{w: w, control: http.NewResponseController(w)}
		if s.send(": the log follows\n\n") != nil {
			return
		}
		alive := time.NewTicker(keepAlive)
		defer alive.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-by.Revoked():
				return
			case <-request.Draining(ctx):
				return
			case <-alive.C:
				if !by.Live(a.Now()) || s.send(": alive\n\n") != nil {
					return
				}
			case l, open := <-lines:
				if !open || !by.Live(a.Now()) || a.event(ctx, s, &l) != nil {
					return
				}
			}
		}
	}, nil
}

// stream writes server-sent events. A client that stops reading is dropped.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s stream) send(text string) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(2 * keepAlive))
	if _, err := io.WriteString(s.w, text); err != nil {
		return err
	}
	return s.control.Flush()
}

func (a *api) event(ctx context.Context, s stream, l *activity.Line) error {
	names, err := a.serviceNames(ctx, []activity.Line{*l})
	if err != nil {
		return err
	}
	data, err := json.Marshal(logRowOf(l, names[l.Service]))
	if err != nil {
		return err
	}
	return s.send("event: log\nid: " + l.ID.Text("log") + "\ndata: " + string(data) + "\n\n")
}
