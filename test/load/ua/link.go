package ua

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/wire/sip"
)

// A Link is one user's socket to the server. Write may be called by several goroutines, Read by one.
type Link struct {
	Kind  string
	Conn  net.Conn      // with TLS, if there is any
	Local string        // host:port
	in    *bufio.Reader // WebSocket: what came behind the handshake
}

// DialTimeout is for TCP, TLS and WebSocket each.
const DialTimeout = 15 * time.Second

// TLSConfig trusts any server: the tool only ever talks to one that its user has named. Sessions are not resumed, so that
// every connection pays for its handshake.
var TLSConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // see above

// Dial connects to addr over kind: udp, tcp, tls or wss.
func Dial(kind, addr string) (*Link, error) {
	network := "tcp"
	if kind == "udp" {
		network = "udp"
	}
	d := net.Dialer{Timeout: DialTimeout, KeepAlive: -1}
	conn, err := d.Dial(network, addr)
	if err != nil {
		return nil, err
	}
	l := &Link{Kind: kind, Conn: conn, Local: conn.LocalAddr().String()}
	if kind == "tls" || kind == "wss" {
		_ = conn.SetDeadline(time.Now().Add(DialTimeout))
		t := tls.Client(conn, TLSConfig)
		if err := t.Handshake(); err != nil {
			_ = conn.Close()
			return nil, err
		}
		l.Conn = t
	}
	if kind == "wss" {
		if err := l.upgrade(addr); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	_ = conn.SetDeadline(time.Time{})
	return l, nil
}

// upgrade does the WebSocket handshake (RFC 6455 §4.1, RFC 7118 §4).
func (l *Link) upgrade(addr string) error {
	req := "GET /sip HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: cGFybGV5LWxvYWQtdG9vbA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
	if _, err := l.Conn.Write([]byte(req)); err != nil {
		return err
	}
	l.in = bufio.NewReaderSize(l.Conn, 4096)
	resp, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // it has none
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Protocol") != "sip" {
		return fmt.Errorf("ua: no WebSocket for SIP: %s", resp.Status)
	}
	return nil
}

// via is the transport's name in Via.
func (l *Link) via() string { return strings.ToUpper(l.Kind) }

// Close ends the link, and whoever reads it.
func (l *Link) Close() { _ = l.Conn.Close() }

var frames = sync.Pool{New: func() any { return new([]byte) }}

// Write sends one message, or a keep-alive.
func (l *Link) Write(b []byte) error {
	if l.Kind != "wss" {
		_, err := l.Conn.Write(b)
		return err
	}
	return l.frame(opText, b)
}

const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	final      = 0x80
	masked     = 0x80
)

// frame writes a WebSocket frame (RFC 6455 §5.2). The mask is 0: it protects proxies, of which there is none here.
func (l *Link) frame(op byte, b []byte) error {
	p := frames.Get().(*[]byte)
	f := append((*p)[:0], final|op)
	switch {
	case len(b) < 126:
		f = append(f, masked|byte(len(b)))
	case len(b) < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, masked|126), uint16(len(b)))
	default:
		f = binary.BigEndian.AppendUint64(append(f, masked|127), uint64(len(b)))
	}
	f = append(append(f, 0, 0, 0, 0), b...)
	_, err := l.Conn.Write(f)
	*p = f
	frames.Put(p)
	return err
}

// Read hands each message to take, which must not keep it, until the link is closed.
func (l *Link) Read(take func([]byte)) error {
	switch l.Kind {
	case "udp":
		return l.readDatagrams(take)
	case "wss":
		return l.readFrames(take)
	case "tcp":
		return l.readTCP(take)
	}
	return l.readStream(take)
}

func (l *Link) readDatagrams(take func([]byte)) error {
	buf := make([]byte, 4096)
	for {
		n, err := l.Conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			continue // an ICMP error of an earlier send
		}
		if n == len(buf) {
			buf = make([]byte, 1<<16) // for the repetition of what was cut
			continue
		}
		take(buf[:n])
	}
}

func (l *Link) readStream(take func([]byte)) error {
	buf, from, to := make([]byte, 4096), 0, 0
	for {
		n, err := l.Conn.Read(buf[to:])
		to += n
		for {
			for from < to && (buf[from] == '\r' || buf[from] == '\n') {
				from++ // keep-alives (RFC 5626 §3.5.1)
			}
			size, bad := sip.Frame(buf[from:to], sip.Limits{})
			if bad != nil {
				return fmt.Errorf("ua: the server's stream cannot be followed: %w", bad)
			}
			if size == 0 {
				break
			}
			take(buf[from : from+size])
			from += size
		}
		if err != nil {
			return err
		}
		if from == to {
			from, to = 0, 0
		}
		if to == len(buf) {
			if from == 0 {
				buf = append(buf, make([]byte, len(buf))...)
			}
			to = copy(buf, buf[from:to])
			from = 0
		}
	}
}

const maxFrame = 1 << 20

func (l *Link) readFrames(take func([]byte)) error {
	var message, payload []byte
	for {
		var head [8]byte
		if _, err := io.ReadFull(l.in, head[:2]); err != nil {
			return err
		}
		op, last, size := head[0]&0x0f, head[0]&final != 0, uint64(head[1]&0x7f)
		switch size {
		case 126:
			if _, err := io.ReadFull(l.in, head[:2]); err != nil {
				return err
			}
			size = uint64(binary.BigEndian.Uint16(head[:2]))
		case 127:
			if _, err := io.ReadFull(l.in, head[:8]); err != nil {
				return err
			}
			size = binary.BigEndian.Uint64(head[:8])
		}
		if size > maxFrame {
			return errors.New("ua: the server's WebSocket frame is too large")
		}
		payload = append(payload[:0], make([]byte, size)...)
		if _, err := io.ReadFull(l.in, payload); err != nil {
			return err
		}
		switch op {
		case opContinue, opText, opBinary:
			message = append(message, payload...)
			if last {
				if len(bytes.TrimSpace(message)) > 0 {
					take(message)
				}
				message = message[:0]
			}
		case opPing:
			if err := l.frame(0xA, payload); err != nil {
				return err
			}
		case opClose:
			return io.EOF
		}
	}
}

// Reset closes the link as a machine does that was switched off and on: with RST where there is TCP.
func (l *Link) Reset() {
	conn := l.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else it closes politely
	}
	_ = conn.Close()
}
