package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Lines are the event streams over HTTP/1.1 that were taken from net/http, which keeps 10 kB of buffers and a deep stack for
// each as long as it lasts. The zero value is ready; Shutdown waits for all.
type Lines struct {
	Await func(net.Conn) error // waits until something comes, for less memory than a read that waits; nil: that one waits
	Log   *slog.Logger         // nil: slog's default

	all     sync.WaitGroup
	mu      sync.Mutex // guards what follows
	open    map[*line]struct{}
	stopped bool
}

// Shutdown takes no more streams, and returns when all have ended; when ctx ends before, it cuts them off.
func (l *Lines) Shutdown(ctx context.Context) {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	cut := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for x := range l.open {
			x.cancel()
			_ = x.conn.SetDeadline(time.Now()) // it cannot fail in a way that matters: the connection is gone then
		}
	})
	defer cut()
	l.all.Wait()
}

// over serves h, and takes the connections of streams in Connect's own protocol over HTTP/1.1.
func (l *Lines) over(h http.Handler) http.Handler {
	if l == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.ProtoMajor != 1 || r.ProtoMinor < 1 || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/connect+") {
			h.ServeHTTP(w, r)
			return
		}
		const most = maxSmall + 5 // with the envelope
		body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
		if err == nil && len(body) <= most {
			if x := l.take(w, r, body); x != nil {
				x.start(h, r)
				return
			}
		}
		r.Body = again{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
		h.ServeHTTP(w, r)
	})
}

// again is a body whose beginning was read.
type again struct {
	io.Reader
	io.Closer
}

// take takes the connection of a request; nil when that cannot be.
func (l *Lines) take(w http.ResponseWriter, r *http.Request, body []byte) *line {
	l.mu.Lock()
	stopped := l.stopped
	l.mu.Unlock()
	if stopped {
		return nil
	}
	header := w.Header().Clone()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil
	}
	x := &line{conn: conn, lines: l, header: header, body: body}
	x.ctx, x.cancel = context.WithCancel(context.WithoutCancel(r.Context())) // that one ends with net/http's part
	if _, err := x.drain(); err != nil {
		x.cancel() // the client has gone
	}
	return x
}

// A line is the connection of one event stream: the http.ResponseWriter of its handler, in chunks. Its methods are for the
// handler's goroutine.
type line struct {
	conn   net.Conn
	lines  *Lines
	ctx    context.Context //nolint:containedctx // the request's, until it begins
	cancel context.CancelFunc
	body   []byte // of the request, until it begins

	header http.Header
	head   []byte  // not sent yet
	chunk  *[]byte // not sent yet: room for its size, and what was written
	begun  bool
	held   bool      // more comes at once
	until  time.Time // when a write is given up
	err    error     // of the connection
}

const (
	sizeRoom  = 10       // bytes for the size of a chunk and the end of that line
	mostChunk = 16 << 10 // bytes that wait for more
	mostHeard = 64 << 10 // bytes that a client may say after its request, before it is cut off
	extension = 5 * time.Second
)

// spare are chunks that are not in use.
var spare = sync.Pool{New: func() any { b := make([]byte, sizeRoom, 2<<10); return &b }}

// start serves the stream on goroutines of its own, so that net/http's ends.
func (x *line) start(h http.Handler, r *http.Request) {
	own := r.WithContext(context.WithValue(x.ctx, lineKey{}, pipe(x)))
	own.Body, own.TLS = io.NopCloser(bytes.NewReader(x.body)), nil
	x.ctx, x.body = nil, nil
	l := x.lines
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		x.cancel()
		_ = x.conn.Close() // the client comes again, as after any stop
		return
	}
	if l.open == nil {
		l.open = map[*line]struct{}{}
	}
	l.open[x] = struct{}{}
	l.all.Go(func() { x.serve(h, own) })
	l.all.Go(x.watch)
}

// serve runs the handler and ends the answer.
func (x *line) serve(h http.Handler, r *http.Request) {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // as net/http does it: one stream, not the server
			log := x.lines.Log
			if log == nil {
				log = slog.Default()
			}
			log.Error("api: an event stream panicked", "panic", v, "stack", string(debug.Stack()))
		}
		x.cancel()
		_ = x.conn.Close() // nothing is to be read any more
		x.lines.mu.Lock()
		delete(x.lines.open, x)
		x.lines.mu.Unlock()
	}()
	h.ServeHTTP(x, r)
	x.finish()
}

// watch ends the stream when the client goes.
//
// What a client says after its request is dropped, also a second request, whether net/http has it in its buffer or it comes while the
// stream runs: an answer could only come after this one, with which the connection closes. So such a request is never done, and
// a client that has sent it sends it again on another connection, as with any that closes before an answer. It is read all the same:
// TLS wants to hear some of it, and only behind it one hears that the client has gone.
func (x *line) watch() {
	defer x.cancel()
	await := x.lines.Await
	if await == nil {
		await = func(net.Conn) error { return nil }
	}
	for heard := 0; heard < mostHeard; {
		if await(x.conn) != nil {
			return
		}
		to := make(chan said, 1)
		go x.hear(to) // a stack that was deep does not become small again
		s := <-to
		if heard += s.bytes; s.err != nil {
			return
		}
	}
}

// said is how much a client has said before an error.
type said struct {
	bytes int
	err   error
}

// hear waits until the client says something, and reads it with all that TLS has taken from the socket meanwhile.
func (x *line) hear(to chan<- said) {
	n, err := x.conn.Read(make([]byte, 256))
	if err == nil {
		var more int
		more, err = x.drain()
		n += more
	}
	to <- said{n, err}
}

// drain reads what TLS has taken from the socket: that can be awaited no more.
func (x *line) drain() (heard int, err error) {
	if _, secure := x.conn.(*tls.Conn); !secure {
		return 0, nil
	}
	if err := x.conn.SetReadDeadline(time.Unix(1, 0)); err != nil { // nothing is taken from there
		return 0, err
	}
	for b := make([]byte, 256); err == nil; {
		var n int
		n, err = x.conn.Read(b)
		heard += n
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return heard, err
	}
	return heard, x.conn.SetReadDeadline(time.Time{})
}

func (x *line) Header() http.Header {
	if x.header == nil {
		x.header = http.Header{} // too late for the answer
	}
	return x.header
}

func (x *line) WriteHeader(status int) {
	if x.begun {
		return
	}
	x.begun = true
	h := x.header
	x.header = nil
	h.Set("Transfer-Encoding", "chunked")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	h.Del("Content-Length")
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n")
	_ = h.Write(&b) // memory
	x.head = b.Bytes()
}

func (x *line) Write(p []byte) (int, error) {
	x.WriteHeader(http.StatusOK)
	if x.err != nil {
		return 0, x.err
	}
	if x.chunk == nil {
		x.chunk = spare.Get().(*[]byte)
	}
	*x.chunk = append(*x.chunk, p...)
	return len(p), nil
}

// Flush sends what was written, unless more comes at once.
func (x *line) Flush() {
	if !x.held || x.chunk != nil && len(*x.chunk) >= mostChunk {
		x.flush()
	}
}

func (x *line) heard() {}

// more says whether another event comes at once.
func (x *line) more(yes bool) { x.held = yes }

func (x *line) flush() { x.send("") }

// finish ends the answer.
func (x *line) finish() {
	x.WriteHeader(http.StatusOK)
	x.send("0\r\n\r\n")
}

// send sends what waits, and the end when there is one.
func (x *line) send(end string) {
	if x.err != nil {
		return
	}
	var out []byte
	if x.chunk != nil {
		out = framed(x.chunk)
	}
	if x.head != nil {
		// Known in time. Said of every stream it would make clients open more connections than they need.
		if end != "" {
			x.head = append(x.head, "Connection: close\r\n"...)
		}
		out, x.head = append(append(x.head, "\r\n"...), out...), nil
	}
	out = append(out, end...)
	if len(out) > 0 {
		if now := time.Now(); x.until.Sub(now) < writeWithin-extension {
			x.until = now.Add(writeWithin)
			_ = x.conn.SetWriteDeadline(x.until) // the write says what is wrong
		}
		if _, x.err = x.conn.Write(out); x.err != nil {
			x.cancel()
		}
	}
	if x.chunk != nil {
		if cap(*x.chunk) <= 2*mostChunk {
			*x.chunk = (*x.chunk)[:sizeRoom]
			spare.Put(x.chunk)
		}
		x.chunk = nil
	}
}

// framed is a chunk with its size before it and the end of the line behind it.
func framed(chunk *[]byte) []byte {
	var size [sizeRoom]byte
	head := append(strconv.AppendInt(size[:0], int64(len(*chunk)-sizeRoom), 16), "\r\n"...)
	*chunk = append(*chunk, "\r\n"...)
	from := sizeRoom - len(head)
	copy((*chunk)[from:], head)
	return (*chunk)[from:]
}
