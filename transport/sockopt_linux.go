package transport

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// userTimeout is how long written bytes may go unacknowledged before the
// system gives a connection up, in ms: a device that has vanished is noticed
// then, not after a quarter of an hour of retransmissions.
const userTimeout = 30_000

// control applies setsockopt to a socket before it is bound.
func control(c syscall.RawConn, set func(fd int) error) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = set(int(fd)) }); e != nil {
		return e
	}
	return err
}

var reusePort = func(_, _ string, c syscall.RawConn) error {
	return control(c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
}

// listenControl: accepted connections inherit the option.
func listenControl(_, _ string, c syscall.RawConn) error {
	return control(c, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, userTimeout)
	})
}

func dialControl(network, address string, c syscall.RawConn) error {
	return listenControl(network, address, c)
}

// wantLocal asks the system to tell the address that each datagram was sent
// to. RFC 3581 §4: the answer must come from there.
func wantLocal(c syscall.RawConn, v6 bool) error {
	return control(c, func(fd int) error {
		if v6 {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	})
}

// Control messages: a header (length as a word, level, type as int32), then
// in_pktinfo (interface int32, local [4], destination [4]) or in6_pktinfo
// (address [16], interface uint32).
const (
	cmsgHeader = unix.SizeofCmsghdr
	oobSize    = 64
)

// localOf reads the local address of a received datagram; zero if none.
func localOf(oob []byte) netip.Addr {
	for len(oob) >= cmsgHeader {
		var size int
		if cmsgHeader == 16 {
			size = int(binary.NativeEndian.Uint64(oob))
		} else {
			size = int(binary.NativeEndian.Uint32(oob))
		}
		if size < cmsgHeader || size > len(oob) {
			return netip.Addr{}
		}
		level := binary.NativeEndian.Uint32(oob[cmsgHeader-8:])
		kind := binary.NativeEndian.Uint32(oob[cmsgHeader-4:])
		body := oob[cmsgHeader:size]
		switch {
		case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(body) >= 12:
			return netip.AddrFrom4([4]byte(body[8:12]))
		case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(body) >= 20:
			return netip.AddrFrom16([16]byte(body[:16])).Unmap()
		}
		oob = oob[min(unix.CmsgSpace(size-cmsgHeader), len(oob)):]
	}
	return netip.Addr{}
}

// putLocal writes the control message that sends a datagram from local.
func putLocal(b []byte, local netip.Addr, v6 bool) []byte {
	clear(b)
	size, level, kind := 12, uint32(unix.IPPROTO_IP), uint32(unix.IP_PKTINFO)
	if v6 {
		size, level, kind = 20, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
	}
	if cmsgHeader == 16 {
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(size)))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(unix.CmsgLen(size)))
	}
	binary.NativeEndian.PutUint32(b[cmsgHeader-8:], level)
	binary.NativeEndian.PutUint32(b[cmsgHeader-4:], kind)
	if v6 {
		a := local.As16()
		copy(b[cmsgHeader:], a[:])
	} else {
		a := local.As4()
		copy(b[cmsgHeader+4:], a[:])
	}
	return b[:unix.CmsgSpace(size)]
}
