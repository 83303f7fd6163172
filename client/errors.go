package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Waiting is the error of an operation that was not carried out, because the
// organization wants a person's approval first. Ask again for exactly the same
// once it is given, before Approval.ExpiresAt. errors.As finds an Error in it
// too: status 202, code APPROVAL_REQUIRED, details.approvalId.
type Waiting struct {
	Approval ApprovalRow // what waits; GetApproval tells how it goes on
	failure  *Error
}

// Error returns what to do.
func (w *Waiting) Error() string { return w.failure.Error() }

// Unwrap returns the *Error.
func (w *Waiting) Unwrap() error { return w.failure }

// Error is a failure that the server answered.
type Error struct {
	Status     int            // of HTTP
	Code       string         // stable: "RESOURCE_NOT_FOUND"; "" when something else than Headgate answered
	Message    string         // for people: what, why, what to do next
	Details    map[string]any // for programs
	RequestID  string         // for support
	RetryAfter time.Duration  // 0 when waiting does not help
}

// Error returns the message, with code and request id.
func (e *Error) Error() string {
	text := e.Message
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	if e.RequestID != "" {
		text += " [" + e.RequestID + "]"
	}
	return text
}

// failure reads an answer that is no success: {error: {code, message, details}}
// or, from other doors, the inner part alone.
func failure(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode, RequestID: resp.Header.Get("X-Request-Id")}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		e.Message = fmt.Sprintf("The server redirects to %q. Use that address as the server's URL.", resp.Header.Get("Location"))
		return e
	}
	if resp.StatusCode == http.StatusAccepted {
		return e.waits(resp)
	}
	type inner struct {
		Code    string         `json:"code"`
		Message string         `json:"message"`
		Details map[string]any `json:"details"`
	}
	var body struct {
		Error *inner `json:"error"`
		inner
	}
	text, err := readAll(resp.Body)
	if err == nil && json.Unmarshal(text, &body) == nil {
		in := body.inner
		if body.Error != nil {
			in = *body.Error
		}
		e.Code, e.Message, e.Details = in.Code, in.Message, in.Details
	}
	if e.Message == "" {
		e.Message = fmt.Sprintf("The server answered %d %s without saying why. Is this URL a Headgate?", e.Status, http.StatusText(e.Status))
	}
	return e
}

// waits reads the answer of an operation that was held back.
func (e *Error) waits(resp *http.Response) error {
	var body envelope[waits, Meta]
	text, err := readAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	if err == nil && body.Data.Approval.ID == "" {
		err = errors.New("it names no approval")
	}
	if err != nil {
		return fmt.Errorf("the operation waits for an approval, which cannot be read: %w", err)
	}
	approval := body.Data.Approval
	e.Code, e.Message, e.Details = "APPROVAL_REQUIRED", body.Meta.Message, map[string]any{"approvalId": approval.ID, "expiresAt": approval.ExpiresAt}
	return &Waiting{approval, e}
}
