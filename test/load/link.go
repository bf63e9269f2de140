package main

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

// A link is one user's socket to the server. write may be called by several goroutines, read by one.
type link struct {
	kind  string
	conn  net.Conn
	in    *bufio.Reader // WebSocket: what came behind the handshake
	local string        // host:port
}

const dialTimeout = 15 * time.Second

// tlsConfig trusts any server: the tool only ever talks to one that its user has named. Sessions are not resumed, so that
// every connection pays for its handshake.
var tlsConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // see above

func dial(kind, addr string) (*link, error) {
	network := "tcp"
	if kind == "udp" {
		network = "udp"
	}
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	conn, err := d.Dial(network, addr)
	if err != nil {
		return nil, err
	}
	l := &link{kind: kind, conn: conn, local: conn.LocalAddr().String()}
	if kind == "tls" || kind == "wss" {
		_ = conn.SetDeadline(time.Now().Add(dialTimeout))
		t := tls.Client(conn, tlsConfig)
		if err := t.Handshake(); err != nil {
			_ = conn.Close()
			return nil, err
		}
		l.conn = t
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
func (l *link) upgrade(addr string) error {
	req := "GET /sip HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: cGFybGV5LWxvYWQtdG9vbA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
	if _, err := l.conn.Write([]byte(req)); err != nil {
		return err
	}
	l.in = bufio.NewReaderSize(l.conn, 4096)
	resp, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // it has none
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Protocol") != "sip" {
		return fmt.Errorf("load: no WebSocket for SIP: %s", resp.Status)
	}
	return nil
}

// via is the transport's name in Via.
func (l *link) via() string { return strings.ToUpper(l.kind) }

func (l *link) close() { _ = l.conn.Close() }

var frames = sync.Pool{New: func() any { return new([]byte) }}

func (l *link) write(b []byte) error {
	if l.kind != "wss" {
		_, err := l.conn.Write(b)
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
func (l *link) frame(op byte, b []byte) error {
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
	_, err := l.conn.Write(f)
	*p = f
	frames.Put(p)
	return err
}

// read hands each message to take, which must not keep it, until the link is closed.
func (l *link) read(take func([]byte)) error {
	switch l.kind {
	case "udp":
		return l.readDatagrams(take)
	case "wss":
		return l.readFrames(take)
	}
	return l.readStream(take)
}

func (l *link) readDatagrams(take func([]byte)) error {
	buf := make([]byte, 4096)
	for {
		n, err := l.conn.Read(buf)
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

func (l *link) readStream(take func([]byte)) error {
	buf, from, to := make([]byte, 4096), 0, 0
	for {
		n, err := l.conn.Read(buf[to:])
		to += n
		for {
			for from < to && (buf[from] == '\r' || buf[from] == '\n') {
				from++ // keep-alives (RFC 5626 §3.5.1)
			}
			size, bad := sip.Frame(buf[from:to], sip.Limits{})
			if bad != nil {
				return fmt.Errorf("load: the server's stream cannot be followed: %w", bad)
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

func (l *link) readFrames(take func([]byte)) error {
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
			return errors.New("load: the server's WebSocket frame is too large")
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
