// Package rest is what the REST doors share: it turns typed operations into an
// HTTP API with its OpenAPI document, its guards and its form of errors.
//
// # How to add an operation
//
//	type getThing struct {
//		ID string `path:"id" maxLength:"64"`
//	}
//	type thing struct {                       // JSON in the door's case
//		ID      string    `json:"id"`
//		Created rest.Time `json:"createdAt"`
//	}
//	rest.Handle(door, rest.Op{
//		Method: "GET", Path: "/things/{id}", ID: "getThing", Summary: "A thing",
//		Tags: []string{"things"}, Permission: access.ServicesRead,
//	}, func(ctx context.Context, in *getThing) (*rest.OK[thing, rest.Meta], error) {
//		t, err := things.Get(ctx, rest.Principal(ctx), in.ID)
//		if err != nil {
//			return nil, err                   // a fault, or an internal error
//		}
//		return rest.Ok(newThing(t), rest.Meta{}), nil
//	})
//
// The input's fields are parameters (path, query, header tags) and one Body, a
// named struct whose fields without omitempty are required; validate with
// huma's tags (minimum, maxLength, enum, format, pattern) and bound everything.
// Embed Page in lists. Use Object for free-form JSON, Time for moments. Set
// headers with SetHeader, cookies with SetCookie. Return None for 204. Events
// and downloads use Stream. Declare further faults in Op.Errors.
//
// A request passes: URL and size, media type, credential form, RefuseKeys,
// Authenticate, AllowOrigin, Limit, Audience, permission, strict body,
// Idempotency-Key, schema, handler.
//
// Promises: unknown, wrong-case and duplicate names are refused; no rejected
// value, inner error or panic text reaches the client; lists are never null;
// what is served is documented (Check). It leaves rules to the domains and the
// connection, Host, Origin and the log event to internal/server.
package rest
