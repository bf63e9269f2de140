package server

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUID is the user at the other end of a Unix socket.
func peerUID(c net.Conn) (uid uint32, ok bool) {
	u, isUnix := c.(*net.UnixConn)
	if !isUnix {
		return 0, false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *unix.Ucred
	controlled := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if controlled != nil || err != nil {
		return 0, false
	}
	return cred.Uid, true
}
