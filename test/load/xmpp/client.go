// Package xmpp is an XMPP client for a tool that plays many of them at once, to measure servers: plain TCP, SASL, a
// resource, presence and messages, and nothing else. It costs little: no stanza is parsed further than it is needed.
package xmpp

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A Client is one user at one resource.
type Client struct {
	Domain, User, Password string
	Received               func(body []byte)                // a message came; the body, with entities as they are, is not to be kept
	Problem                func(format string, args ...any) // what should not happen

	stream  *stream
	readers sync.WaitGroup
	gone    atomic.Bool
	leaving atomic.Bool // we close it

	mu      sync.Mutex // guards what follows; stanzas are written under it
	conn    net.Conn
	out     []byte
	last    int                   // number of the last IQ
	pending map[string]func(bool) // IQs that wait for an answer, by id
}

// dialTimeout is for all of a sign-in.
const dialTimeout = 60 * time.Second

// SignIn connects, authenticates, binds a resource and becomes available: when it returns nil, messages to the user's bare
// address come here.
func (c *Client) SignIn(addr string) error {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(dialTimeout))
	c.mu.Lock()
	c.conn, c.pending = conn, map[string]func(bool){}
	c.mu.Unlock()
	c.stream = newStream(conn)
	if err := c.negotiate(); err != nil {
		_ = conn.Close()
		c.gone.Store(true)
		return fmt.Errorf("xmpp: %s signing in: %w", c.User, err)
	}
	_ = conn.SetDeadline(time.Time{})
	c.readers.Go(c.read)
	// The server handles what comes over a stream in order: with the answer the presence has been seen.
	there := make(chan bool, 1)
	if err := c.write("<presence/>"); err != nil {
		return err
	}
	c.Ping(func(ok bool) { there <- ok })
	limit := time.NewTimer(dialTimeout)
	defer limit.Stop()
	select {
	case ok := <-there:
		if !ok {
			return fmt.Errorf("xmpp: %s signing in: the connection is gone", c.User)
		}
		return nil
	case <-limit.C:
		return fmt.Errorf("xmpp: %s signing in: no answer within %v", c.User, dialTimeout)
	}
}

// negotiate does all up to the resource.
func (c *Client) negotiate() error {
	features, err := c.open()
	if err != nil {
		return err
	}
	if err := c.authenticate(features); err != nil {
		return err
	}
	if features, err = c.open(); err != nil {
		return err
	}
	if err := c.ask("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>load</resource></bind></iq>"); err != nil {
		return err
	}
	if _, session, found := bytes.Cut(features, []byte("<session ")); found && !bytes.Contains(session, []byte("<optional/>")) {
		return c.ask("<iq type='set' id='session'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>")
	}
	return nil
}

// open begins a stream and reads the server's features.
func (c *Client) open() (features []byte, err error) {
	if err := c.write("<?xml version='1.0'?><stream:stream to='" + c.Domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"); err != nil {
		return nil, err
	}
	if err := c.stream.header(); err != nil {
		return nil, err
	}
	features, err = c.stream.next()
	if err == nil && !bytes.HasPrefix(features, []byte("<stream:features")) {
		err = fmt.Errorf("xmpp: no features: %s", features)
	}
	return bytes.Clone(features), err
}

// ask sends an IQ and reads its answer, before the reader runs.
func (c *Client) ask(iq string) error {
	if err := c.write(iq); err != nil {
		return err
	}
	for {
		stanza, err := c.stream.next()
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(stanza, []byte("<iq")) {
			continue
		}
		if string(attribute(tag(stanza), "type")) != "result" {
			return fmt.Errorf("xmpp: no result: %s", stanza)
		}
		return nil
	}
}

func (c *Client) write(text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.conn.Write([]byte(text))
	return err
}

// Send sends a chat message to a user of the same domain. The body has no characters that XML would want escaped.
func (c *Client) Send(user string, n int, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := append(c.out[:0], "<message type='chat' to='"...)
	b = append(append(append(b, user...), '@'), c.Domain...)
	b = strconv.AppendInt(append(b, "' id='"...), int64(n), 10)
	b = append(append(append(b, "'><body>"...), body...), "</body></message>"...)
	c.out = b
	_, err := c.conn.Write(b)
	return err
}

// Ping asks the server for an answer; done tells whether one came, from another goroutine or before Ping returns.
func (c *Client) Ping(done func(ok bool)) {
	c.mu.Lock()
	if c.gone.Load() {
		c.mu.Unlock()
		done(false)
		return
	}
	c.last++
	id := "p" + strconv.Itoa(c.last)
	c.pending[id] = done
	_, err := fmt.Fprintf(c.conn, "<iq type='get' to='%s' id='%s'><ping xmlns='urn:xmpp:ping'/></iq>", c.Domain, id)
	if err != nil {
		delete(c.pending, id)
	}
	c.mu.Unlock()
	if err != nil {
		done(false)
	}
}

// Gone tells that there is no connection any more.
func (c *Client) Gone() bool { return c.gone.Load() }

// Close ends the stream and waits for the reader.
func (c *Client) Close() {
	c.leaving.Store(true)
	c.mu.Lock()
	conn := c.conn
	if conn != nil && !c.gone.Load() {
		_, _ = conn.Write([]byte("</stream:stream>")) // it may be gone
	}
	c.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
	c.readers.Wait()
}

// read takes what the server sends until the stream ends.
func (c *Client) read() {
	for {
		stanza, err := c.stream.next()
		if err == nil {
			c.take(stanza)
			continue
		}
		if !c.leaving.Load() {
			c.Problem("connection lost: %v", err)
		}
		c.mu.Lock()
		c.gone.Store(true)
		waiting := c.pending
		c.pending = nil
		_ = c.conn.Close()
		c.mu.Unlock()
		for _, done := range waiting {
			done(false)
		}
		return
	}
}

func (c *Client) take(stanza []byte) {
	switch {
	case bytes.HasPrefix(stanza, []byte("<message")):
		head := tag(stanza)
		if bytes.Equal(attribute(head, "type"), []byte("error")) {
			c.Problem("a message was refused: %s", stanza[len(head):])
			return
		}
		if body := content(stanza, "body"); body != nil {
			c.Received(body)
		}
	case bytes.HasPrefix(stanza, []byte("<iq")):
		c.takeIQ(stanza)
	case bytes.HasPrefix(stanza, []byte("<stream:error")):
		c.Problem("the server ends the stream: %s", stanza)
	}
}

func (c *Client) takeIQ(stanza []byte) {
	head := tag(stanza)
	id, kind := string(attribute(head, "id")), string(attribute(head, "type"))
	if kind == "get" || kind == "set" { // the server wants to know whether we are there, or tells of its roster
		if err := c.write("<iq type='result' id='" + id + "'/>"); err != nil {
			return // the reader notices
		}
		return
	}
	c.mu.Lock()
	done := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if done != nil {
		done(true) // an error is an answer too
	}
}
