//go:build !linux

package tcpinfo

import "net"

// Read knows nothing on this system.
func Read(*net.TCPConn) (Line, bool) { return Line{}, false }
