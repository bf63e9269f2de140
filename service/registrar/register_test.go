package registrar

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// The flows of RFC 3665 §2: new registration, refresh with another contact, query, and
// the end of all.
func TestRegister(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		m := p.ok("Contact: <sip:alice@192.0.2.7>;audio;methods=\"INVITE, MESSAGE\"", "User-Agent: phone/1")
		if got := contacts(m); !slices.Equal(got, []string{`<sip:alice@192.0.2.7>;audio;methods="INVITE, MESSAGE";expires=3600`}) {
			t.Errorf("contacts: %q", got)
		}
		if d := m.Get(sip.HDate); d != time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") {
			t.Errorf("Date: %q", d)
		}
		if m.Has(sip.HRequire) || m.Has(sip.HFlowTimer) || m.HasToken(sip.HSupported, "gruu") || m.ToTag() == "" {
			t.Errorf("got %s", m.Bytes())
		}
		time.Sleep(100*time.Second + 500*time.Millisecond)
		m = p.ok("Contact: <sip:alice@192.0.2.8:5070;transport=tcp>;q=0.5;expires=600")
		want := []string{`<sip:alice@192.0.2.7>;audio;methods="INVITE, MESSAGE";expires=3500`, `<sip:alice@192.0.2.8:5070;transport=tcp>;expires=600;q=0.5`}
		if got := contacts(m); !slices.Equal(got, want) {
			t.Errorf("contacts: %q", got)
		}
		if got := contacts(p.ok()); !slices.Equal(got, want) {
			t.Errorf("query: %q", got)
		}
		m = p.ok("Contact: <sip:alice@192.0.2.7>;expires=0")
		if got := contacts(m); len(got) != 1 || !strings.Contains(got[0], "192.0.2.8") {
			t.Errorf("after one was taken back: %q", got)
		}
		if got := contacts(p.ok("Contact: *", "Expires: 0")); len(got) != 0 {
			t.Errorf("after all were taken back: %q", got)
		}
		if d := cmp.Diff([]string{"registered sip:alice@192.0.2.7", "registered sip:alice@192.0.2.8:5070;transport=tcp",
			"unregistered sip:alice@192.0.2.7", "unregistered sip:alice@192.0.2.8:5070;transport=tcp"}, r.happened()); d != "" {
			t.Error(d)
		}
		r.consistent()
	})
}

// One request each, against a user who has the binding <sip:alice@192.0.2.7:5060> with
// Call-ID A and CSeq 10.
func TestRegisterRows(t *testing.T) {
	long := strings.Repeat("x", maxContact)
	const here = "<sip:alice@192.0.2.7:5060>"
	rows := []struct {
		name   string
		rows   []string
		status int
		want   []string // Contacts of a 200
	}{
		{"refresh", []string{"Call-ID: A", "CSeq: 11 REGISTER", "Contact: " + here}, 200, []string{here + ";expires=3600"}},
		{"same CSeq", []string{"Call-ID: A", "CSeq: 10 REGISTER", "Contact: " + here}, 400, nil},
		{"lower CSeq", []string{"Call-ID: A", "CSeq: 9 REGISTER", "Contact: " + here + ";expires=0"}, 400, nil},
		{"lower CSeq, another Call-ID", []string{"Call-ID: B", "CSeq: 1 REGISTER", "Contact: " + here}, 200, []string{here + ";expires=3600"}},
		{"equal URI", []string{"Call-ID: A", "CSeq: 11 REGISTER", "Contact: <sip:%61lice@192.0.2.7:5060;x=y>"}, 200, []string{"<sip:%61lice@192.0.2.7:5060;x=y>;expires=3600"}},
		{"all or none", []string{"Call-ID: A", "CSeq: 10 REGISTER", "Contact: <sip:alice@192.0.2.9>, " + here}, 400, nil},
		{"the same twice", []string{"Call-ID: A", "CSeq: 11 REGISTER", "Contact: <sip:a@192.0.2.9>, <sip:a@192.0.2.9>;q=0.1"}, 200, []string{here + ";expires=3600", "<sip:a@192.0.2.9>;expires=3600"}},
		{"star", []string{"Call-ID: A", "CSeq: 11 REGISTER", "Contact: *", "Expires: 0"}, 200, nil},
		{"star, another Call-ID", []string{"Call-ID: B", "CSeq: 1 REGISTER", "Contact: *", "Expires: 0"}, 200, nil},
		{"star, late", []string{"Call-ID: A", "CSeq: 10 REGISTER", "Contact: *", "Expires: 0"}, 400, nil},
		{"star that expires later", []string{"Contact: *", "Expires: 60"}, 400, nil},
		{"star without Expires", []string{"Contact: *"}, 400, nil},
		{"star and another", []string{"Contact: *, " + here, "Expires: 0"}, 400, nil},
		{"Expires header", []string{"Contact: <sip:a@192.0.2.9>", "Expires: 120"}, 200, []string{here + ";expires=3600", "<sip:a@192.0.2.9>;expires=120"}},
		{"expires parameter wins", []string{"Contact: <sip:a@192.0.2.9>;expires=90", "Expires: 120"}, 200, []string{here + ";expires=3600", "<sip:a@192.0.2.9>;expires=90"}},
		{"at the minimum", []string{"Contact: <sip:a@192.0.2.9>;expires=60"}, 200, []string{here + ";expires=3600", "<sip:a@192.0.2.9>;expires=60"}},
		{"below the minimum", []string{"Contact: <sip:a@192.0.2.9>;expires=59"}, 423, nil},
		{"below the minimum, in Expires", []string{"Contact: <sip:a@192.0.2.9>", "Expires: 1"}, 423, nil},
		{"above the maximum", []string{"Contact: <sip:a@192.0.2.9>;expires=4294967295"}, 200, []string{here + ";expires=3600", "<sip:a@192.0.2.9>;expires=86400"}},
		{"unknown taken back", []string{"Contact: <sip:a@192.0.2.9>;expires=0"}, 200, []string{here + ";expires=3600"}},
		{"q", []string{"Contact: <sip:a@192.0.2.9>;q=0.123"}, 200, []string{here + ";expires=3600", "<sip:a@192.0.2.9>;expires=3600;q=0.123"}},
		{"q of 0 and 1", []string{"Contact: <sip:a@192.0.2.9>;q=0.0, <sip:b@192.0.2.9>;q=1.000"}, 200, []string{here + ";expires=3600", "<sip:a@192.0.2.9>;expires=3600;q=0", "<sip:b@192.0.2.9>;expires=3600"}},
		{"made-up GRUUs", []string{"Contact: <sip:a@192.0.2.9>;pub-gruu=\"sip:b@example.com;gr=1\";temp-gruu=\"x\""}, 200, []string{here + ";expires=3600", "<sip:a@192.0.2.9>;expires=3600"}},
		{"unknown parameters (RFC 4475 §3.3.12)", []string{"Contact: sip:+19725552222@gw1.example.net;unknownparam"}, 200, []string{here + ";expires=3600", "<sip:+19725552222@gw1.example.net>;unknownparam;expires=3600"}},
		{"URI parameters (RFC 4475 §3.3.13)", []string{"Contact: <sip:+19725552222@gw1.example.net;unknownparam>"}, 200, []string{"<sip:+19725552222@gw1.example.net;unknownparam>;expires=3600", here + ";expires=3600"}},
		{"escaped header (RFC 4475 §3.3.14)", []string{"Contact: <sip:alice@example.com?Route=%3Csip:sip.example.com%3E>"}, 200, []string{here + ";expires=3600", "<sip:alice@example.com?Route=%3Csip:sip.example.com%3E>;expires=3600"}},
		{"the AOR", []string{"Contact: <sip:alice@example.com>"}, 403, nil},
		{"another AOR of ours", []string{"Contact: <sip:bob@other.example>"}, 403, nil},
		{"a GRUU of ours", []string{"Contact: <sip:alice@example.com:5090;gr=1>"}, 403, nil},
		{"a listener of ours", []string{"Contact: <sip:alice@192.0.2.1:5060>"}, 403, nil},
		{"a port of ours on another transport", []string{"Contact: <sip:alice@192.0.2.1:5060;transport=tls>"}, 200, []string{"<sip:alice@192.0.2.1:5060;transport=tls>;expires=3600", here + ";expires=3600"}},
		{"telephone", []string{"Contact: <tel:+1>"}, 403, nil},
		{"mail", []string{"Contact: <mailto:alice@example.com>"}, 403, nil},
		{"too long", []string{"Contact: <sip:" + long + "@192.0.2.9>"}, 403, nil},
		{"too many", []string{"Contact: " + strings.TrimSuffix(strings.Repeat("<sip:a@192.0.2.9>,", 11), ",")}, 400, nil},
		{"long Call-ID", []string{"Call-ID: " + strings.Repeat("y", maxCallID+1), "Contact: <sip:a@192.0.2.9>"}, 400, nil},
		{"Require we know", []string{"Require: path, outbound, gruu", "Contact: <sip:a@192.0.2.9>"}, 200, []string{here + ";expires=3600", "<sip:a@192.0.2.9>;expires=3600"}},
		{"Require we do not know", []string{"Require: teleport", "Contact: <sip:a@192.0.2.9>"}, 420, nil},
		{"Path without support", []string{"Path: <sip:edge.example.net;lr>", "Contact: <sip:a@192.0.2.9>"}, 420, nil},
		{"Record-Route is ignored", []string{"Record-Route: <sip:x.example.net;lr>", "Contact: <sip:a@192.0.2.9>"}, 200, []string{here + ";expires=3600", "<sip:a@192.0.2.9>;expires=3600"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
				p.ok("Call-ID: A", "CSeq: 10 REGISTER", "Contact: "+here)
				p.cseq = 10
				m := p.register(row.rows...)
				if m.Status() != row.status {
					t.Fatalf("got %s", m.Bytes())
				}
				if m.Status() != 200 {
					if m.Has(sip.HContact) || !m.Has(sip.HWarning) && m.Status() != 420 && m.Status() != 400 {
						t.Errorf("got %s", m.Bytes())
					}
					if m.Status() == 423 && m.Get(sip.HMinExpires) != "60" {
						t.Errorf("Min-Expires: %q", m.Get(sip.HMinExpires))
					}
					if got := contacts(p.ok()); !slices.Equal(got, []string{here + ";expires=3600"}) {
						t.Errorf("a refused request changed something: %q", got)
					}
				} else if got := contacts(m); !slices.Equal(got, sorted(row.want)) {
					t.Errorf("got %q, want %q", got, row.want)
				}
				r.consistent()
			})
		})
	}
}

func sorted(s []string) []string { slices.Sort(s); return s }

func TestWhoseAddress(t *testing.T) {
	rows := []struct {
		uri, to string
		want    int
	}{
		{"sip:example.com", "sip:alice@example.com", 200},
		{"sip:EXAMPLE.com.", "sip:%61lice@example.com:5060;x=y", 200},
		{"sip:192.0.2.1:5060", "sip:alice@example.com", 200},
		{"sip:example.com", "sip:bob@example.com", 403},
		{"sip:example.com", "sip:alice@elsewhere.example", 403},
		{"sip:example.com", "sip:example.com", 403},
		{"sip:example.com", "tel:+1", 403},
		{"sip:other.example", "sip:alice@example.com", 404},
	}
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		for _, row := range rows {
			if m := p.send(row.uri, row.to, "Contact: <sip:alice@192.0.2.7>"); m.Status() != row.want {
				t.Errorf("%s for %s: %s", row.uri, row.to, m.Bytes())
			}
		}
		if got := len(r.Bindings("bob@example.com")); got != 0 {
			t.Errorf("bob has %d bindings", got)
		}
	})
}

func TestLimits(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		withInstance := func(port int) string {
			return fmt.Sprintf(`Contact: <sip:alice@192.0.2.7:%d>;+sip.instance="<%s>"`, port, instance)
		}
		p.ok(withInstance(6000))
		time.Sleep(time.Second)
		p.ok(withInstance(6001))
		p.ok("Contact: <sip:alice@192.0.2.7:7000>")
		if m := p.register("Contact: <sip:alice@192.0.2.7:7001>"); m.Status() != 403 || !strings.Contains(m.Get(sip.HWarning), "3 registered") {
			t.Errorf("one too many: %s", m.Bytes())
		}
		p.ok("Contact: <sip:alice@192.0.2.7:7000>") // a refresh is no more
		// The device that restarts with a new port replaces its own oldest contact.
		m := p.ok(withInstance(6002))
		if got := strings.Join(contacts(m), " "); strings.Contains(got, ":6000") || !strings.Contains(got, ":6001") || !strings.Contains(got, ":6002") {
			t.Errorf("contacts: %s", got)
		}
		p.ok("Contact: <sip:alice@192.0.2.7:7000>;expires=0, <sip:alice@192.0.2.7:7001>")
		bob := r.phone("bob@example.com", "192.0.2.8:5060", transport.UDP)
		bob.ok("Contact: <sip:bob@192.0.2.8>")
		if m := bob.register("Contact: <sip:bob@192.0.2.9>"); m.Status() != 503 || !m.Has(sip.HRetryAfter) {
			t.Errorf("beyond the total: %s", m.Bytes())
		}
		r.consistent()
	}, func(o *Options) { o.PerUser, o.Total = 3, 4 })
}

func TestPath(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.50:5060", transport.UDP)
		// RFC 3327 §5.5.1.
		m := p.ok("Via: SIP/2.0/UDP pc.example.net;branch=z9hG4bK2", "Supported: path", "Contact: <sip:alice@10.0.0.7>",
			"Path: <sip:P3.EXAMPLEHOME.COM;lr>,<sip:P1.EXAMPLEVISITED.COM;lr>")
		if got := slices.Collect(m.Values(sip.HPath)); !slices.Equal(got, []string{"<sip:P3.EXAMPLEHOME.COM;lr>", "<sip:P1.EXAMPLEVISITED.COM;lr>"}) {
			t.Errorf("Path: %q", got)
		}
		check := func(when string) {
			t.Helper()
			got := r.Devices(alice)
			if len(got) != 1 || !slices.Equal(got[0].Route, []string{"<sip:P3.EXAMPLEHOME.COM;lr>", "<sip:P1.EXAMPLEVISITED.COM;lr>"}) || got[0].Hop.Flow != p.flow {
				t.Errorf("%s: %+v", when, got)
			}
		}
		check("at once")
		if got := r.trusted(); len(got) != 0 {
			t.Errorf("trusted although it came through a proxy: %q", got)
		}
		r.restart()
		check("after a restart")
	})
}

func TestOutbound(t *testing.T) {
	const dev = `;+sip.instance="<` + instance + `>"`
	t.Run("direct", func(t *testing.T) {
		run(t, func(t *testing.T, r *rig) {
			p := r.phone(alice, "192.0.2.7:40000", transport.TCP)
			m := p.ok("Supported: path, outbound", "Contact: <sip:alice@10.0.0.7;transport=tcp;ob>;reg-id=1"+dev)
			if !m.HasToken(sip.HRequire, "outbound") || m.Get(sip.HFlowTimer) != "120" {
				t.Errorf("got %s", m.Bytes())
			}
			if got := contacts(m)[0]; !strings.Contains(got, ";reg-id=1") || !strings.Contains(got, instance) {
				t.Errorf("got %s", got)
			}
			// The same instance and reg-id from elsewhere, with another contact, take its place.
			old := p.flow
			p.connect()
			m = p.ok("Supported: path, outbound", "Contact: <sip:alice@10.9.9.9;ob>;reg-id=1"+strings.Replace(dev, "f81d", "F81D", 1))
			if got := contacts(m); len(got) != 1 || !strings.Contains(got[0], "10.9.9.9") {
				t.Errorf("got %q", got)
			}
			// A second flow does not.
			q := r.phone(alice, "192.0.2.7:40001", transport.TCP)
			if got := contacts(q.ok("Supported: path, outbound", "Contact: <sip:alice@10.9.9.9;ob>;reg-id=2"+dev)); len(got) != 2 {
				t.Errorf("got %q", got)
			}
			r.happened()
			r.layer.Closed(old, nil)
			if got := r.happened(); len(got) != 0 {
				t.Errorf("the old connection's end: %q", got)
			}
			if got := r.Devices(alice); len(got) != 2 || !got[0].Hop.Sticky || got[0].Instance != instance || got[0].Device != instance {
				t.Errorf("got %+v", got)
			}
			p.hangUp()
			if d := cmp.Diff([]string{"disconnected sip:alice@10.9.9.9;ob"}, r.happened()); d != "" {
				t.Error(d)
			}
			if got := r.located("sip:alice@example.com"); !slices.Equal(got, []string{"sip:alice@10.9.9.9;ob over 192.0.2.7:40001"}) {
				t.Errorf("got %q", got)
			}
			r.consistent()
		})
	})
	const second = "Via: SIP/2.0/UDP pc.example.net;branch=z9hG4bK2"
	rows := []struct {
		name     string
		rows     []string
		status   int
		require  bool
		outbound bool
	}{
		{"behind an edge proxy", []string{second, "Supported: path, outbound", "Path: <sip:token@edge.example.net;lr;ob>", "Contact: <sip:a@192.0.2.9>;reg-id=1" + dev}, 200, true, true},
		{"behind a proxy without it", []string{second, "Supported: path, outbound", "Path: <sip:edge.example.net;lr>", "Contact: <sip:a@192.0.2.9>;reg-id=1" + dev}, 439, false, false},
		{"behind a proxy without Path", []string{second, "Supported: outbound", "Contact: <sip:a@192.0.2.9>;reg-id=1" + dev}, 439, false, false},
		{"the same, the client does not ask for it", []string{second, "Contact: <sip:a@192.0.2.9>;reg-id=1" + dev}, 200, false, false},
		{"without Supported", []string{"Contact: <sip:a@192.0.2.9>;reg-id=1" + dev}, 200, false, true},
		{"without an instance", []string{"Supported: outbound", "Contact: <sip:a@192.0.2.9>;reg-id=1"}, 200, false, false},
		{"without a reg-id", []string{"Supported: outbound", "Contact: <sip:a@192.0.2.9>" + dev}, 200, false, false},
		{"two contacts", []string{"Supported: outbound", "Contact: <sip:a@192.0.2.9>;reg-id=1" + dev + ", <sip:b@192.0.2.9>"}, 400, false, false},
		{"two contacts, one goes", []string{"Supported: outbound", "Contact: <sip:a@192.0.2.9>;reg-id=1" + dev + ", <sip:b@192.0.2.9>;expires=0"}, 200, true, true},
		{"reg-id 0", []string{"Supported: outbound", "Contact: <sip:a@192.0.2.9>;reg-id=0" + dev}, 400, false, false},
		{"reg-id too large", []string{"Supported: outbound", "Contact: <sip:a@192.0.2.9>;reg-id=2147483648" + dev}, 400, false, false},
		{"going", []string{"Supported: outbound", "Contact: <sip:a@192.0.2.9>;reg-id=1;expires=0" + dev}, 200, false, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
				m := p.register(row.rows...)
				if m.Status() != row.status || m.HasToken(sip.HRequire, "outbound") != row.require {
					t.Errorf("got %s", m.Bytes())
				}
				if b := r.Bindings(alice); row.outbound != (len(b) == 1 && b[0].Outbound) {
					t.Errorf("bindings: %+v", b)
				}
			})
		})
	}
}

func TestDeviceID(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		p := r.phone("device:"+alice, "192.0.2.7:5060", transport.UDP)
		p.ok("Contact: <sip:alice@192.0.2.7>")
		q := r.phone(alice, "192.0.2.8:5060", transport.UDP)
		q.ok("Contact: <sip:alice@192.0.2.8>")
		q.ok(`Contact: <sip:alice@192.0.2.8:99>;+sip.instance="<` + strings.ToUpper(instance) + `>"`)
		got := map[string]string{}
		for _, b := range r.Bindings(alice) {
			got[b.Contact] = b.Device
		}
		if d := cmp.Diff(map[string]string{"sip:alice@192.0.2.7": "dev1", "sip:alice@192.0.2.8": Plain, "sip:alice@192.0.2.8:99": instance}, got); d != "" {
			t.Error(d)
		}
		for dev, want := range map[string]int{"dev1": 1, Plain: 1, instance: 1, "": 0} {
			if n := len(r.Targets(alice, dev)); n != want {
				t.Errorf("%q has %d targets", dev, n)
			}
		}
	})
}

func TestTrust(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.7:40000", transport.TCP)
		p.ok("Contact: <sip:alice@192.0.2.7:40000;transport=tcp>;expires=600")
		p.ok() // a query changes nothing
		p.ok("Contact: <sip:alice@192.0.2.7:40001;transport=tcp>;expires=300")
		p.ok("Contact: <sip:alice@192.0.2.7:40000;transport=tcp>;expires=0")
		p.ok("Contact: *", "Expires: 0")
		u := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		u.ok("Contact: <sip:alice@192.0.2.7>")
		if d := cmp.Diff([]string{alice + " for 10m0s", alice + " for 10m0s", alice + " for 5m0s", alice + " no longer"}, r.trusted()); d != "" {
			t.Error(d)
		}
	})
}

// The answer leaves before watchers learn of the binding: what they send comes after it.
func TestAnswerBeforeEvent(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.stop()
		p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		var sent []int
		r.watch = func(Event) {
			p.mu.Lock()
			defer p.mu.Unlock()
			sent = append(sent, p.sent)
		}
		r.start()
		p.ok("Contact: <sip:alice@192.0.2.7>")
		r.happened()
		if !slices.Equal(sent, []int{1}) {
			t.Errorf("answers that had left when the event came: %v", sent)
		}
	})
}
