// Package netguard is the one place that connects to addresses strangers name.
//
// It owns the table of addresses no server of a tenant may live at (the IANA
// special-purpose registries, cloud metadata, every form that embeds an IPv4
// address), the rules for URLs and for configured headers, and the dialer that
// all outgoing HTTP uses: upstreams, webhooks, OAuth metadata, model providers.
//
// It promises that a connection is only ever made to an address that was
// checked, by the exact address that was checked, so that neither a spelling
// nor a second answer of the name server gets around the table; that a name
// with one forbidden address among its answers is refused whole; that nothing
// of the environment (proxy variables) and no redirect steers a request; and
// that whoever reads the public message of a failure can't tell a forbidden
// address from a closed port or from a name that does not exist.
//
// An operator opens networks with the setting allow-networks. Metadata
// addresses stay closed unless they are named one by one.
//
// It leaves to others: what is sent (upstream/wire), retries, and who may
// configure a URL at all.
package netguard
