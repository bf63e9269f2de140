package registrar

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// gruusOf takes the GRUUs out of the Contact that has an instance.
func gruusOf(t *testing.T, m *sip.Message) (public, temporary string) {
	t.Helper()
	for v := range m.Values(sip.HContact) {
		na, err := sip.ParseNameAddr(v)
		if err != nil {
			t.Fatal(err)
		}
		if na.Params.Has("+sip.instance") {
			public, _ = na.Params.Get("pub-gruu")
			temporary, _ = na.Params.Get("temp-gruu")
		}
	}
	return public, temporary
}

const withInstance = `Contact: <sip:alice@192.0.2.7>;+sip.instance="<` + instance + `>"`

func TestGRUU(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		other := r.phone(alice, "192.0.2.8:5060", transport.UDP)
		other.ok("Contact: <sip:alice@192.0.2.8>")
		if pub, temp := gruusOf(t, p.ok(withInstance)); pub != "" || temp != "" {
			t.Fatalf("a client that does not support GRUUs got %q and %q", pub, temp)
		}
		pub, temp := gruusOf(t, p.ok("Supported: gruu", withInstance))
		pubURI, err1 := sip.ParseURI(pub)
		tempURI, err2 := sip.ParseURI(temp)
		if err1 != nil || err2 != nil || pubURI.AOR() != alice || !pubURI.Params.Has("gr") || !strings.Contains(pub, instance) {
			t.Fatalf("public %q, temporary %q", pub, temp)
		}
		if gr, ok := tempURI.Params.Get("gr"); !ok || gr != "" || strings.Contains(temp, "alice") || tempURI.Host != "example.com" {
			t.Fatalf("temporary %q", temp)
		}
		device := []string{"sip:alice@192.0.2.7 over 192.0.2.7:5060"}
		for _, uri := range []string{pub, temp, strings.ToUpper(pub[:4]) + pub[4:], strings.Replace(pub, "example.com", "EXAMPLE.com", 1)} {
			if got := r.located(uri); !slices.Equal(got, device) {
				t.Errorf("%s: %q", uri, got)
			}
		}
		if got := r.located("sip:" + alice); len(got) != 2 {
			t.Errorf("the AOR: %q", got)
		}
		if aor, ok := r.Owner(tempURI); !ok || aor != alice {
			t.Errorf("owner: %q", aor)
		}
		if _, ok := r.Owner(pubURI); ok {
			t.Error("a public GRUU is taken for a temporary one")
		}

		// A refresh gives a new temporary one; the old one stays valid (RFC 5627 §5.1).
		pub2, temp2 := gruusOf(t, p.ok("Supported: gruu", withInstance))
		if pub2 != pub || temp2 == temp {
			t.Errorf("after a refresh: %q and %q", pub2, temp2)
		}
		for _, uri := range []string{temp, temp2} {
			if got := r.located(uri); !slices.Equal(got, device) {
				t.Errorf("%s: %q", uri, got)
			}
		}
		if strings.TrimRight(temp, "gr;") == strings.TrimRight(temp2, "gr;") || temp[4:10] == temp2[4:10] {
			t.Errorf("%s and %s look alike", temp, temp2)
		}
		// All survive a restart.
		r.restart()
		for _, uri := range []string{pub, temp, temp2} {
			if got := r.located(uri); !slices.Equal(got, device) {
				t.Errorf("%s after a restart: %q", uri, got)
			}
		}
		// Another Call-ID ends the temporary ones.
		pub3, temp3 := gruusOf(t, p.ok("Supported: gruu", "Call-ID: new", withInstance))
		if pub3 != pub {
			t.Errorf("public %q became %q", pub, pub3)
		}
		for uri, want := range map[string][]string{temp: {"not found"}, temp2: {"not found"}, temp3: device, pub: device} {
			if got := r.located(uri); !slices.Equal(got, want) {
				t.Errorf("%s after another Call-ID: %q", uri, got)
			}
		}
		// The end of the last contact as well; the public one stays, its device is away.
		p.ok("Call-ID: new", strings.Replace(withInstance, ">;", ">;expires=0;", 1))
		if got := r.located(temp3); !slices.Equal(got, []string{"not found"}) {
			t.Errorf("temporary, unregistered: %q", got)
		}
		if got := r.located(pub); len(got) != 0 {
			t.Errorf("public, unregistered: %q", got)
		}
		if aor, dev, ok := r.Resolve(pubURI); !ok || aor != alice || dev != instance {
			t.Errorf("resolve: %q %q %v", aor, dev, ok)
		}
		r.consistent()
	})
}

// hostile.md row 20: what was tampered with is not found.
func TestGRUUForged(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		pub, temp := gruusOf(t, p.ok("Supported: gruu", withInstance))
		forged := []string{
			strings.Replace(pub, "alice", "bob", 1),
			strings.Replace(pub, "f81d", "f81e", 1),
			pub[:strings.LastIndex(pub, "~")],
			pub + "a",
			"sip:alice@example.com;gr=" + instance,
			"sip:alice@example.com;gr",
			strings.Replace(pub, "example.com", "other.example", 1),
			strings.Replace(temp, "example.com", "other.example", 1),
			strings.ToUpper(temp[:5]) + temp[5:],
			"sip:" + strings.Repeat("a", 26) + "@example.com;gr",
			strings.Replace(temp, "example.com", "elsewhere.example", 1),
		}
		forged[8] = "sip:" + strings.ToUpper(temp[4:30]) + temp[30:]
		for i := 4; i < 30; i++ { // each character of the temporary one
			c := byte('a')
			if temp[i] == c {
				c = 'b'
			}
			forged = append(forged, temp[:i]+string(c)+temp[i+1:])
		}
		for _, uri := range forged {
			if got := r.located(uri); !slices.Equal(got, []string{"not found"}) {
				t.Errorf("%s: %q", uri, got)
			}
		}
	})
}

// Two instances never share anything.
func TestGRUUInstances(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		odd := `x y~%20;"<é`
		pub1, temp1 := gruusOf(t, p.ok("Supported: gruu", withInstance))
		q := r.phone(alice, "192.0.2.8:5060", transport.UDP)
		var pub2, temp2 string
		m := q.ok("Supported: gruu", `Contact: <sip:alice@192.0.2.8>;+sip.instance="<x y~%20;\"<é>"`)
		for v := range m.Values(sip.HContact) {
			if na, _ := sip.ParseNameAddr(v); strings.Contains(v, "192.0.2.8") {
				pub2, _ = na.Params.Get("pub-gruu")
				temp2, _ = na.Params.Get("temp-gruu")
			}
		}
		u, err := sip.ParseURI(pub2)
		if err != nil {
			t.Fatalf("%v: %q", err, pub2)
		}
		if _, dev, ok := r.Resolve(u); !ok || dev != odd {
			t.Errorf("%q stands for %q", pub2, dev)
		}
		for _, uri := range []string{pub1, temp1} {
			if got := r.located(uri); !slices.Equal(got, []string{"sip:alice@192.0.2.7 over 192.0.2.7:5060"}) {
				t.Errorf("%s: %q", uri, got)
			}
		}
		for _, uri := range []string{pub2, temp2} {
			if got := r.located(uri); !slices.Equal(got, []string{"sip:alice@192.0.2.8 over 192.0.2.8:5060"}) {
				t.Errorf("%s: %q", uri, got)
			}
		}
		// A second contact of an instance without reg-id: the most recent one first
		// (RFC 5627 §6.1).
		time.Sleep(time.Second)
		p.ok("Supported: gruu", strings.Replace(withInstance, "192.0.2.7>", "192.0.2.7:6000>", 1))
		if got := r.located(pub1); !slices.Equal(got, []string{"sip:alice@192.0.2.7:6000 over 192.0.2.7:5060", "sip:alice@192.0.2.7 over 192.0.2.7:5060"}) {
			t.Errorf("got %q", got)
		}
		r.consistent()
	})
}
