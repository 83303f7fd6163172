package sandbox

import "os"

// pipes are the three standard streams: our ends and the child's.
type pipes struct {
	stdin, stdout, stderr *os.File
	child                 [3]*os.File
}

func newPipes() (*pipes, error) {
	p := &pipes{}
	var err error
	if p.child[0], p.stdin, err = os.Pipe(); err != nil {
		return nil, err
	}
	if p.stdout, p.child[1], err = os.Pipe(); err != nil {
		p.close()
		return nil, err
	}
	if p.stderr, p.child[2], err = os.Pipe(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// closeChild closes the child's ends, which the child has by now.
func (p *pipes) closeChild() {
	for _, f := range p.child {
		f.Close() // nil is refused, not followed
	}
}

func (p *pipes) close() {
	p.closeChild()
	p.stdin.Close()
	p.stdout.Close()
	p.stderr.Close()
}
