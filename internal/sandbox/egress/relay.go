package egress

import (
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// relay copies both ways until one side ends or nothing moved for idleTimeout.
func (g *Gate) relay(conn net.Conn, from io.Reader, out net.Conn, name string) {
	began := time.Now()
	last := &atomic.Int64{}
	last.Store(began.UnixNano())
	var up, down int64
	var both sync.WaitGroup
	both.Go(func() { up = pump(out, from, conn, last) })
	both.Go(func() { down = pump(conn, out, out, last) })
	both.Wait()
	g.say("egress", name, "up", up, "down", down, "ms", time.Since(began).Milliseconds())
}

// pump copies from src, whose connection is reading, and passes its end on. It
// gives up when neither direction moved for idleTimeout.
func pump(dst net.Conn, src io.Reader, reading net.Conn, last *atomic.Int64) (total int64) {
	defer func() {
		if half, ok := dst.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		} else {
			dst.Close()
		}
	}()
	buf := make([]byte, 16<<10)
	for {
		_ = reading.SetReadDeadline(time.Now().Add(idleTimeout))
		n, err := src.Read(buf)
		if n > 0 {
			last.Store(time.Now().UnixNano())
			_ = dst.SetWriteDeadline(time.Now().Add(idleTimeout))
			written, werr := dst.Write(buf[:n])
			total += int64(written)
			if werr != nil {
				reading.Close()
				return total
			}
		}
		if err == nil {
			continue
		}
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() && time.Since(time.Unix(0, last.Load())) < idleTimeout {
			continue
		}
		return total
	}
}

// keep remembers what Close must close; false says the gate is closed and
// what was given is closed too.
func (g *Gate) keep(c io.Closer) bool {
	g.mu.Lock()
	closed := g.closed
	if !closed {
		g.open[c] = struct{}{}
	}
	g.mu.Unlock()
	if closed {
		c.Close()
	}
	return !closed
}

func (g *Gate) forget(c io.Closer) {
	g.mu.Lock()
	delete(g.open, c)
	g.mu.Unlock()
}

func (g *Gate) drop(c io.Closer) {
	g.forget(c)
	c.Close()
}

// accept waits for a free slot, then for a connection. While all slots are
// taken the child's further connections wait in its own namespace.
func (g *Gate) accept(l net.Listener) (net.Conn, error) {
	select {
	case g.slots <- struct{}{}:
	case <-g.ctx.Done():
		return nil, net.ErrClosed
	}
	conn, err := l.Accept()
	if err != nil {
		<-g.slots
		return nil, err
	}
	if !g.keep(conn) {
		<-g.slots
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (g *Gate) release(conn net.Conn) {
	g.drop(conn)
	<-g.slots
}

// Close ends every connection and waits for the work to end.
func (g *Gate) Close() {
	g.stop()
	g.mu.Lock()
	g.closed = true
	open := slices.Collect(maps.Keys(g.open))
	g.mu.Unlock()
	for _, c := range open { // not under the lock: closing calls forget
		c.Close()
	}
	g.work.Wait()
}

// slotListener gives an http.Server connections that hold a slot.
type slotListener struct {
	net.Listener
	gate *Gate
}

func (l *slotListener) Accept() (net.Conn, error) {
	conn, err := l.gate.accept(l.Listener)
	if err != nil {
		return nil, err
	}
	return &slotConn{Conn: conn, release: sync.OnceFunc(func() { l.gate.release(conn) })}, nil
}

// slotConn gives its slot back when it is closed.
type slotConn struct {
	net.Conn
	release func()
}

func (c *slotConn) Close() error {
	c.release()
	return nil
}

// CloseWrite passes the end of a stream on.
func (c *slotConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
