package ua

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/wire/sip"
)

// Users of one socket get their own requests and responses, also a body of the largest size at once.
func TestSharedSocket(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the test is over
	got := make(chan string, 10)
	run := &Run{ID: "run", Problem: func(format string, args ...any) { got <- fmt.Sprintf(format, args...) }}
	s, err := Share(run, conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	f := &far{t: t, conn: conn}
	var clients []*Client
	for i, user := range []string{"alice", "bob"} {
		c := New(run, 7+i, user, "secret", "example.com")
		c.Join(s)
		c.On = func(m *sip.Message, again bool) bool {
			got <- fmt.Sprint(c.User, " ", m.Method(), " ", len(m.Body()), " ", again)
			c.Reply(m, 200, nil)
			return true
		}
		clients = append(clients, c)
	}
	answers := make(chan string, 2)
	for _, c := range clients {
		c.Send(&Request{Method: sip.OPTIONS, URI: "sip:example.com", To: "<sip:example.com>", CallID: c.User, Done: func(m *sip.Message) {
			if m == nil {
				answers <- "nothing"
				return
			}
			answers <- c.User + " " + m.CallID()
		}})
		f.write(answer(f.read(), 200, ""))
		if text := <-answers; text != c.User+" "+c.User {
			t.Errorf("the answer is %q", text)
		}
	}
	for i, size := range []int{10, 60_000} {
		user := []string{"bob", "alice"}[i]
		f.write(fmt.Sprintf("NOTIFY sip:%s@1.2.3.4:5 SIP/2.0\r\nVia: SIP/2.0/UDP far;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\nFrom: <sip:x@example.com>;tag=b\r\n"+
			"To: <sip:%[1]s@example.com>;tag=a\r\nCall-ID: c\r\nCSeq: %[2]d NOTIFY\r\nContent-Length: %d\r\n\r\n", user, i, size) + strings.Repeat("x", size))
		if text := <-got; text != fmt.Sprint(user, " NOTIFY ", size, " false") {
			t.Errorf("what came is %q", text)
		}
		if m := f.read(); m.Status() != 200 {
			t.Errorf("the answer is %q", m.Bytes())
		}
	}
	f.write("OPTIONS sip:carol@1.2.3.4:5 SIP/2.0\r\nVia: SIP/2.0/UDP far;branch=z9hG4bKx\r\nMax-Forwards: 70\r\nFrom: <sip:x@example.com>;tag=b\r\n" +
		"To: <sip:carol@example.com>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
	if text := <-got; !strings.Contains(text, "for nobody") {
		t.Errorf("of a stranger's message is said %q", text)
	}
	clients[0].Send(&Request{Method: sip.OPTIONS, URI: "sip:example.com", To: "<sip:example.com>", CallID: "open", Done: func(m *sip.Message) {
		answers <- fmt.Sprint(m == nil)
	}})
	s.Close()
	if text := <-answers; text != "true" {
		t.Errorf("behind the end of the socket came an answer: %s", text)
	}
	run.Readers.Wait()
	select {
	case text := <-got:
		t.Errorf("a problem: %s", text)
	default:
	}
}

// A stream is cut into its messages however its bytes arrive.
func TestStream(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test is over
	link, err := Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	message := func(size int) []byte {
		return append([]byte("MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP far;branch=z9hG4bKx\r\nMax-Forwards: 70\r\nFrom: <sip:x@b>;tag=b\r\n"+
			"To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\nContent-Length: "+fmt.Sprint(size)+"\r\n\r\n"), bytes.Repeat([]byte("x"), size)...)
	}
	sizes := []int{0, 5, 60_000, 1, 4000}
	done := make(chan error, 1)
	got := make(chan int, len(sizes))
	go func() {
		done <- link.Read(func(data []byte) {
			var m sip.Message
			if err := m.Parse(data); err != nil {
				t.Errorf("%v in %q", err, data)
			}
			got <- len(m.Body())
		})
	}()
	var all []byte
	for _, size := range sizes {
		all = append(append(all, "\r\n\r\n"...), message(size)...)
	}
	for _, cut := range []int{1, 3, 100, 350, 30_000, len(all)} { // what is not there yet comes later
		n := min(cut, len(all))
		if _, err := conn.Write(all[:n]); err != nil {
			t.Fatal(err)
		}
		all = all[n:]
	}
	for _, want := range sizes {
		select {
		case n := <-got:
			if n != want {
				t.Errorf("a body has %d bytes, want %d", n, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a message is missing")
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != io.EOF { //nolint:errorlint // it is not wrapped
		t.Errorf("the end is %v", err)
	}
	link.Close()
}
