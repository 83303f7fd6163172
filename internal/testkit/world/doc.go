// Package world is Headgate's services over one store, joined as the program
// joins them, with the built-in demo server as upstream and mails kept in
// memory: the ground that tests of doors stand on. Sign-up is open.
//
// It makes tenants, people, keys and servers in one line each. Tests wire the
// door they are about to it.
package world
