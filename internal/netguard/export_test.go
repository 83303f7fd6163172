package netguard

import "context"

// Control is the check of the address a socket is about to connect to.
func (g *Guard) Control(address string) error {
	return g.control(context.Background(), "tcp", address, nil)
}
