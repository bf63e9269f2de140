package main

import (
	"fmt"
	"net"
)

// ports returns the first of n neighbouring ports on loopback that are free for UDP and TCP. Programs that must be told
// a number get theirs here; the lab never gives the same one twice.
func (l *lab) ports(n int) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.nextPort+n < 32000 {
		first := l.nextPort
		l.nextPort += n
		if free(first, n) {
			return first, nil
		}
	}
	return 0, fmt.Errorf("clients: no %d neighbouring free ports on 127.0.0.1", n)
}

func free(first, n int) bool {
	for port := first; port < first+n; port++ {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		tcp, err := net.Listen("tcp", address)
		if err != nil {
			return false
		}
		_ = tcp.Close()
		udp, err := net.ListenPacket("udp", address)
		if err != nil {
			return false
		}
		_ = udp.Close()
	}
	return true
}
