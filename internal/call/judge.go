package call

import (
	"context"
	"errors"
	"net/http"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

// ErrDisabled means that the server is switched off.
var ErrDisabled = fault.New(fault.Unavailable, "call.disabled", "This server is switched off. Switch it on (headgate server update NAME --enabled) or call another.")

// The words of the log for calls that went wrong.
const (
	codeToolError     = "tool_error"        // the tool said isError
	codeRejected      = "upstream_rejected" // the server refused the request
	codeBackend       = "backend_error"
	codeCancelled     = "cancelled"
	codeInputRequired = "input_required" // not over: the client answers and repeats
)

// verdict says what a call's end means for the log and for who pays.
type verdict struct {
	success bool
	settled bool // the call counts: an entry is written
	charge  bool // and the price is taken
	backend bool // the upstream's fault or ours
	code    string
	status  int
}

// judge is the one table of who pays (design.md section 4):
//
//	success                                  charged
//	the tool says isError, 4xx, JSON-RPC error   charged, unless the service says otherwise
//	unreachable, timeout, 5xx, nonsense, ours    not charged, is_backend_error
//	refused, cancelled before an answer          not charged
//	input_required                           not charged: the repeat is the call
func judge(server *catalog.Server, a *upstream.Answer, err error) verdict {
	rejected := verdict{settled: true, charge: server.ChargeRejected, code: codeRejected, status: http.StatusBadGateway}
	switch {
	case errors.Is(err, upstream.ErrRejected):
		return rejected
	case err != nil:
		return failure(err)
	case a.Envelope.Kind == mcp.ErrorResponse:
		switch a.Envelope.ErrorCode {
		case mcp.CodeInternal:
			return verdict{backend: true, code: codeBackend, status: http.StatusBadGateway}
		case mcp.CodeElicitationRequired:
			return verdict{success: true, code: codeInputRequired, status: http.StatusOK}
		}
		return rejected
	case a.Envelope.ResultType == mcp.ResultInputRequired:
		return verdict{success: true, code: codeInputRequired, status: http.StatusOK}
	case a.Envelope.IsError:
		rejected.code, rejected.status = codeToolError, http.StatusInternalServerError
		return rejected
	}
	return verdict{success: true, settled: true, charge: true, status: http.StatusOK}
}

// failure judges a call that has no answer.
func failure(err error) verdict {
	if errors.Is(err, context.Canceled) {
		return verdict{code: codeCancelled, status: 499}
	}
	f := fault.Of(err)
	v := verdict{code: f.Code, status: f.Kind.Status()}
	switch f.Kind {
	case fault.Upstream, fault.Timeout, fault.Unavailable, fault.Internal:
		v.backend = !errors.Is(err, ErrDisabled)
	}
	return v
}

// refusal judges a call that was not made.
func refusal(err error) verdict {
	f := fault.Of(err)
	return verdict{code: f.Code, status: f.Kind.Status(), backend: f.Kind == fault.Internal}
}

// conclude completes the record.
func (rec *Record) conclude(v verdict, a *upstream.Answer, took time.Duration, creditValue int64) {
	rec.Line.Success, rec.Line.BackendError, rec.Line.ErrorCode, rec.Line.StatusCode, rec.Line.Duration = v.success, v.backend, v.code, v.status, took
	if a != nil {
		rec.Line.ResponseBytes = len(a.Body)
	}
	rec.Settlement.Settled = v.settled
	if v.settled && v.charge {
		rec.Settlement.Charge = rec.Settlement.Price
		rec.Line.Charged = rec.Settlement.Price
		rec.Line.CostMicros = rec.Settlement.Price * creditValue
	}
}
