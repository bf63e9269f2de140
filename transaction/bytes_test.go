package transaction

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// written is a draft as SendBytes takes it.
func written(body int) (b []byte, line int) {
	d := draft("NOTIFY")
	if body > 0 {
		d.Body("text/plain", []byte(strings.Repeat("x", body)))
	}
	text := d.Bytes()
	line = strings.Index(string(text), "\n") + 1
	return append(make([]byte, ViaRoom), text...), line
}

// TestSendBytes: what is written already goes out as a draft does, with the same Via, over UDP and TCP, with a loop part,
// as a large request that changes to TCP and back again.
func TestSendBytes(t *testing.T) {
	runRows(t, []row{
		{"the same as a draft", func(r *rig) {
			for i, f := range []transport.Flow{r.udp, r.tcp} {
				for _, loop := range []string{"", "loop", strings.Repeat("l", maxLoop)} {
					for _, body := range []int{0, 700} {
						b, line := written(body)
						rest := string(b[ViaRoom+line:])
						head := string(b[ViaRoom : ViaRoom+line])
						r.l.SendBytes(Hop{Flow: f, Loop: loop}, "NOTIFY", b, line, r)
						m := r.last()
						name, rport := []string{"UDP", "TCP"}[i], []string{";rport", ""}[i]
						via, err := m.TopVia()
						if err != nil {
							r.t.Fatalf("Via: %v\n%s", err, m.Bytes())
						}
						want := fmt.Sprintf("%sVia: SIP/2.0/%s 192.0.2.1:5060;branch=%s%s\r\n%s", head, name, via.Branch(), rport, rest)
						if string(m.Bytes()) != want || loop != "" && !strings.HasSuffix(via.Branch(), "."+loop) {
							r.t.Errorf("sent\n%s\nwant\n%s", m.Bytes(), want)
						}
						r.respond(f, "NOTIFY", 200)
						r.want(r.stamp()+" "+f.Listener()+" NOTIFY", r.stamp()+" up 200")
					}
				}
			}
		}},
		{"a name that is longer than the room", func(r *rig) {
			host := strings.Repeat("h", 120) + ".example.com:5060"
			b, line := written(10)
			want := string(b[ViaRoom:ViaRoom+line]) + "Via: SIP/2.0/UDP " + host + ";branch=z;rport\r\n" + string(b[ViaRoom+line:])
			q := outgoing{text: b, line: line}
			was := q.bytes("UDP", host, []byte("z"))
			if string(was) != want {
				r.t.Errorf("%s\nwant\n%s", was, want)
			}
			if got, want := string(q.again(was, "TCP", host, []byte("z"))), strings.Replace(strings.Replace(want, "/UDP", "/TCP", 1), ";rport", "", 1); got != want {
				r.t.Errorf("%s\nwant\n%s", got, want)
			}
		}},
		{"repeated as it was", func(r *rig) {
			b, line := written(0)
			r.l.SendBytes(Hop{Flow: r.udp}, "NOTIFY", b, line, r)
			first := string(r.last().Bytes())
			r.wait(600 * ms)
			if got := string(r.last().Bytes()); got != first {
				r.t.Errorf("repeated\n%s\nwas\n%s", got, first)
			}
			r.respond(r.udp, "NOTIFY", 200)
			r.want("0s udp NOTIFY", "500ms udp NOTIFY", "600ms up 200")
		}},
		{"large: TCP, and UDP when that is refused", func(r *rig) {
			const tcp = "to:tcp:198.51.100.7:5070"
			r.hangs(tcp, true)
			b, line := written(2000)
			c := r.l.SendBytes(Hop{Flow: r.udp}, "NOTIFY", b, line, r)
			over := r.last()
			r.wait(100 * ms)
			r.l.Closed(c.Hop().Flow, errors.New("connection refused"))
			back := r.last()
			r.respond(c.Hop().Flow, "NOTIFY", 200)
			r.want("0s "+tcp+" NOTIFY", "100ms udp NOTIFY", "100ms up closed "+tcp, "100ms up 200")
			if v, err := over.TopVia(); err != nil || v.Transport != "TCP" {
				r.t.Errorf("over TCP: Via %v %v", v, err)
			}
			if v, err := back.TopVia(); err != nil || v.Transport != "UDP" {
				r.t.Errorf("over UDP: Via %v %v", v, err)
			}
			if len(over.Body()) != 2000 || string(over.Body()) != string(back.Body()) || over.CallID() != back.CallID() || over.Count(sip.HVia) != 1 || back.Count(sip.HVia) != 1 {
				r.t.Errorf("over TCP\n%s\nover UDP\n%s", over.Bytes(), back.Bytes())
			}
		}},
	})
}

// stamp is the time as the log has it.
func (r *rig) stamp() string { return time.Since(r.start).String() }

// TestRest: answered transactions over UDP leave nothing but a place that absorbs what comes again; the places are used
// again after timer K, or earlier when there are too many.
func TestRest(t *testing.T) {
	runRows(t, []row{{"places", func(r *rig) {
		places := func() (n int) {
			for i := range r.l.clients.shards {
				n += len(r.l.clients.shards[i].slots)
			}
			return n
		}
		round := func(n int) {
			for range n {
				r.send(r.udp, "MESSAGE")
				r.respond(r.udp, "MESSAGE", 200)
			}
			if _, client := r.l.InFlight(); client != 0 || r.l.wheel.len() != 0 || len(r.l.clients.all()) != 0 {
				r.t.Errorf("%d transactions, %d timers, %d in the table", client, r.l.wheel.len(), len(r.l.clients.all()))
			}
			r.log = nil
		}
		round(3 * clientShards)
		if n := places(); n != 3*clientShards {
			r.t.Errorf("%d places", n)
		}
		r.wait(5 * time.Second)
		round(3 * clientShards)
		if n := places(); n != 3*clientShards {
			r.t.Errorf("%d places after timer K", n)
		}
		r.l.clients.most = 3
		round(20 * clientShards)
		if n := places(); n != 4*clientShards {
			r.t.Errorf("%d places at most 3 of which may rest, and one in use, in %d shards", n, clientShards)
		}
		late := r.response("MESSAGE", 200)
		r.l.Message(late, r.udp)
		r.want()
		r.wait(5 * time.Second)
		r.l.Message(late, r.udp)
		r.want(r.stamp() + " up stray 200")
	}}})
}
