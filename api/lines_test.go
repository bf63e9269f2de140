package api

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
)

const streaming = "application/connect+json"

// ask posts a body to a handler whose streams l takes; nil: net/http keeps them.
func ask(t *testing.T, l *Lines, h http.Handler, contentType, body string) *http.Response {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Door", "was here")
		l.over(withPipe(h)).ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		if l != nil {
			gone, cancel := context.WithCancel(context.Background())
			cancel()
			l.Shutdown(gone)
		}
		s.Close()
	})
	resp, err := s.Client().Post(s.URL, contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func quietLines() *Lines { return &Lines{Log: slog.New(slog.DiscardHandler)} }

func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatal("never: " + what)
	}
}

// A client sees no difference between a stream that was taken and one that net/http has, whether it ends well or with an error.
func TestLinesAreLikeNetHTTP(t *testing.T) {
	const request = "\x00\x00\x00\x00\x10" + `{"position":"7"}`
	for name, end := range map[string]error{"well": nil, "refused": errs.New(errs.TooMany, "feed: no"), "broken": errs.New(errs.Internal, "feed: oh")} {
		t.Run(name, func(t *testing.T) {
			h := connect.NewServerStreamHandler("/x", func(ctx context.Context, req *connect.Request[v1.StreamRequest], to *connect.ServerStream[v1.Event]) error {
				line := ctx.Value(lineKey{}).(pipe)
				line.heard()
				for i := range int64(5) {
					line.more(i%2 == 0)
					if err := to.Send(&v1.Event{Position: req.Msg.Position + i}); err != nil {
						return err
					}
				}
				line.more(false)
				if end != nil {
					return Public(end)
				}
				return nil
			})
			var got [2]struct {
				body   string
				header http.Header
			}
			for i, l := range []*Lines{nil, quietLines()} {
				resp := ask(t, l, h, streaming, request)
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != http.StatusOK || resp.Close {
					t.Fatalf("%v, %d, closes %v", err, resp.StatusCode, resp.Close)
				}
				resp.Header.Del("Date")
				got[i].body, got[i].header = string(body), resp.Header
			}
			if !reflect.DeepEqual(got[0], got[1]) || !strings.Contains(got[0].body, `"position":"11"`) || got[0].header.Get("X-Door") == "" {
				t.Errorf("with net/http: %v\ntaken:         %v", got[0], got[1])
			}
			if end != nil && !strings.Contains(got[1].body, ReasonHeader) {
				t.Errorf("no reason in %q", got[1].body)
			}
		})
	}
}

// What waits for more goes out together, and at once when there is no more.
func TestLineHolds(t *testing.T) {
	next := make(chan struct{})
	resp := ask(t, quietLines(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		x := w.(*line)
		say := func(text string) {
			_, _ = io.WriteString(w, text)
			x.Flush()
		}
		x.more(true)
		say("a")
		say("b")
		x.more(false)
		say("c")
		<-next
		x.more(true)
		say(strings.Repeat("d", mostChunk)) // too much to hold
		<-next
		say("e")
		x.flush()
		<-next
	}), streaming, "")
	read := func(want string) {
		t.Helper()
		b := make([]byte, len(want))
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != want {
			t.Fatalf("%q, %v", b, err)
		}
	}
	read("abc")
	next <- struct{}{}
	read(strings.Repeat("d", mostChunk))
	next <- struct{}{}
	read("e")
	next <- struct{}{}
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

// Who is refused at once hears that the connection ends.
func TestLineRefuses(t *testing.T) {
	resp := ask(t, quietLines(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }), streaming, "")
	if b, err := io.ReadAll(resp.Body); err != nil || len(b) > 0 || resp.StatusCode != http.StatusTeapot || !resp.Close {
		t.Errorf("%q, %v, %d, closes %v", b, err, resp.StatusCode, resp.Close)
	}
}

// The handler hears that its client has gone.
func TestLineClientGoes(t *testing.T) {
	left := make(chan struct{})
	resp := ask(t, quietLines(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(*line).Flush()
		_, _ = io.WriteString(w, "x")
		w.(*line).Flush()
		<-r.Context().Done()
		close(left)
	}), streaming, "")
	if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	wait(t, "the end", left)
}

// Shutdown waits for streams, and cuts off those that take too long: because the handler does not end, or the client does not read.
func TestLinesShutdown(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"ends by itself": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") },
		"does not end": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "x")
			w.(*line).Flush()
			<-r.Context().Done()
		},
		"nobody reads": func(w http.ResponseWriter, _ *http.Request) {
			for err := error(nil); err == nil; w.(*line).Flush() {
				_, err = w.Write(make([]byte, mostChunk))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := quietLines()
			resp := ask(t, l, h, streaming, "")
			if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { l.Shutdown(ctx); close(ended) }()
			if name != "ends by itself" {
				cancel()
			}
			wait(t, "the shutdown", ended)
			cancel()
			if l.mu.Lock(); len(l.open) != 0 {
				t.Errorf("%d are open", len(l.open))
			}
			l.mu.Unlock()
			taken := make(chan bool, 1)
			ask(t, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, is := w.(*line)
				taken <- is
			}), streaming, "")
			if <-taken {
				t.Error("taken after the end")
			}
		})
	}
}

// A handler that panics ends its stream, and nothing else.
func TestLinePanics(t *testing.T) {
	resp := ask(t, quietLines(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "x")
		w.(*line).Flush()
		panic("oh")
	}), streaming, "")
	if b, err := io.ReadAll(resp.Body); err == nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
}

// What is not a stream of Connect's own protocol over HTTP/1.1, or is too long for one, stays with net/http, whole.
func TestLinesLeave(t *testing.T) {
	long := strings.Repeat("x", maxSmall+6)
	for name, c := range map[string]struct{ contentType, body string }{"unary": {"application/json", "{}"}, "too long": {streaming, long}, "gRPC-Web": {"application/grpc-web", "y"}} {
		t.Run(name, func(t *testing.T) {
			resp := ask(t, quietLines(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, is := w.(*line); is {
					t.Error("it was taken")
				}
				b, err := io.ReadAll(r.Body)
				if err != nil || string(b) != c.body {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			}), c.contentType, c.body)
			if resp.StatusCode != http.StatusOK {
				t.Error(resp.Status)
			}
		})
	}
}

// Who goes on talking after the request is cut off.
func TestLineHearsTooMuch(t *testing.T) {
	here, there := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	x := &line{conn: here, lines: quietLines(), ctx: ctx, cancel: cancel}
	go x.watch()
	if _, err := there.Write(make([]byte, mostHeard)); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Fatal(err)
	}
	wait(t, "the end", ctx.Done())
	here.Close()
	there.Close()
}

// segment gathers what TLS writes until it is let go, so that all of it comes at once.
type segment struct {
	net.Conn
	held []byte
}

func (s *segment) Write(p []byte) (int, error) {
	if s.held == nil {
		return s.Conn.Write(p)
	}
	s.held = append(s.held, p...)
	return len(p), nil
}

// begin opens a connection to a server whose streams l takes, over TLS when secure. Nothing is written after it until the function
// that it returns is called, but the handshake.
func begin(t *testing.T, l *Lines, secure bool, h http.Handler) (c net.Conn, together func()) {
	t.Helper()
	s := httptest.NewUnstartedServer(l.over(h))
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	nc, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	raw := &segment{Conn: nc}
	c = raw
	if secure {
		config := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.ServerName, config.NextProtos = "example.com", []string{"http/1.1"}
		tc := tls.Client(raw, config)
		if err := tc.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		c = tc
	}
	raw.held = []byte{}
	return c, func() {
		_ = nc.SetDeadline(time.Now().Add(time.Minute)) // crypto/tls ends writing with its goodbye
		if _, err := nc.Write(raw.held); err != nil {
			t.Fatal(err)
		}
		raw.held = nil
	}
}

func post(path, contentType string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + contentType + "\r\nContent-Length: 2\r\n\r\n{}"
}

// What a client asks behind a stream, at once or while it runs, is not done, and it hears that: the connection closes after the
// stream's answer. Nothing of it is left.
func TestLinePipelined(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "over TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			awaited, end := make(chan struct{}), make(chan struct{})
			l := quietLines()
			l.Await = func(net.Conn) error { awaited <- struct{}{}; return nil }
			var streams, others atomic.Int32
			c, together := begin(t, l, secure, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/stream" {
					others.Add(1)
					return
				}
				streams.Add(1)
				_, _ = io.WriteString(w, "x")
				w.(*line).Flush()
				select {
				case <-end:
				case <-r.Context().Done():
					t.Error("it ended early")
				}
			}))
			say := func(text string) {
				if _, err := io.WriteString(c, text); err != nil {
					t.Fatal(err)
				}
			}
			say(post("/stream", streaming))
			say(post("/other", "application/json"))
			say(post("/stream", streaming))
			together()
			<-awaited
			in := bufio.NewReader(c)
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			say(post("/other", "application/json"))
			<-awaited // that was read
			close(end)
			if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
				t.Errorf("%q, %v", rest, err)
			}
			if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
				t.Errorf("after the stream: %q, %v", rest, err)
			}
			gone, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if l.Shutdown(gone); gone.Err() != nil {
				t.Error("something of it is left")
			}
			if streams.Load() != 1 || others.Load() != 0 {
				t.Errorf("%d streams, %d other requests", streams.Load(), others.Load())
			}
		})
	}
}

// A client over TLS may ask, and go, in one breath: TLS has taken its goodbye from the socket before anybody waits there.
func TestLineClientHasGone(t *testing.T) {
	for name, behind := range map[string]string{"at once": "", "behind another request": post("/stream", streaming)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, left := quietLines(), make(chan struct{})
			awaits, stop := context.WithCancel(context.Background())
			defer stop()
			l.Await = func(net.Conn) error { <-awaits.Done(); return awaits.Err() } // nothing comes any more
			c, together := begin(t, l, true, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				close(left)
			}))
			if _, err := io.WriteString(c, post("/stream", streaming)+behind); err != nil {
				t.Fatal(err)
			}
			if err := c.(*tls.Conn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			together()
			wait(t, "the end", left)
		})
	}
}
