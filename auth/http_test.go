package auth

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// askHTTP authenticates one request over HTTP and waits for the answer.
func (r *rig) askHTTP(q HTTPRequest, src Source) Result {
	r.t.Helper()
	got := make(chan Result, 1)
	r.AuthenticateHTTP(q, src, func(x Result) { got <- x })
	select {
	case x := <-got:
		return x
	case <-time.After(time.Minute):
		r.t.Fatal("no answer")
		return Result{}
	}
}

func TestHTTP(t *testing.T) {
	r := newRig(t, nil)
	src := Source{Kind: "http", Addr: netip.MustParseAddrPort("192.0.2.7:41234"), Conn: 7}
	q := HTTPRequest{Method: "POST", URI: "/files/rcs", From: "sip:" + bob}
	challenge := func() string {
		t.Helper()
		x := r.askHTTP(HTTPRequest{Method: q.Method, URI: q.URI, From: q.From}, src)
		if x.Status != 401 || len(x.Challenges) != 1 || !strings.Contains(x.Challenges[0], `realm="example.com"`) {
			t.Fatalf("%+v", x)
		}
		return x.Challenges[0]
	}
	signed := func(method, uri, password string) HTTPRequest {
		return HTTPRequest{Method: q.Method, URI: q.URI, From: q.From,
			Authorization: []string{answer(t, challenge(), request{method: method, uri: uri}, "bob", password, 1)}}
	}
	right := signed("POST", "/files/rcs", "builder")
	if x := r.askHTTP(right, src); x.Status != 0 || x.Identity.AOR != bob || !x.Digest {
		t.Fatalf("%+v", x)
	}
	if x := r.askHTTP(right, src); x.Status != 401 {
		t.Fatalf("the same answer again: %+v", x)
	}
	if n := len(r.Conns(bob)); n != 0 {
		t.Fatalf("%d connections of SIP are trusted", n)
	}
	for what, q := range map[string]HTTPRequest{
		"wrong password":  signed("POST", "/files/rcs", "wrong"),
		"another method":  signed("PUT", "/files/rcs", "builder"),
		"no credentials":  {Method: "POST", URI: "/files/rcs", From: "nonsense\x00"},
		"another account": {Method: "POST", URI: "/files/rcs", Authorization: []string{`Basic Ym9iOmJ1aWxkZXI=`}},
	} {
		if x := r.askHTTP(q, src); x.Status != 401 {
			t.Errorf("%s: %+v", what, x)
		}
	}
	for what, q := range map[string]HTTPRequest{
		"another path": signed("POST", "/files/other", "builder"),
		"auth-int":     {Method: "POST", URI: "/files/rcs", Authorization: []string{strings.Replace(signed("POST", "/files/rcs", "builder").Authorization[0], "qop=auth", "qop=auth-int", 1)}},
	} {
		if x := r.askHTTP(q, src); x.Status != 400 {
			t.Errorf("%s: %+v", what, x)
		}
	}
	q.From = "sip:somebody@other.example"
	if x := r.askHTTP(q, src); x.Status != 401 || !strings.Contains(x.Challenges[0], `realm="other.example"`) {
		t.Fatalf("%+v", x)
	}
}
