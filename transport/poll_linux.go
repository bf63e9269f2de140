//go:build linux && !portable

package transport

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller waits for all connections of a loop in one epoll set. The set itself
// is watched by the Go runtime, so waiting blocks no thread.
type poller struct {
	file *os.File
	raw  syscall.RawConn
	fd   int

	mu    sync.Mutex
	conns []*stream // by descriptor
}

// readEvents is how many connections get their turn between two looks at what
// else is to be done.
const readEvents = 32

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, fmt.Errorf("transport: epoll: %w", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	p.raw, err = p.file.SyscallConn()
	return p, err
}

// add makes the loop read for s. Nobody but the loop may close the socket from
// now on: its descriptor names it here.
func (lp *loop) add(s *stream) error {
	p := lp.poll
	fd := s.sock.fd
	p.mu.Lock()
	for fd >= len(p.conns) {
		p.conns = append(p.conns, nil)
	}
	p.conns[fd] = s
	p.mu.Unlock()
	// Level-triggered: what is there already, or left for the next turn, is told.
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (p *poller) remove(s *stream) {
	_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, s.sock.fd, nil)
	p.mu.Lock()
	p.conns[s.sock.fd] = nil
	p.mu.Unlock()
}

// close ends wait for good.
func (p *poller) close() { _ = p.file.Close() }

// read reads for the loop's connections until the poller is closed.
func (lp *loop) read() {
	p := lp.poll
	buf := make([]byte, readSize)
	var (
		events [readEvents]unix.EpollEvent
		ready  [readEvents]*stream
		n      int
	)
	look := func(fd uintptr) bool {
		for {
			var err error
			n, err = unix.EpollWait(int(fd), events[:], 0)
			if err != unix.EINTR {
				return n != 0
			}
		}
	}
	for p.raw.Read(look) == nil {
		p.mu.Lock()
		for i := range max(n, 0) {
			ready[i] = p.conns[events[i].Fd]
		}
		p.mu.Unlock()
		lp.cork()
		for i, s := range ready[:max(n, 0)] {
			ready[i] = nil
			if s == nil {
				continue
			}
			got, err := readNow(s.sock.fd, buf)
			if err = s.turn(buf[:got], err); err != nil {
				p.remove(s)
				s.leave(err)
			}
		}
		lp.uncork()
	}
}

// readNow reads without waiting; nothing and no error if there is nothing.
func readNow(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, nil
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// writeNow writes what the socket takes without waiting.
func writeNow(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Write(fd, p)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, nil
		case err != nil:
			return 0, os.NewSyscallError("write", err)
		default:
			return n, nil
		}
	}
}
