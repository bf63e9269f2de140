package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"time"

	"connectrpc.com/connect"
	"github.com/rogpeppe/go-internal/testscript"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
)

// pages is the key under which a script keeps who has signed in over HTTP.
type pages struct{}

// visit signs in over HTTP, or with ! must not be let in: visit USER PASSWORD DEVICE.
func visit(ts *testscript.TestScript, neg bool, args []string) {
	authority, err := os.ReadFile(ts.MkAbs("data/tls/ca.pem"))
	ts.Check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	door := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	ts.Defer(door.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := parley.SignIn(ctx, "https://127.0.0.1:"+ts.Getenv("P3"), args[0], args[1],
		parley.WithHTTPClient(&http.Client{Transport: door}), parley.WithDevice(args[2], "desktop"))
	if neg {
		if err == nil {
			ts.Fatalf("%s is signed in", args[0])
		}
		return
	}
	ts.Check(err)
	ts.Value(pages{}).(map[string]*parley.Client)[args[0]] = c
}

// onPage is what somebody does who has signed in: page USER leave, page USER send TO FILE, page USER retract (what was sent last).
func onPage(ts *testscript.TestScript, _ bool, args []string) {
	c := ts.Value(pages{}).(map[string]*parley.Client)[args[0]]
	if c == nil {
		ts.Fatalf("%s has not signed in", args[0])
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	switch args[1] {
	case "leave":
		ts.Check(c.SignOut(ctx))
	case "send":
		content, err := os.ReadFile(ts.MkAbs(args[3]))
		ts.Check(err)
		f, err := c.Upload(ctx, args[2], args[3], bytes.NewReader(content), int64(len(content)))
		ts.Check(err)
		m, err := c.Send(ctx, &v1.SendRequest{Conversation: args[2], Text: "have a look", File: f.Id})
		ts.Check(err)
		ts.Setenv("MESSAGE", m.Id)
	case "retract":
		_, err := c.Messages.Retract(ctx, connect.NewRequest(&v1.RetractRequest{Id: ts.Getenv("MESSAGE")}))
		ts.Check(err)
	default:
		ts.Fatalf("nobody can %s", args[1])
	}
}
