//go:build !unix

package server

func defaultConnections() int { return 512 }
