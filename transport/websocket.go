package transport

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
	"unicode/utf8"

	"github.com/parley-im/parley/transport/ws"
	"github.com/parley-im/parley/wire/sip"
)

// WebSocketHandler accepts SIP over WebSocket (RFC 7118). secure says that TLS
// is in front, here (over a [Listener]) or in a proxy. A request with an Origin
// is from a browser: the Origin must be of the same host or match one of
// origins (a host, or "scheme://host", path.Match patterns), else 403. It
// answers 503 unless Serve runs.
func (l *Layer) WebSocketHandler(secure bool, origins []string) http.Handler {
	k := WS
	if secure {
		k = WSS
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.upgrade(w, r, k, origins)
	})
}

// upgrade shakes hands and gives the connection to its loop; what the HTTP
// server has for it, goroutine, buffers and request, ends here.
func (l *Layer) upgrade(w http.ResponseWriter, r *http.Request, k Kind, origins []string) {
	status, text := ws.Refuse(r, origins)
	if !ws.Lists(r.Header, "Sec-WebSocket-Protocol", "sip") {
		// RFC 7118 §4.1: the client must offer the subprotocol "sip".
		status, text = http.StatusBadRequest, "the WebSocket subprotocol must be sip"
	}
	if status != 0 {
		l.metrics.drop(k, dropHandshake)
		w.Header().Set("Sec-WebSocket-Version", "13")
		http.Error(w, text, status)
		return
	}
	remote, _ := netip.ParseAddrPort(r.RemoteAddr)
	s, err := l.admit(k, k.String()+":http", unmap(remote))
	if err != nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many connections", http.StatusServiceUnavailable)
		return
	}
	if !l.hold() {
		l.dismiss(s)
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
		return
	}
	defer l.wg.Done()
	c, early, err := hijack(w, ws.Accept(r.Header.Get("Sec-WebSocket-Key")))
	if err != nil {
		l.metrics.drop(k, dropHandshake)
		l.log.Debug("no WebSocket handshake", "peer", r.RemoteAddr, "err", err)
		l.dismiss(s)
		return
	}
	l.names.noteHTTP(addrPort(c.LocalAddr()).Port())
	s.proto.(*webSocket).buf = early
	s.begin(c)
}

// hold keeps Serve from ending until wg.Done; false if it is about to.
func (l *Layer) hold() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running || l.closing {
		return false
	}
	l.wg.Add(1)
	return true
}

// greetWithin is how long a client may take to take our answer.
const greetWithin = 10 * time.Second

// hijack takes the connection over from the HTTP server and answers the
// request. early is what the client has sent since.
func hijack(w http.ResponseWriter, accept string) (c *sock, early []byte, err error) {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("transport: taking over from HTTP: %w", err)
	}
	defer func() {
		if err != nil {
			_ = nc.Close()
		}
	}()
	below := nc
	t, secure := nc.(*tls.Conn)
	if secure {
		below = t.NetConn()
	}
	switch b := below.(type) {
	case *sock:
		c = b
	case *net.TCPConn:
		if c, err = newSock(b); err != nil {
			return nil, nil, err
		}
	}
	if c == nil || secure && below != net.Conn(c) {
		return nil, nil, fmt.Errorf("transport: a WebSocket over %T, not a transport.Listener", below)
	}
	_ = nc.SetDeadline(time.Now().Add(greetWithin))
	_, err = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "+accept+"\r\nSec-WebSocket-Protocol: sip\r\n\r\n")
	early, _ = rw.Reader.Peek(rw.Reader.Buffered())
	if secure {
		c.secured(t)
	}
	return c, bytes.Clone(early), err
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

// webSocket is the server's side of RFC 6455 without extensions, and SIP in it
// (RFC 7118). It holds memory only for a message that is not complete.
type webSocket struct {
	buf  []byte // of an incomplete frame, from its first byte
	msg  []byte // of a message whose last fragment has not come
	more bool   // there is such a message
	code uint16 // why we close; 0 is ws.Normal
}

// take cuts what came into frames.
func (p *webSocket) take(s *stream, data []byte) error {
	held := len(p.buf) > 0
	if held {
		p.buf = append(p.buf, data...)
		data = p.buf
	}
	limit := messageLimit(s.limits().SIP)
	for len(data) > 0 && s.state.Load() < ending {
		f, n, err := ws.Parse(data, limit-len(p.msg))
		if err == nil && n > 0 {
			data = data[n:]
			err = p.frameIn(s, f)
		}
		if err != nil {
			p.refuse(s, err)
			return nil
		}
		if n == 0 {
			break
		}
	}
	switch {
	case len(data) == 0:
		p.buf = nil
	case held:
		p.buf = append(p.buf[:0], data...)
	default:
		p.buf = bytes.Clone(data)
	}
	s.active(len(p.buf) > 0 || p.more)
	return nil
}

// frameIn takes one frame. The payload is only lent.
func (p *webSocket) frameIn(s *stream, f ws.Frame) error {
	switch f.Op {
	case ws.Ping:
		s.l.metrics.keepalives[s.k].Inc()
		_ = s.enqueue(ws.Pong, f.Payload)
		return nil
	case ws.Pong:
		return nil
	case ws.Close:
		// RFC 6455 §7.1.1: we answer, and close first.
		s.finish("closed by the peer", fmt.Errorf("%w: closed by the peer", io.EOF))
		return nil
	}
	if p.more == (f.Op != ws.Continuation) {
		return &ws.Error{Code: ws.Protocol, Text: "fragments of two messages are mixed"} // §5.4
	}
	if f.Fin && !p.more {
		return p.message(s, bytes.Clone(f.Payload))
	}
	p.msg = append(p.msg, f.Payload...)
	if p.more = !f.Fin; p.more {
		return nil
	}
	whole := p.msg
	p.msg = nil
	return p.message(s, whole)
}

// message takes one WebSocket message: a keep-alive (RFC 7118 §6) or SIP. RFC
// 7118 §5: each message is one, text or binary; a text that is not UTF-8 is
// left to the SIP parser, where RFC 6455 §8.1 would have us close.
func (p *webSocket) message(s *stream, b []byte) error {
	if len(bytes.Trim(b, "\r\n")) == 0 {
		if bytes.Contains(b, []byte(ping)) {
			s.pong(1)
		}
		return nil
	}
	if !tokenStart(b[0]) {
		s.l.metrics.malformed[s.k].Inc()
		s.drop(dropGarbage)
		s.finish("not SIP", ErrGarbage)
		return nil
	}
	s.message(b)
	return nil
}

// refuse closes the connection of a peer that breaks the protocol.
func (p *webSocket) refuse(s *stream, err error) {
	var bad *ws.Error
	if errors.As(err, &bad) {
		p.code = bad.Code
	}
	why := dropGarbage
	if p.code == ws.TooBig {
		why = dropOversize
	}
	s.drop(why)
	s.finish(err.Error(), fmt.Errorf("%w: %w", ErrGarbage, err))
}

// frame appends a message as text if it is UTF-8, else as binary (RFC 7118
// §4.2), or a control frame.
func (p *webSocket) frame(to []byte, op byte, b []byte) []byte {
	if op == 0 {
		if op = ws.Text; !utf8.Valid(b) {
			op = ws.Binary
		}
	}
	return ws.Append(to, op, b)
}

// goodbye appends a close frame; the reader takes the peer's.
func (p *webSocket) goodbye(to []byte, reason string) []byte {
	return ws.AppendClose(to, cmp.Or(p.code, ws.Normal), reason)
}
