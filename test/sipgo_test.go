package test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	peer "github.com/emiago/sipgo/sip"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// TestSipgo lets sipgo, which shares no code with ours, sign in, send and get messages, and call and be called.
func TestSipgo(t *testing.T) {
	t.Parallel()
	peer.SetDefaultLogger(slog.New(slog.DiscardHandler))
	for _, kind := range []transport.Kind{transport.UDP, transport.TCP} {
		t.Run(kind.String(), func(t *testing.T) {
			s := Start(t)
			bob := s.SignedIn("bob", transport.TCP)
			ctx, cancel := context.WithTimeout(t.Context(), 2*Patience)
			defer cancel()

			ua, err := sipgo.NewUA(sipgo.WithUserAgent("alice"), sipgo.WithUserAgentHostname(Domain))
			if err != nil {
				t.Fatal(err)
			}
			defer ua.Close()
			local := freeAddr(t, kind.String())
			_, port, err := net.SplitHostPort(local)
			if err != nil {
				t.Fatal(err)
			}
			options := []sipgo.ClientOption{sipgo.WithClientHostname("127.0.0.1")}
			if kind == transport.UDP {
				options = append(options, sipgo.WithClientConnectionAddr(local))
			}
			client, err := sipgo.NewClient(ua, options...)
			if err != nil {
				t.Fatal(err)
			}
			srv, err := sipgo.NewServer(ua)
			if err != nil {
				t.Fatal(err)
			}
			heard := make(chan string, 10)
			srv.OnMessage(func(req *peer.Request, tx peer.ServerTransaction) {
				heard <- string(req.Body())
				if err := tx.Respond(peer.NewResponseFromRequest(req, 200, "OK", nil)); err != nil {
					t.Error(err)
				}
			})
			byes := make(chan struct{}, 1)
			srv.OnInvite(func(req *peer.Request, tx peer.ServerTransaction) {
				resp := peer.NewResponseFromRequest(req, 200, "OK", []byte(SDP("audio 4000 RTP/AVP 0")))
				resp.AppendHeader(peer.NewHeader("Content-Type", "application/sdp"))
				resp.AppendHeader(peer.NewHeader("Contact", "<sip:alice@"+local+";transport="+kind.String()+">"))
				if err := tx.Respond(resp); err != nil {
					t.Error(err)
				}
			})
			srv.OnAck(func(*peer.Request, peer.ServerTransaction) {})
			srv.OnBye(func(req *peer.Request, tx peer.ServerTransaction) {
				if err := tx.Respond(peer.NewResponseFromRequest(req, 200, "OK", nil)); err != nil {
					t.Error(err)
				}
				byes <- struct{}{}
			})
			served := make(chan error, 1)
			ready := make(chan struct{})
			//lint:ignore SA1029 the key is sipgo's
			listening := context.WithValue(ctx, sipgo.ListenReadyCtxKey, sipgo.ListenReadyCtxValue(ready))
			go func() { served <- srv.ListenAndServe(listening, kind.String(), local) }()
			<-ready
			do := func(req *peer.Request) *peer.Response {
				t.Helper()
				req.SetTransport(map[transport.Kind]string{transport.UDP: "UDP", transport.TCP: "TCP"}[kind])
				req.SetDestination(s.Addrs[kind])
				resp, err := client.Do(ctx, req)
				if err == nil && (resp.StatusCode == 401 || resp.StatusCode == 407) {
					resp, err = client.DoDigestAuth(ctx, req, resp, sipgo.DigestAuth{Username: "alice", Password: Password("alice")})
				}
				if err != nil {
					t.Fatalf("%s: %v", req.Method, err)
				}
				return resp
			}

			register := peer.NewRequest(peer.REGISTER, peer.Uri{Scheme: "sip", Host: Domain})
			register.AppendHeader(peer.NewHeader("Contact", fmt.Sprintf("<sip:alice@127.0.0.1:%s;transport=%v>", port, kind)))
			register.AppendHeader(peer.NewHeader("To", "<sip:alice@"+Domain+">"))
			if resp := do(register); resp.StatusCode != 200 {
				t.Fatalf("REGISTER: %s", resp.StartLine())
			}

			message := peer.NewRequest(peer.MESSAGE, peer.Uri{Scheme: "sip", User: "bob", Host: Domain})
			message.AppendHeader(peer.NewHeader("Content-Type", "text/plain"))
			message.SetBody([]byte("from sipgo"))
			answered := make(chan *peer.Response, 1)
			go func() { answered <- do(message) }()
			bob.Hears("from sipgo")
			if resp := <-answered; resp.StatusCode != 200 {
				t.Errorf("MESSAGE: %s", resp.StartLine())
			}
			bob.Says("alice", "to sipgo", 200)
			if text := <-heard; text != "to sipgo" {
				t.Errorf("sipgo heard %q", text)
			}

			// bob calls, and hangs up.
			caller, _ := newSipgoCall(t, bob)
			if m := bob.Do(bob.InDialog(caller, sip.BYE)); m.Status() != 200 {
				t.Errorf("BYE: %s", Line(m))
			}
			select {
			case <-byes:
			case <-ctx.Done():
				t.Error("sipgo got no BYE")
			}
			// sipgo calls; bob is busy.
			invite := peer.NewRequest(peer.INVITE, peer.Uri{Scheme: "sip", User: "bob", Host: Domain})
			invite.AppendHeader(peer.NewHeader("Contact", fmt.Sprintf("<sip:alice@127.0.0.1:%s;transport=%v>", port, kind)))
			invite.AppendHeader(peer.NewHeader("Content-Type", "application/sdp"))
			invite.SetBody([]byte(SDP("audio 4000 RTP/AVP 0")))
			go func() { answered <- do(invite) }()
			bob.Reply(bob.Expect(sip.INVITE), 486)
			if resp := <-answered; resp.StatusCode != 486 {
				t.Errorf("INVITE: %s", resp.StartLine())
			}
			s.Eventually("both calls in the log", func() bool { return len(s.Records("call.end")) == 2 })
			cancel()
			select {
			case <-served:
			case <-time.After(Patience):
				t.Error("sipgo does not stop")
			}
		})
	}
}

// newSipgoCall has a user agent of ours call alice, who answers by herself.
func newSipgoCall(t *testing.T, u *UA) (*Dialog, *sip.Message) {
	t.Helper()
	d := u.Request(sip.INVITE, "alice").Add(sip.HContact, u.Contact).Body("application/sdp", []byte(SDP("audio 4000 RTP/AVP 0")))
	ok := u.Ask(d)
	if ok.Status() != 200 {
		t.Fatalf("the call: %s", Line(ok))
	}
	req, _ := d.Message() // our own
	dlg := DialogUAC(req, ok)
	u.Write(u.InDialog(dlg, sip.ACK).Bytes())
	return dlg, ok
}
