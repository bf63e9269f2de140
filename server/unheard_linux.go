package server

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unheardFor is how long a connection may leave unacknowledged what was sent on it before the kernel ends it: the laptop
// at the other end sleeps. Without it that takes a quarter of an hour, in which an event stream looks as if somebody read it.
const unheardFor = time.Minute

// giveUpUnheard is for the listening socket, from which the accepted ones have it (tcp(7), TCP_USER_TIMEOUT).
func giveUpUnheard(_, _ string, c syscall.RawConn) error {
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unheardFor/time.Millisecond))
	}); failed != nil {
		return failed
	}
	return err
}
