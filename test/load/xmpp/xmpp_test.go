package xmpp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

var stanzas = []string{
	`<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>`,
	`<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>`,
	`<message from='a@b/c' to="d@e" note="a > b" type='chat'><body>1 &lt; 2</body><stanza-id id='x' xmlns='urn:xmpp:sid:0'/></message>`,
	`<presence/>`,
	`<iq type='result' id='bind'><bind><jid>u0@load.test/load</jid></bind></iq>`,
}

// Wherever the network cuts, the stanzas are the same.
func TestStream(t *testing.T) {
	text := `<?xml version='1.0'?><stream:stream from='load.test' id='1>2' version='1.0'>` + strings.Join(stanzas, "\n ") + strings.Repeat(stanzas[2], 50) + `</stream:stream>`
	want := append(slices.Clone(stanzas), slices.Repeat(stanzas[2:3], 50)...)
	for size := 1; size < len(text); size += 1 + size/3 {
		server, client := net.Pipe()
		go func() {
			defer server.Close()
			for part := range slices.Chunk([]byte(text), size) {
				if _, err := server.Write(part); err != nil {
					return
				}
			}
		}()
		s := newStream(client)
		if err := s.header(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			stanza, err := s.next()
			if err != nil {
				if !errors.Is(err, errClosed) {
					t.Fatal(err)
				}
				break
			}
			got = append(got, string(stanza))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("in parts of %d bytes: %q", size, got)
		}
		_ = client.Close()
	}
}

func TestElement(t *testing.T) {
	for data, want := range map[string]int{"": 0, "<": 0, "<a": 0, "<a>": 0, "<a><b/>": 0, "<a/>": 4, "<a b='/>'>c</a>d": 15, "<a><a></a></a><b>": 14} {
		if n, err := element([]byte(data)); n != want || err != nil {
			t.Errorf("%q: %d %v, want %d", data, n, err, want)
		}
	}
	for _, data := range []string{"x<a/>", "<!-- -->", "<?xml?>", "</a>"} {
		if n, err := element([]byte(data)); err == nil {
			t.Errorf("%q is an element of %d bytes", data, n)
		}
	}
}

func FuzzElement(f *testing.F) {
	for _, s := range stanzas {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := element(data)
		if n < 0 || n > len(data) || n > 0 && (err != nil || data[n-1] != '>') {
			t.Errorf("%q: %d %v", data, n, err)
		}
		if n > 0 {
			head := tag(data[:n])
			_, _ = attribute(head, "id"), content(data[:n], "body")
		}
	})
}

func TestAttribute(t *testing.T) {
	head := tag([]byte(`<iq id='7' xid="8" type = 'x' type="get">text</iq>`))
	for name, want := range map[string]string{"id": "7", "xid": "8", "type": "get", "to": ""} {
		if got := string(attribute(head, name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := string(content([]byte(`<message><body>a b</body></message>`), "body")); got != "a b" {
		t.Errorf("the body is %q", got)
	}
}

// The example of the SCRAM specification, section 5.
func TestScram(t *testing.T) {
	s := newScram("user", "fyko+d2lbbFgONRv9qkxdawL")
	if s.first != "n=user,r=fyko+d2lbbFgONRv9qkxdawL" {
		t.Errorf("the first message is %q", s.first)
	}
	last, err := s.answer("pencil", "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096")
	if err != nil || last != "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=" {
		t.Errorf("the last message is %q, %v", last, err)
	}
	if err := s.verify("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="); err != nil {
		t.Error(err)
	}
	if err := s.verify("v=AAAApqV8S7suAoZWja4dJRkFsKQ="); err == nil {
		t.Error("a server that does not know the password is believed")
	}
	for _, challenge := range []string{"", "r=other,s=QSXCR+Q6sek8bf92,i=4096", "r=fyko+d2lbbFgONRv9qkxdawLx,s=QSXCR+Q6sek8bf92,i=many"} {
		if _, err := s.answer("pencil", challenge); err == nil {
			t.Errorf("%q is answered", challenge)
		}
	}
}

// serve plays a server for one client: it reads what it expects and writes what follows, in turn.
func serve(t *testing.T, script ...string) (addr string, done <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		defer l.Close()
		ended <- func() error {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			for i := 0; i+1 < len(script); i += 2 {
				got := ""
				for !strings.HasSuffix(got, script[i]) {
					c, err := in.ReadByte()
					if err != nil {
						return fmt.Errorf("after %q, want %q: %w", got, script[i], err)
					}
					got += string(c)
				}
				if _, err := io.WriteString(conn, script[i+1]); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	return l.Addr().String(), ended
}

const opened = "<?xml version='1.0'?><stream:stream version='1.0' id='1'>"

func TestClient(t *testing.T) {
	addr, ended := serve(t,
		"streams'>", opened+stanzas[0],
		"AHUxAHNlY3JldC0x</auth>", stanzas[1], // u1, secret-1
		"streams'>", opened+"<stream:features><bind/><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></stream:features>",
		"</iq>", "<iq type='result' id='bind'/>",
		"</iq>", "<iq type='result' id='session'/>",
		"<presence/>", "<presence from='u1@load.test/load'/>",
		"id='p1'><ping xmlns='urn:xmpp:ping'/></iq>", "<iq type='result' id='p1'/><iq type='get' id='r'><ping xmlns='urn:xmpp:ping'/></iq>",
		"<iq type='result' id='r'/>", "<message type='error'><body>no</body></message><message type='chat'><body>7 8 9 text</body></message>",
		"<message type='chat' to='u2@load.test' id='3'><body>hello</body></message>", "<iq type='result' id='unknown'/></stream:stream>",
	)
	received, problems := make(chan string, 1), make(chan string, 2)
	c := &Client{Domain: "load.test", User: "u1", Password: "secret-1",
		Received: func(body []byte) { received <- string(body) },
		Problem:  func(format string, args ...any) { problems <- fmt.Sprintf(format, args...) },
	}
	if err := c.SignIn(addr); err != nil {
		t.Fatal(err)
	}
	if text := <-received; text != "7 8 9 text" {
		t.Errorf("received %q", text)
	}
	if text := <-problems; !strings.Contains(text, "refused") {
		t.Errorf("the problem is %q", text)
	}
	if err := c.Send("u2", 3, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if text := <-problems; !strings.Contains(text, "closed the stream") {
		t.Errorf("the problem is %q", text)
	}
	answer := make(chan bool, 1)
	c.Ping(func(ok bool) { answer <- ok })
	if <-answer {
		t.Error("a server that has gone answers")
	}
	c.Close()
	if !c.Gone() {
		t.Error("the connection is still there")
	}
}

// A server that takes no password is an error, with what it said.
func TestRefused(t *testing.T) {
	addr, ended := serve(t,
		"streams'>", opened+stanzas[0],
		"</auth>", "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
	)
	c := &Client{Domain: "load.test", User: "u1", Password: "x"}
	if err := c.SignIn(addr); err == nil || !strings.Contains(err.Error(), "not-authorized") {
		t.Errorf("signing in: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	c.Close()
}
