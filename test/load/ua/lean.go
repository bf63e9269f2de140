package ua

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/parley-im/parley/wire/sip"
)

// Thousands of users in one process hold no buffers while nothing comes: a reader waits until its socket has something,
// and borrows a room then.

const roomSize = 1 << 20 // of any message that is expected

// large are limits for what a server says: the state of a long list of contacts in one body.
var large = sip.Limits{Body: roomSize}

var rooms = sync.Pool{New: func() any { return new([roomSize]byte) }}

// whenReady calls read each time when a socket has something, until the socket is closed or read says that it is over.
// read must take what there is.
func whenReady(conn net.Conn, read func(fd int, room []byte) (over error)) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return errors.New("ua: no socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var over error
	err = raw.Read(func(fd uintptr) bool {
		room := rooms.Get().(*[roomSize]byte)
		over = read(int(fd), room[:])
		rooms.Put(room)
		return over != nil // else it waits for more
	})
	if err == nil {
		err = over
	}
	return err
}

// readTCP is readStream without a buffer of its own, except for the beginning of a message whose end has not come.
func (l *Link) readTCP(take func([]byte)) error {
	var rest []byte
	return whenReady(l.Conn, func(fd int, room []byte) error {
		to := copy(room, rest)
		rest = nil
		for {
			if to == len(room) {
				return errors.New("ua: the server's message is too large")
			}
			n, err := syscall.Read(fd, room[to:])
			switch {
			case errors.Is(err, syscall.EINTR):
				continue
			case errors.Is(err, syscall.EAGAIN):
				rest = bytes.Clone(room[:to])
				return nil
			case err != nil:
				return err
			case n == 0:
				return io.EOF
			}
			drained := n < len(room)-to
			to += n
			from, err := takeAll(room[:to], take)
			if err != nil {
				return err
			}
			to = copy(room, room[from:to])
			if drained {
				rest = bytes.Clone(room[:to])
				return nil
			}
		}
	})
}

// takeAll takes the whole messages at the beginning of a stream, and tells how long they are.
func takeAll(data []byte, take func([]byte)) (int, error) {
	from := 0
	for {
		for from < len(data) && (data[from] == '\r' || data[from] == '\n') {
			from++ // keep-alives (RFC 5626 §3.5.1)
		}
		size, bad := sip.Frame(data[from:], large)
		if bad != nil {
			return from, fmt.Errorf("ua: the server's stream cannot be followed: %w", bad)
		}
		if size == 0 {
			return from, nil
		}
		take(data[from : from+size])
		from += size
	}
}

// A Socket is one UDP socket that many users share, as behind the router of an office. Users join before they send.
type Socket struct {
	link    *Link
	run     *Run
	in      reader
	mu      sync.RWMutex // guards what follows
	byUser  map[string]*Client
	byID    map[int]*Client
	closing bool
}

// receiveBuffer is room for what the server tells a few hundred users at once.
const receiveBuffer = 8 << 20

// Share opens a socket to a server and starts its reader. It is closed with Close.
func Share(run *Run, addr string) (*Socket, error) {
	l, err := Dial("udp", addr)
	if err != nil {
		return nil, err
	}
	if udp, ok := l.Conn.(*net.UDPConn); ok {
		_ = udp.SetReadBuffer(receiveBuffer) // as much as the system allows
	}
	s := &Socket{link: l, run: run, byUser: map[string]*Client{}, byID: map[int]*Client{}}
	run.Readers.Go(func() {
		err := s.read()
		s.mu.Lock()
		closing, clients := s.closing, slices.Collect(maps.Values(s.byID))
		s.mu.Unlock()
		if !closing {
			run.Problem("a socket was lost: %v", err)
		}
		for _, c := range clients {
			c.gone.Store(true)
			c.abandon()
		}
	})
	return s, nil
}

// Close ends the socket, its reader, and what its users wait for.
func (s *Socket) Close() {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.link.Close()
}

// Join lets a client use a shared socket. Clients of one socket have different users and IDs.
func (c *Client) Join(s *Socket) {
	c.link, c.in = s.link, &s.in
	c.Contact = "<sip:" + c.User + "@" + s.link.Local + ">"
	s.mu.Lock()
	s.byUser[c.User], s.byID[c.ID] = c, c
	s.mu.Unlock()
}

func (s *Socket) read() error {
	return whenReady(s.link.Conn, func(fd int, room []byte) error {
		for {
			n, err := syscall.Read(fd, room)
			switch {
			case errors.Is(err, syscall.EAGAIN):
				return nil
			case err != nil:
				continue // an interruption, or an ICMP error of an earlier send
			}
			s.take(room[:n])
		}
	})
}

// take finds whose message it is: a request is for the user of its URI, a response has the branch that the user made.
func (s *Socket) take(data []byte) {
	m := &s.in.msg
	if err := m.ParseLimits(data, large); err != nil {
		s.run.Problem("the server's message cannot be read: %v", err)
		return
	}
	var c *Client
	s.mu.RLock()
	if m.IsRequest() {
		_, user, _ := strings.Cut(m.RequestURI(), ":")
		user, _, _ = strings.Cut(user, "@")
		c = s.byUser[user]
	} else if via, err := m.TopVia(); err == nil {
		_, id, _ := strings.Cut(via.Branch(), ".")
		id, _, _ = strings.Cut(id, ".")
		n, err := strconv.Atoi(id)
		if err == nil {
			c = s.byID[n]
		}
	}
	s.mu.RUnlock()
	if c == nil {
		s.run.Problem("something came for nobody: %s %s%d", m.Method(), m.RequestURI(), m.Status())
		return
	}
	c.takeMessage(m)
}
