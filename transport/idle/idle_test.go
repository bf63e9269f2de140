package idle

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func wait[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("never: " + what)
		panic("unreachable")
	}
}

// shaken adds TLS to both ends.
func shaken(t *testing.T, near, far net.Conn) (server, client *tls.Conn) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	s.Close()
	trusts := s.Client().Transport.(*http.Transport).TLSClientConfig
	server = tls.Server(near, &tls.Config{Certificates: s.TLS.Certificates, SessionTicketsDisabled: true})
	client = tls.Client(far, &tls.Config{RootCAs: trusts.RootCAs, ServerName: "example.com"})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, "the handshake", done); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// The buffers that an idle TLS connection is relieved of are where we look for them, and hold something; what waits in them stays.
func TestBuffers(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	server, client := shaken(t, a, b)
	buffers := map[string]*bytes.Buffer{"rawInput": Raw.Of(server), "hand": Hand.Of(server)}
	for name, buf := range buffers {
		if buf == nil || buf.Cap() < 200 {
			t.Fatalf("%s is not what it was", name)
		}
	}
	Relieve(server)
	for name, buf := range buffers {
		if n := buf.Cap(); n != 0 {
			t.Errorf("%s still has %d bytes", name, n)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := client.Write([]byte("hello"))
		done <- err
	}()
	for _, want := range []byte("hello") {
		one := make([]byte, 1)
		if _, err := io.ReadFull(server, one); err != nil || one[0] != want {
			t.Fatalf("%q, %v", one, err)
		}
		Relieve(server)
	}
	if err := wait(t, "writing", done); err != nil {
		t.Fatal(err)
	}
	if find("nothing").Of(server) != nil || find("input").Of(server) != nil {
		t.Error("found what is no buffer")
	}
}

// Await returns when something comes, leaves it where it is, and hears the end of both sides.
func TestAwait(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it waits on Linux only")
	}
	for name, secure := range map[string]bool{"plain": false, "over TLS": true} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			far, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			near, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer near.Close()
			if secure {
				near, far = shaken(t, near, far)
			}
			var said atomic.Bool
			await := func() <-chan error {
				done := make(chan error, 1)
				go func() {
					err := Await(near)
					if !said.Load() {
						t.Error("it did not wait")
					}
					done <- err
				}()
				return done
			}
			for range 3 {
				said.Store(false)
				done := await()
				said.Store(true)
				if _, err := io.WriteString(far, "hello"); err != nil {
					t.Fatal(err)
				}
				if err := wait(t, "what was said", done); err != nil {
					t.Fatal(err)
				}
				if err := wait(t, "what was said before", await()); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 5)
				if _, err := io.ReadFull(near, b); err != nil || string(b) != "hello" {
					t.Fatalf("%q, %v", b, err)
				}
			}
			done := await()
			far.Close()
			if err := wait(t, "the other side's end", done); err != nil {
				t.Fatal(err)
			}
			if _, err := near.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the other side's end: %v", err)
			}
			near.Close()
			if err := wait(t, "the own end", await()); err == nil {
				t.Error("no error after the own end")
			}
		})
	}
}
