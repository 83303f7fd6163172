// Package platform is the Platform API: the complete REST door for developers,
// the CLI and the dashboard, at /v1.
//
// It owns how this audience is spoken to: the envelope {success, data, meta},
// pages, the words of errors, X-RateLimit-* on every answer, the session
// cookie, and the shape of what goes in and out. It owns no rule: each handler
// calls one domain and shapes what comes back, and what a caller may do is
// judged by access and again by the domain.
//
// A session, a personal key, an organization key or an operator key opens it;
// other keys belong to other doors and are refused by their prefix alone, and
// keys that may not manage keys are so on every key route. Ids go out with
// their prefix and come in with it or as plain uuids; another tenant's is
// answered like one that does not exist.
//
// execute.go turns {serviceId, toolName, parameters} into an MCP request in
// the era the server speaks, and gives it to call.Do like every other door.
package platform
