//go:build !linux || portable

package transport

// poller: where there is no epoll, each connection has a goroutine that waits
// with a small buffer of its own.
type poller struct{ closed chan struct{} }

// waitSize is that buffer, in bytes.
const waitSize = 2 << 10

func newPoller() (*poller, error) { return &poller{closed: make(chan struct{})}, nil }

func (p *poller) close() { close(p.closed) }

func (lp *loop) add(s *stream) error {
	go func() {
		buf := make([]byte, waitSize)
		for {
			n, err := s.sock.TCPConn.Read(buf)
			lp.cork()
			err = s.turn(buf[:n], err)
			lp.uncork()
			if err != nil {
				s.leave(err)
				return
			}
		}
	}()
	return nil
}

func (lp *loop) read() { <-lp.poll.closed }

// writeNow leaves all to a goroutine that may wait.
func writeNow(int, []byte) (int, error) { return 0, nil }
