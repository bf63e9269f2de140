package idle

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// readable waits until a read from c would not wait.
func readable(c net.Conn) error {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil // no socket
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK)
		return err != unix.EAGAIN
	})
}
