// Package settings holds what an operator may set: one struct, in which flag,
// environment variable (HEADGATE_…) and YAML key share one name. Every mistake
// is reported at once, unknown YAML keys are refused, and secrets print as dots.
package settings
