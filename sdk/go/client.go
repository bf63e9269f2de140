// Package parley is the Go SDK: a client of the server's API. Administrators dial the socket in the data folder; programs that
// speak for a person sign in, listen to what happens, and say things:
//
//	c, err := parley.SignIn(ctx, "https://chat.example.com", "bot@example.com", password)
//	err = c.Listen(ctx, parley.Handlers{Message: func(m *v1.Message) { … }})
package parley

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/api/parley/v1/parleyv1connect"
)

// Client calls one server. Its parts are the services of the API; they are safe for concurrent use.
type Client struct {
	Users         parleyv1connect.UserServiceClient
	People        parleyv1connect.PeopleServiceClient
	Contacts      parleyv1connect.ContactServiceClient
	Presence      parleyv1connect.PresenceServiceClient
	Archive       parleyv1connect.ArchiveServiceClient
	Status        parleyv1connect.StatusServiceClient
	Sessions      parleyv1connect.SessionServiceClient
	Devices       parleyv1connect.DeviceServiceClient
	Settings      parleyv1connect.SettingsServiceClient
	Messages      parleyv1connect.MessageServiceClient
	Conversations parleyv1connect.ConversationServiceClient
	Events        parleyv1connect.EventServiceClient
	Files         parleyv1connect.FileServiceClient

	url  string
	http *http.Client
	me   *v1.GetSessionResponse // after SignIn or Resume
	key  string                 // token
}

// Option changes how a client connects.
type Option func(*options)

type options struct {
	http  *http.Client
	token string
	kind  string
	label string
}

// WithHTTPClient uses hc, for example one that trusts the server's own authority. Its Timeout must be 0, because events come
// for as long as one listens.
func WithHTTPClient(hc *http.Client) Option { return func(o *options) { o.http = hc } }

// WithToken makes all calls in the session of a token that SignIn gave.
func WithToken(token string) Option { return func(o *options) { o.token = token } }

// WithDevice names the session that SignIn begins, for the person's list of devices ("build bot"), and its kind: desktop, phone
// or tablet.
func WithDevice(label, kind string) Option {
	return func(o *options) { o.label, o.kind = label, kind }
}

// Dial makes a client for an address: "unix:" and the path of the socket in the data folder, or the URL of the API.
// It connects when it is first used.
func Dial(address string, opts ...Option) *Client {
	var o options
	for _, f := range opts {
		f(&o)
	}
	hc, url := &http.Client{}, strings.TrimSuffix(address, "/")
	if o.http != nil {
		*hc = *o.http
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		url = "http://parley"
		hc.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}
	}
	if o.token != "" {
		hc.Transport = bearer{o.token, hc.Transport}
	}
	return &Client{
		Users:         parleyv1connect.NewUserServiceClient(hc, url),
		People:        parleyv1connect.NewPeopleServiceClient(hc, url),
		Contacts:      parleyv1connect.NewContactServiceClient(hc, url),
		Presence:      parleyv1connect.NewPresenceServiceClient(hc, url),
		Archive:       parleyv1connect.NewArchiveServiceClient(hc, url),
		Status:        parleyv1connect.NewStatusServiceClient(hc, url),
		Sessions:      parleyv1connect.NewSessionServiceClient(hc, url),
		Devices:       parleyv1connect.NewDeviceServiceClient(hc, url),
		Settings:      parleyv1connect.NewSettingsServiceClient(hc, url),
		Messages:      parleyv1connect.NewMessageServiceClient(hc, url),
		Conversations: parleyv1connect.NewConversationServiceClient(hc, url),
		Events:        parleyv1connect.NewEventServiceClient(hc, url),
		Files:         parleyv1connect.NewFileServiceClient(hc, url),
		url:           url, http: hc, key: o.token,
	}
}

// SignIn begins a session of a person at a server. The error's code is unauthenticated when address or password are wrong.
func SignIn(ctx context.Context, url, address, password string, opts ...Option) (*Client, error) {
	o := options{label: "program", kind: "desktop"}
	for _, f := range opts {
		f(&o)
	}
	req := &v1.SignInRequest{Address: address, Password: password, Device: o.label, Kind: o.kind}
	resp, err := Dial(url, opts...).Sessions.SignIn(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	c := Dial(url, append(opts, WithToken(resp.Msg.Token))...)
	c.me = resp.Msg.Session
	return c, nil
}

// Resume goes on in the session of a token. The error's code is unauthenticated when the session has ended.
func Resume(ctx context.Context, url, token string, opts ...Option) (*Client, error) {
	c := Dial(url, append(opts, WithToken(token))...)
	resp, err := c.Sessions.GetSession(ctx, connect.NewRequest(&v1.GetSessionRequest{}))
	if err != nil {
		return nil, err
	}
	c.me = resp.Msg
	return c, nil
}

// Token is what Resume takes; keep it like a password.
func (c *Client) Token() string { return c.key }

// Session is who signed in; nil for a client made by Dial.
func (c *Client) Session() *v1.GetSessionResponse { return c.me }

// Address is that of who signed in, "" for a client made by Dial.
func (c *Client) Address() string { return c.me.GetAddress() }

// SignOut ends the session.
func (c *Client) SignOut(ctx context.Context) error {
	_, err := c.Sessions.SignOut(ctx, connect.NewRequest(&v1.SignOutRequest{}))
	return err
}

// bearer adds a session's token to all requests (RFC 6750 §2.1).
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	next := b.next
	if next == nil {
		next = http.DefaultTransport
	}
	return next.RoundTrip(r)
}

// Reason is the sentence of an error that the server made for people; other errors are returned as text.
func Reason(err error) string {
	if e, ok := err.(*connect.Error); ok { //nolint:errorlint // errors of clients are not wrapped
		return e.Message()
	}
	return err.Error()
}

// passing tells whether it is worth trying again: the server could not be reached, or said that it cannot now. Whoever asks has seen
// that his own context has not ended.
func passing(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeAborted:
		return true
	case connect.CodeResourceExhausted: // too often is over in a moment, a request that is too large stays so
		var e *connect.Error
		return errors.As(err, &e) && e.Meta().Get("Retry-After") != ""
	case connect.CodeUnknown, connect.CodeInternal, connect.CodeDeadlineExceeded, connect.CodeDataLoss, connect.CodeCanceled:
		var wire *connect.Error
		return !errors.As(err, &wire) || !connect.IsWireError(err) // a cut connection, not an answer
	}
	return false
}

// Bounds of the pause between two tries.
const (
	firstPause = 500 * time.Millisecond
	longPause  = 30 * time.Second
)
