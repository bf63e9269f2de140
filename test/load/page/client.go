// Package page is what a web page does to the server, for a tool that plays many of them at once: it signs in over HTTP, keeps a
// stream of events open, and sends messages. It is the Go SDK as any program uses it.
package page

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
)

// A Client is one person with one page open.
type Client struct {
	Address, Password string
	Received          func(text string)                // a message of somebody else came
	Problem           func(format string, args ...any) // what should not happen

	c     *parley.Client
	http  *http.Transport
	stop  context.CancelFunc
	tasks sync.WaitGroup
	gone  atomic.Bool
}

// dialTimeout is for all of a sign-in.
const dialTimeout = 2 * time.Minute

// SignIn begins a session at a server, "http://host:port", and opens its stream: when it returns nil, messages come here.
func (c *Client) SignIn(url string) error {
	c.http = &http.Transport{
		MaxIdleConnsPerHost: 2, DisableCompression: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a server on loopback with an authority of its own
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	var err error
	c.c, err = parley.SignIn(ctx, url, c.Address, c.Password, parley.WithHTTPClient(&http.Client{Transport: c.http}))
	if err != nil {
		c.gone.Store(true)
		return err
	}
	ready := make(chan struct{})
	var once sync.Once
	listening, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.tasks.Go(func() {
		err := c.c.Listen(listening, parley.Handlers{
			Ready: func(*v1.Ready) { once.Do(func() { close(ready) }) },
			Reset: func(*v1.Reset) { c.Problem("%s: the stream was reset", c.Address) },
			Message: func(m *v1.Message) {
				if m.From != c.c.Address() {
					c.Received(m.Text)
				}
			},
		})
		if listening.Err() == nil {
			c.gone.Store(true)
			c.Problem("%s: the stream ended: %v", c.Address, err)
		}
	})
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		c.Close()
		return errors.New("page: the stream was not ready in time")
	}
}

// Send says a text and calls done with what became of it. id makes it recognisable.
func (c *Client) Send(to, text, id string, done func(error)) {
	c.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 32*time.Second) // as a SIP client waits (RFC 3261 §17.1.2.2)
		defer cancel()
		_, err := c.c.Messages.Send(ctx, connect.NewRequest(&v1.SendRequest{Conversation: to, Text: text, RequestId: id}))
		done(err)
	})
}

// Ping asks whether the session is still there.
func (c *Client) Ping(done func(ok bool)) {
	c.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		defer cancel()
		_, err := c.c.Sessions.GetSession(ctx, connect.NewRequest(&v1.GetSessionRequest{}))
		done(err == nil)
	})
}

// Gone tells whether the session or its stream has ended.
func (c *Client) Gone() bool { return c.gone.Load() }

// Close leaves and waits until all has ended.
func (c *Client) Close() {
	c.gone.Store(true)
	if c.stop != nil {
		c.stop()
	}
	c.tasks.Wait()
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}
