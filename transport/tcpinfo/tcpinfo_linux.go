package tcpinfo

import (
	"encoding/binary"
	"math"
	"net"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read reads TCP_INFO. ok is false when the connection is over, or nothing has been measured yet. It costs a system call.
func Read(c *net.TCPConn) (line Line, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Line{}, false
	}
	var info *unix.TCPInfo
	if e := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); e != nil || err != nil {
		return Line{}, false
	}
	if info.State != stateEstablished && info.State != stateCloseWait {
		return Line{}, false
	}
	rtt := info.Rtt
	// Min_rtt is all ones before the first sample; older systems do not have it.
	if m := info.Min_rtt; m != 0 && m != math.MaxUint32 {
		rtt = m
	}
	line = Line{RTT: time.Duration(rtt) * time.Microsecond, Rate: info.Delivery_rate}
	line.AtLeast = line.Rate > 0 && appLimited(info)
	return line, line.RTT > 0 || line.Rate > 0
}

// States of a connection (include/net/tcp_states.h) in which it can be sent on.
const (
	stateEstablished = 1
	stateCloseWait   = 8
)

// appLimited is tcpi_delivery_rate_app_limited: one bit of the second of two bytes of bit fields, which unix.TCPInfo
// leaves out between Options and Rto. The system numbers bits as it orders bytes.
func appLimited(info *unix.TCPInfo) bool {
	const second = unsafe.Offsetof(info.Options) + 2
	b := (*[unsafe.Sizeof(*info)]byte)(unsafe.Pointer(info))[second] //nolint:gosec // within the struct
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return b&0x80 != 0
	}
	return b&1 != 0
}
