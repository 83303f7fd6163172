package postgres

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// owner is the account the server runs under. PostgreSQL refuses to be root.
// Fields are exported because the watchdog gets them as JSON.
type owner struct{ UID, GID uint32 }

// unprivileged returns the account to use for root, nil for everybody else,
// who run the server as themselves.
func unprivileged() (*owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return &owner{uint32(uid), uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and there is neither an account postgres nor nobody: run the tests as another user")
}

// attributes are those of a process of this account, in a process group of its own.
func (o *owner) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if o != nil {
		a.Credential = &syscall.Credential{Uid: o.UID, Gid: o.GID}
	}
	return a
}

// own makes dir, readable by the account alone.
func (o *owner) own(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if o == nil {
		return nil
	}
	return os.Chown(dir, int(o.UID), int(o.GID))
}
