//go:build !linux

package transport

import (
	"net/netip"
	"syscall"
)

// Elsewhere there is one socket per UDP listener, and the system chooses the
// address that an answer is sent from.

const oobSize = 0

var reusePort func(network, address string, c syscall.RawConn) error

func listenControl(_, _ string, _ syscall.RawConn) error { return nil }

func dialControl(_, _ string, _ syscall.RawConn) error { return nil }

func wantLocal(syscall.RawConn, bool) error { return nil }

func localOf([]byte) netip.Addr { return netip.Addr{} }

func putLocal([]byte, netip.Addr, bool) []byte { return nil }
