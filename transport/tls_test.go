package transport

import (
	"crypto/tls"
	"net"
	"testing"
)

// The buffers that an idle TLS connection is relieved of are where we look for them, and hold something.
func TestTLSBuffers(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	cert, pool := certificate(t, "sip.example.com")
	server, client := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{cert}}), tls.Client(b, &tls.Config{RootCAs: pool, ServerName: "sip.example.com"})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, "handshake", done); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rawInput", "hand"} {
		buf := tlsBuffer(server, name)
		if buf == nil || buf.Cap() < 200 {
			t.Fatalf("%s is not what it was", name)
		}
		if giveBack(buf); buf.Cap() != 0 {
			t.Errorf("%s still has %d bytes", name, buf.Cap())
		}
	}
	if tlsBuffer(server, "nothing") != nil || tlsBuffer(server, "input") != nil {
		t.Error("found what is no buffer")
	}
}
