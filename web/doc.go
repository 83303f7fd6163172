// Package web serves the few pages that people reach from a browser before
// there is a dashboard: where things are, and what links in mails lead to.
//
// A link carries its token in the fragment, which no server and no scanner of
// mails sees, and opening it consumes nothing: the page asks, and only the
// button posts the token to the Platform API. Pages run no script but ours and
// load nothing from elsewhere.
package web
