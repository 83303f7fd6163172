//go:build race && linux

package rawio

const raced = true
