// Package parley is the Go SDK: a client of the server's API.
package parley

import (
	"context"
	"net"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"github.com/parley-im/parley/api/parley/v1/parleyv1connect"
)

// Client calls one server. Its parts are safe for concurrent use.
type Client struct {
	Users    parleyv1connect.UserServiceClient
	People   parleyv1connect.PeopleServiceClient
	Contacts parleyv1connect.ContactServiceClient
	Presence parleyv1connect.PresenceServiceClient
	Archive  parleyv1connect.ArchiveServiceClient
	Status   parleyv1connect.StatusServiceClient
}

// Dial makes a client for an address: "unix:" and the path of the socket in the data folder, or the URL of the API.
// It connects when it is first used.
func Dial(address string) *Client {
	hc, url := http.DefaultClient, address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		url = "http://parley"
		hc = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}}
	}
	return &Client{
		Users:    parleyv1connect.NewUserServiceClient(hc, url),
		People:   parleyv1connect.NewPeopleServiceClient(hc, url),
		Contacts: parleyv1connect.NewContactServiceClient(hc, url),
		Presence: parleyv1connect.NewPresenceServiceClient(hc, url),
		Archive:  parleyv1connect.NewArchiveServiceClient(hc, url),
		Status:   parleyv1connect.NewStatusServiceClient(hc, url),
	}
}

// Reason is the sentence of an error that the server made for people; other errors are returned as text.
func Reason(err error) string {
	if e, ok := err.(*connect.Error); ok { //nolint:errorlint // errors of clients are not wrapped
		return e.Message()
	}
	return err.Error()
}
