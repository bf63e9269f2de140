package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/parley-im/parley/wire/sip"
)

// Buffers that a WebSocket connection keeps: payloads larger than these pass
// them by.
const (
	wsReadBuffer  = 512
	wsWriteBuffer = 2048
)

// WebSocketHandler accepts SIP over WebSocket (RFC 7118). secure says that TLS
// is in front, here or in a proxy. A request with an Origin is from a browser:
// the Origin must be of the same host or match one of origins (a host, or
// "scheme://host", path.Match patterns), else 403. It answers 503 unless Serve
// runs.
func (l *Layer) WebSocketHandler(secure bool, origins []string) http.Handler {
	k := WS
	if secure {
		k = WSS
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.upgrade(w, r, k, origins)
	})
}

// upgrade shakes hands and starts the connection's main goroutine; the HTTP
// server's own goroutine, and its large stack, end here.
func (l *Layer) upgrade(w http.ResponseWriter, r *http.Request, k Kind, origins []string) {
	if !offersSIP(r.Header) {
		// RFC 7118 §4.1: the client must offer the subprotocol "sip".
		l.metrics.drop(k, dropHandshake)
		http.Error(w, "the WebSocket subprotocol must be sip", http.StatusBadRequest)
		return
	}
	remote, _ := netip.ParseAddrPort(r.RemoteAddr)
	s, err := l.admit(k, k.String()+":http", unmap(remote))
	if err != nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many connections", http.StatusServiceUnavailable)
		return
	}
	ch := &wsChannel{s: s}
	ws, err := websocket.Accept(&hijacker{ResponseWriter: w, ch: ch}, r, &websocket.AcceptOptions{
		Subprotocols:    []string{"sip"},
		OriginPatterns:  origins,
		CompressionMode: websocket.CompressionDisabled,
		OnPingReceived:  func(context.Context, []byte) bool { l.metrics.keepalives[k].Inc(); return true },
	})
	if err != nil {
		l.metrics.drop(k, dropHandshake)
		l.log.Debug("no WebSocket handshake", "peer", r.RemoteAddr, "err", err)
		l.dismiss(s)
		return
	}
	ch.ws = ws
	l.names.noteHTTP(addrPort(ch.raw.LocalAddr()).Port())
	ws.SetReadLimit(int64(messageLimit(l.limits.SIP)))
	if !l.start(func() { s.begin(ch) }) {
		_ = ws.CloseNow()
		l.dismiss(s)
	}
}

// messageLimit is the largest message that can be within lim, in bytes.
func messageLimit(lim sip.Limits) int {
	d := sip.DefaultLimits()
	head, body := lim.HeaderBytes, lim.Body
	if head <= 0 {
		head = d.HeaderBytes
	}
	if body <= 0 {
		body = d.Body
	}
	return head + body
}

func offersSIP(h http.Header) bool {
	for _, row := range h.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(row, ",") {
			if strings.EqualFold(strings.TrimSpace(name), "sip") {
				return true
			}
		}
	}
	return false
}

// hijacker hands the connection to the WebSocket library with our socket and
// small buffers in place of the HTTP server's.
type hijacker struct {
	http.ResponseWriter
	ch *wsChannel
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.ch.Conn = nc
	h.ch.raw = nc
	if t, ok := nc.(*tls.Conn); ok {
		h.ch.raw = t.NetConn()
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	r := bufio.NewReaderSize(bytes.NewReader(bytes.Clone(early)), max(wsReadBuffer, len(early)))
	_, _ = r.Peek(len(early)) // the library takes over what is buffered
	return h.ch, bufio.NewReadWriter(r, bufio.NewWriterSize(h.ch, wsWriteBuffer)), nil
}

// wsChannel is SIP over WebSocket, and the net.Conn below the library: it
// keeps the deadlines and notes life signs.
type wsChannel struct {
	net.Conn
	s   *stream
	ws  *websocket.Conn
	raw net.Conn // below TLS: closing it never waits

	heard  int64 // when the peer was heard last, on the layer's clock
	pinged bool
	pings  sync.WaitGroup
}

func (c *wsChannel) conn() net.Conn { return c.raw }

// Read is for the library. While a peer is silent it pings it.
func (c *wsChannel) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 {
			c.heard = c.s.l.now()
			c.pinged = false
			if !c.s.incomplete() {
				c.s.active(false)
			}
			return n, err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.s.expired() {
			return n, err
		}
		if err := c.tick(); err != nil {
			return 0, err
		}
	}
}

// tick pings a peer that is silent, and gives up on one that does not answer.
// RFC 7118 §6: either side may ping; browsers have no way to do it themselves.
func (c *wsChannel) tick() error {
	quiet := time.Duration(c.s.l.now() - c.heard)
	every := c.s.limits().Ping
	switch {
	case c.pinged && quiet >= every+every/2:
		c.s.drop(dropIdle)
		return fmt.Errorf("%w: no pong", ErrIdle)
	case c.pinged || quiet < every:
		return nil
	}
	c.pinged = true
	c.pings.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), every)
		defer cancel()
		_ = c.ws.Ping(ctx) // the pong is noted by Read
	})
	return nil
}

// serve reads messages. RFC 7118 §5: each is one WebSocket message, text or
// binary.
func (c *wsChannel) serve(s *stream) error {
	defer func() {
		_ = c.raw.Close()
		_ = c.ws.CloseNow()
		c.pings.Wait()
	}()
	c.heard = s.l.now()
	for {
		_, r, err := c.ws.Reader(context.Background())
		if err != nil {
			return c.readErr(err)
		}
		s.active(true)
		b, err := readMessage(r)
		if err != nil {
			return c.readErr(err)
		}
		s.active(false)
		c.message(s, b)
	}
}

// readMessage gives a whole WebSocket message a buffer of its own.
func readMessage(r io.Reader) ([]byte, error) {
	buf := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buf)
	var whole []byte
	for n := 0; ; {
		m, err := r.Read(buf[n:])
		n += m
		if err != nil || n == len(buf) {
			whole = append(whole, buf[:n]...)
			n = 0
		}
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// message takes one WebSocket message: a keep-alive (RFC 7118 §6) or SIP.
func (c *wsChannel) message(s *stream, b []byte) {
	if s.state.Load() >= ending {
		return
	}
	if len(bytes.Trim(b, "\r\n")) == 0 {
		if bytes.Contains(b, []byte(ping)) {
			s.pong(1)
		}
		return
	}
	if !tokenStart(b[0]) {
		s.l.metrics.malformed[s.k].Inc()
		s.drop(dropGarbage)
		s.finish("not SIP", ErrGarbage)
		return
	}
	s.message(b)
}

func (c *wsChannel) readErr(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return c.s.late()
	case errors.Is(err, websocket.ErrMessageTooBig):
		c.s.drop(dropOversize)
		return fmt.Errorf("%w: %w", ErrGarbage, err)
	case websocket.CloseStatus(err) != -1:
		return fmt.Errorf("%w: %w", io.EOF, err)
	}
	return err
}

// write sends each message as one WebSocket message: text if it is UTF-8, else
// binary (RFC 7118 §4.2).
func (c *wsChannel) write(batch [][]byte) error {
	for _, b := range batch {
		kind := websocket.MessageText
		if !isText(b) {
			kind = websocket.MessageBinary
		}
		if err := c.ws.Write(context.Background(), kind, b); err != nil {
			return err
		}
	}
	return nil
}

// closeWrite sends a close frame; the reader takes the peer's.
func (c *wsChannel) closeWrite(reason string) {
	if len(reason) > 120 {
		reason = reason[:120]
	}
	_ = c.ws.Close(websocket.StatusNormalClosure, strings.ToValidUTF8(reason, ""))
}
