// Package app is the composition root: it reads no flags, but takes settings,
// opens the stores, builds every service, joins the hooks between them, makes
// the first start, and runs listeners and background work until told to stop.
//
// Everything long-lived is in one list (App.Run), started together, awaited
// together; the stores close last. Nothing else in Headgate knows everybody.
package app
