package rest

import "headgate/internal/fault"

// The faults that doors raise before or around a handler.
var (
	ErrInvalid         = fault.New(fault.Invalid, "rest.invalid", "The request does not fit this operation. See details and the operation's page.")
	ErrUnreadable      = fault.New(fault.Invalid, "rest.unreadable", "The body is no JSON object. Send one, in UTF-8, without duplicate names or trailing text.")
	ErrURL             = fault.New(fault.Invalid, "rest.bad_url", "The URL cannot be read. Percent-encode its query as UTF-8, without NUL.")
	ErrKeyInURL        = fault.New(fault.Invalid, "rest.key_in_url", "A credential in a URL ends up in logs. Send it in the Authorization header, and replace this one.")
	ErrNoCredential    = fault.New(fault.BadCredential, "rest.no_credential", "This needs a credential. Send it as Authorization: Bearer … or ApiKey …, or as X-API-Key.")
	ErrCredentialForm  = fault.New(fault.BadCredential, "rest.credential_form", "The credential cannot be read. Send it as Authorization: Bearer … or ApiKey …, or as X-API-Key.")
	ErrCredentialTwice = fault.New(fault.Invalid, "rest.credential_twice", "The request carries several credentials. Send exactly one.")
	ErrOrigin          = fault.New(fault.Forbidden, "rest.origin", "This page's origin is not on the list. Have an operator or the key's owner add it.")
	ErrNoRoute         = fault.New(fault.NotFound, "rest.no_route", "There is no such path here. See openapi.json at the base of this API.")
	ErrNoMethod        = fault.New(fault.Method, "rest.no_method", "This path does not have that method. See the Allow header.")
	ErrMediaType       = fault.New(fault.MediaType, "rest.media_type", "The body must be sent as Content-Type: application/json, not compressed.")
	ErrTooLarge        = fault.New(fault.TooLarge, "rest.too_large", "The body is larger than this operation takes. Send less at once.")
	ErrCursor          = fault.New(fault.Invalid, "rest.cursor", "The cursor is not one of this list. Start again without it.")
	ErrKey             = fault.New(fault.Invalid, "rest.idempotency_key", "Idempotency-Key must be 1 to 255 visible ASCII characters, sent once.")
	ErrKeyReused       = fault.New(fault.Conflict, "rest.key_reused", "This Idempotency-Key was used for another request. Use a new one.")
	ErrInFlight        = fault.New(fault.Conflict, "rest.in_flight", "The request with this Idempotency-Key is still running. Ask again in a moment.")
	ErrAnswerLost      = fault.New(fault.Conflict, "rest.answer_lost", "The request with this Idempotency-Key was carried out, but its answer was lost when the server stopped. Look at the log or the list before you send it again with a new key.")
	ErrSlow            = fault.New(fault.Unavailable, "rest.slow", "This took too long and was stopped. Try again.")
	errGone            = fault.New(fault.Unavailable, "rest.client_gone", "The client closed the connection.")
)
