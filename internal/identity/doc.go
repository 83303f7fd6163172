// Package identity knows people: users, passwords, sessions, and the tokens
// of configured external issuers.
//
// It owns the tables users, sessions, refresh_tokens, mail_tokens,
// external_identities, login_failures and the signing keys in installation.
//
// Promises: passwords are argon2id behind a semaphore with a bounded queue;
// a sign-in answers unknown and known people alike; ten failures lock an
// account for one network, not for others. An access token lives 15 minutes
// and names its session; Authenticate answers from memory and still refuses a
// session that has ended, a person suspended, a membership or organization
// lost, from the moment the change was committed, and closes the principal's
// Revoked channel then. A refresh token is used once: within ten seconds a
// repeat gets the same successor, later it ends the session. Links sent by
// mail are used once, are stored hashed, and name the configured base URL only.
//
// It leaves to others: roles and seats (tenancy), keys (apikey), reading
// credentials from requests and per-address rates (doors), delivery of mail
// (Options.Outgoing; adapters in identity/mail).
package identity
