package route

import (
	"strings"
	"testing"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/wire/sip"
)

func benchRequest(b *testing.B, method string) *sip.Message {
	b.Helper()
	raw := request(method, "alice", "sip:bob@example.com", "i", "User-Agent: bench", "Supported: path, outbound, gruu",
		"Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, MESSAGE, INFO", "Content-Type: application/sdp")
	raw = strings.ReplaceAll(strings.TrimSuffix(raw, "\n"), "\n", "\r\n") + "Content-Length: 200\r\n\r\n" + strings.Repeat("x", 200)
	m, err := sip.Parse([]byte(raw))
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// BenchmarkDraft is the copy a branch sends, with two Record-Route values
// (INVITE) or none (MESSAGE in a dialog), rendered.
func BenchmarkDraft(b *testing.B) {
	for _, method := range []string{sip.INVITE, sip.MESSAGE} {
		b.Run(method, func(b *testing.B) {
			r := newRig(b)
			m := benchRequest(b, method)
			p := r.phone("bob")
			q := NewRequest(m, nil, r.phone("alice").flow, nil)
			q.Identity = Identity{AOR: "alice@example.com", Name: "Alice"}
			f := &fork{p: r.proxy, r: q, o: Options{RecordRoute: method == sip.INVITE}, invite: method == sip.INVITE}
			f.timer = newSessionTimer(m, 1800, 90)
			br := &branch{fork: f, target: Target{URI: "sip:bob@198.51.100.1:5060;transport=tcp", Hop: hop(p)}, breadth: 60}
			b.ReportAllocs()
			for b.Loop() {
				r.proxy.draft(f, br, p.flow).Bytes()
			}
		})
	}
}

// BenchmarkResponse is the way back of a 200.
func BenchmarkResponse(b *testing.B) {
	r := newRig(b)
	m := benchRequest(b, sip.INVITE)
	d := sip.NewResponse(m, 200, "").Prepend(sip.HVia, "SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bKx").SetToTag("t").Body("application/sdp", m.Body())
	resp, err := d.Message()
	if err != nil {
		b.Fatal(err)
	}
	f := &fork{p: r.proxy, invite: true, timer: newSessionTimer(m, 1800, 90)}
	b.ReportAllocs()
	for b.Loop() {
		f.response(resp).Bytes()
	}
}

// BenchmarkChain is a request's way through all steps to a handler.
func BenchmarkChain(b *testing.B) {
	r := newRig(b)
	m := benchRequest(b, sip.MESSAGE)
	got := 0
	r.mux.Handle(sip.MESSAGE, HandlerFunc(func(*Request) { got++ }))
	// Merged needs a transaction; it is not for MESSAGE anyway.
	chain := make([]Step, 0, len(r.core.chain))
	for _, s := range r.core.chain {
		if s.Name != "merged" {
			chain = append(chain, s)
		}
	}
	tx := &transaction.Server{}
	b.ReportAllocs()
	for b.Loop() {
		NewRequest(m, tx, r.phone("alice").flow, chain).Next()
	}
	if got == 0 {
		b.Fatal("nothing reached the handler")
	}
}

// BenchmarkToken makes and verifies a flow token.
func BenchmarkToken(b *testing.B) {
	r := newRig(b)
	t := tokenOf(r.phone("alice").flow)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeToken(r.key, t.encode(r.key, "call"), "call"); err != nil {
			b.Fatal(err)
		}
	}
}
