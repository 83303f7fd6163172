//go:build linux && (amd64 || arm64)

package helper

import (
	"encoding/binary"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// control is our end of the socket to a helper. The helper ends when it closes.
type control struct{ conn *net.UnixConn }

// message is what a helper says.
type message struct {
	kind, a, b uint64
	sender     int        // the process id the kernel vouches for
	files      []*os.File // descriptors that came along
}

// newControl returns our end and the helper's.
func newControl() (*control, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
	defer ours.Close()
	err = unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	if err == nil {
		var conn net.Conn
		if conn, err = net.FileConn(ours); err == nil {
			return &control{conn.(*net.UnixConn)}, theirs, nil
		}
	}
	theirs.Close()
	return nil, nil, err
}

// close ends the helper. It may be called more than once.
func (c *control) close() { c.conn.Close() }

// signal asks the init to pass a signal on; an init that is gone needs none.
func (c *control) signal(s unix.Signal) { _, _ = c.conn.Write([]byte{byte(s)}) }

// read takes one message. The end of the helper is io.EOF.
func (c *control) read() (message, error) {
	var body [messageSize]byte
	var extra [512]byte
	n, oob, _, _, err := c.conn.ReadMsgUnix(body[:], extra[:])
	if err != nil {
		return message{}, err
	}
	if n != len(body) {
		return message{}, io.EOF
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(body[i*8:]) }
	m := message{kind: word(0), a: word(1), b: word(2)}
	controls, err := unix.ParseSocketControlMessage(extra[:oob])
	if err != nil {
		return message{}, err
	}
	for _, c := range controls {
		if cred, err := unix.ParseUnixCredentials(&c); err == nil {
			m.sender = int(cred.Pid)
		}
		fds, _ := unix.ParseUnixRights(&c) // another kind has none
		for _, fd := range fds {
			m.files = append(m.files, os.NewFile(uintptr(fd), "listener"))
		}
	}
	return m, nil
}
