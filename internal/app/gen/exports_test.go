package main_test

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"headgate/client"
)

// TestExports reads each export of a running server through package client.
func TestExports(t *testing.T) {
	w := newWorld(t)
	read := func(t *testing.T, body io.ReadCloser, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = body.Close() }()
		text, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	document := func(t *testing.T, text string, data any) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), &struct {
			Data any `json:"data"`
		}{data}); err != nil {
			t.Fatalf("%v: %.200s", err, text)
		}
	}
	t.Run("the audit trail", func(t *testing.T) {
		body, err := w.api.ExportAuditEvents(w.ctx, client.ExportAuditEventsParams{Action: "server.create"})
		var data client.EventList
		document(t, read(t, body, err), &data)
		if len(data.Events) == 0 || data.Events[0].Action != "server.create" || data.Events[0].ID == "" {
			t.Errorf("got %+v", data.Events)
		}
	})
	t.Run("the log of calls as JSON", func(t *testing.T) {
		body, err := w.api.ExportRequestLogsJSON(w.ctx, client.ExportRequestLogsJSONParams{})
		text := read(t, body, err)
		var data map[string]json.RawMessage
		document(t, text, &data)
		if !strings.Contains(text, w.variables["LOG_ID"]) {
			t.Errorf("the call is missing in %s", text)
		}
	})
	t.Run("the log of calls as CSV", func(t *testing.T) {
		body, err := w.api.ExportRequestLogsCSV(w.ctx, client.ExportRequestLogsCSVParams{})
		if text := read(t, body, err); !strings.Contains(text, w.variables["LOG_ID"]) {
			t.Errorf("the call is missing in %s", text)
		}
	})
}
