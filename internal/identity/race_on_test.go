//go:build race

package identity_test

const raceDetector = true
