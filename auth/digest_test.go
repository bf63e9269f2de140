package auth

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The examples of RFC 7616 §3.9.1, RFC 2617 §3.5 and RFC 2069 §2.4 (with its erratum).
func TestResponseExamples(t *testing.T) {
	const (
		nonce  = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
		cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
		realm  = "http-auth@example.org"
		old    = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
	)
	rows := []struct {
		name, realm, password string
		x                     exchange
		want                  string
	}{
		{"RFC 7616 MD5", realm, "Circle of Life", exchange{alg: MD5, nonce: nonce, qop: "auth", nc: "00000001", cnonce: cnonce}, "8ca523f5e9506fed4657c9700eebdbec"},
		{"RFC 7616 SHA-256", realm, "Circle of Life", exchange{alg: SHA256, nonce: nonce, qop: "auth", nc: "00000001", cnonce: cnonce}, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
		{"RFC 2617", "testrealm@host.com", "Circle Of Life", exchange{alg: MD5, nonce: old, qop: "auth", nc: "00000001", cnonce: "0a4f113b"}, "6629fae49393a05397450978507c4ef1"},
		{"RFC 2069", "testrealm@host.com", "CircleOfLife", exchange{alg: MD5, nonce: old}, "1949323746fe6a43ef61f9606e7febea"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			r.x.method, r.x.uri = "GET", "/dir/index.html"
			ha1 := HA1(r.x.alg, "Mufasa", r.realm, r.password)
			if got := string(r.x.response(new(hexSum), ha1)); got != r.want {
				t.Fatalf("got %s, want %s", got, r.want)
			}
			if !r.x.matches(ha1, r.want) || !r.x.matches(ha1, strings.ToUpper(r.want)) {
				t.Error("the right response does not match")
			}
			flipped := "0" + r.want[1:]
			if r.want[0] == '0' {
				flipped = "1" + r.want[1:]
			}
			for _, bad := range []string{"", "x", r.want[1:], r.want + "0", flipped} {
				if r.x.matches(ha1, bad) {
					t.Errorf("%q matches", bad)
				}
			}
			if r.x.matches(HA1(r.x.alg, "Mufasa", r.realm, "circle of life"), r.want) {
				t.Error("another password matches")
			}
		})
	}
}

func TestParseAlgorithm(t *testing.T) {
	for name, want := range map[string]Algorithm{"": MD5, "MD5": MD5, "md5": MD5, "SHA-256": SHA256, "sha-256": SHA256,
		"MD5-sess": 0, "SHA-256-sess": 0, "SHA-512-256": 0, "SHA256": 0} {
		if got, ok := ParseAlgorithm(name); got != want || ok != (want != 0) {
			t.Errorf("%q: got %v, %v", name, got, ok)
		}
	}
}

func TestNonce(t *testing.T) {
	n := newNonces()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	now := time.Now()
	one, two := n.issue(a, now), n.issue(a, now)
	if one == two || len(one) != nonceText {
		t.Fatalf("%q and %q", one, two)
	}
	life := time.Minute
	mapped := netip.AddrFrom16(a.As16())
	flip := func(s string, i int) string {
		c := byte('A')
		if s[i] == 'A' {
			c = 'B'
		}
		return s[:i] + string(c) + s[i+1:]
	}
	rows := []struct {
		name string
		text string
		addr netip.Addr
		at   time.Duration
		want verdict
	}{
		{"fresh", one, a, 0, nonceFresh},
		{"mapped address", one, mapped, 0, nonceFresh},
		{"at the end of its life", one, a, life - time.Millisecond, nonceFresh},
		{"after its life", one, a, life + 2*time.Millisecond, nonceExpired},
		{"before its time", one, a, -2 * time.Second, nonceExpired},
		{"other address", one, b, 0, nonceForged},
		{"empty", "", a, 0, nonceForged},
		{"longer", one + "A", a, 0, nonceForged},
		{"other time", flip(one, 3), a, 0, nonceForged},
		{"other counter", flip(one, 12), a, 0, nonceForged},
		{"other mac", flip(one, 31), a, 0, nonceForged},
		{"not base64", strings.Repeat("!", nonceText), a, 0, nonceForged},
	}
	for _, r := range rows {
		if _, got := n.check(r.text, r.addr, now.Add(r.at), life); got != r.want {
			t.Errorf("%s: got %d, want %d", r.name, got, r.want)
		}
	}
	if _, got := newNonces().check(one, a, now, life); got != nonceForged {
		t.Error("a nonce of another start is accepted")
	}
}

func TestNonceCount(t *testing.T) {
	n, u := newNonces(), newUsedNonces(64)
	addr, now, life := netip.MustParseAddr("192.0.2.1"), time.Now(), time.Minute
	id, _ := n.check(n.issue(addr, now), addr, now, life)
	rows := []struct {
		nc   uint32
		want bool
	}{
		{1, true}, {1, false}, {2, true}, {5, true}, {4, true}, {3, true}, {4, false}, {5, false},
		{100, true}, {36, true}, {36, false}, {35, false}, {99, true}, {1, false}, {100 + 64, true}, {100, false}, {101, true}, {4294967295, true}, {0, false},
	}
	for i, r := range rows {
		if got := u.use(id, r.nc, now, life); got != r.want {
			t.Errorf("step %d: nc %d: got %v, want %v", i, r.nc, got, r.want)
		}
	}
}

// The table never grows past its limit, and forgetting a nonce never revives it.
func TestUsedNoncesBounded(t *testing.T) {
	const limit = 64
	n, u := newNonces(), newUsedNonces(limit)
	addr, start, life := netip.MustParseAddr("192.0.2.1"), time.Now(), time.Hour
	var ids []nonceID
	for i := range 10 * limit {
		at := start.Add(time.Duration(i) * 10 * time.Millisecond)
		id, v := n.check(n.issue(addr, at), addr, at, life)
		if v != nonceFresh || !u.use(id, 1, at, life) {
			t.Fatalf("nonce %d was refused at first use", i)
		}
		ids = append(ids, id)
	}
	if u.len() > limit {
		t.Fatalf("%d nonces remembered, the limit is %d", u.len(), limit)
	}
	end := start.Add(10 * limit * 10 * time.Millisecond)
	for i, id := range ids {
		if u.use(id, 1, end, life) {
			t.Fatalf("nonce %d could be replayed", i)
		}
	}
	// Expired ones make room without raising the floor.
	late := end.Add(2 * life)
	for range 4 * limit {
		id, _ := n.check(n.issue(addr, late), addr, late, life)
		u.use(id, 1, late, life)
	}
	if u.len() > limit {
		t.Fatalf("%d nonces remembered, the limit is %d", u.len(), limit)
	}
}

func TestPassword(t *testing.T) {
	h, err := HashPassword("Grüße 1")
	if err != nil {
		t.Fatal(err)
	}
	other, _ := HashPassword("Grüße 1")
	if h == other {
		t.Error("two hashes of one password are the same")
	}
	if !VerifyPassword(h, "Grüße 1") || VerifyPassword(h, "grüße 1") || VerifyPassword(h, "") {
		t.Error("verification is wrong")
	}
	for _, bad := range []string{"", "$", "plain", h[:len(h)-4], strings.Replace(h, "argon2id", "argon2i", 1), strings.Replace(h, "v=19", "v=16", 1),
		strings.Replace(h, "m=19456", "m=99999999", 1), strings.Replace(h, "t=2", "t=0", 1)} {
		if VerifyPassword(bad, "Grüße 1") {
			t.Errorf("%q verifies", bad)
		}
	}
	for _, bad := range []string{"", "a\nb", strings.Repeat("x", MaxPassword+1)} {
		if _, err := HashPassword(bad); err == nil {
			t.Errorf("%q can be set", bad)
		}
	}
	seen := map[string]bool{}
	for range 100 {
		p := NewDevicePassword()
		if len(p) != 23 || seen[p] || CheckPassword(p) != nil || strings.Trim(p, deviceAlphabet+"-") != "" {
			t.Fatalf("device password %q", p)
		}
		seen[p] = true
	}
}

func TestGuard(t *testing.T) {
	const pairFree, accountFree, addressFree = 5, 50, 100
	g := newGuard(1000, pairFree)
	home, away := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	now := time.Now()
	for i := range pairFree - 1 {
		if w := g.wrong("alice@example.com", home, now); w != 0 {
			t.Fatalf("locked after %d", i+1)
		}
	}
	if w := g.wrong("alice@example.com", home, now); w != lockFirst {
		t.Fatalf("got %v, want %v", w, lockFirst)
	}
	if g.locked("alice@example.com", home, now) != lockFirst || g.locked("alice@example.com", away, now) != 0 || g.locked("bob@example.com", home, now) != 0 {
		t.Error("the lock is not for the pair alone")
	}
	now = now.Add(lockFirst)
	if g.locked("alice@example.com", home, now) != 0 {
		t.Error("the lock did not end")
	}
	if w := g.wrong("alice@example.com", home, now); w != 2*lockFirst {
		t.Errorf("the second lock is %v", w)
	}
	for range 20 {
		g.wrong("alice@example.com", home, now)
	}
	if w := g.locked("alice@example.com", home, now); w != lockLongest {
		t.Errorf("the longest lock is %v", w)
	}
	g.right("alice@example.com", home, now)
	if g.locked("alice@example.com", home, now) != 0 {
		t.Error("a right password did not start anew")
	}
	// Guessing from everywhere locks the account for strangers, not for its owner.
	for i := range accountFree {
		g.wrong("alice@example.com", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), now)
	}
	if g.locked("alice@example.com", away, now) == 0 || g.locked("alice@example.com", home, now) != 0 {
		t.Error("the account's lock is not for strangers alone")
	}
	// One address that tries everybody is locked for all but those who are known there.
	g.right("eve@example.com", away, now)
	for i := range addressFree {
		g.wrong(strings.Repeat("x", i+1)+"@example.com", away, now)
	}
	if g.locked("carol@example.com", away, now) == 0 || g.locked("carol@example.com", home, now) != 0 {
		t.Error("the address's lock is wrong")
	}
	if g.locked("eve@example.com", away, now) != 0 {
		t.Error("the address's lock is for those who are known there as well")
	}
	// A whole /64 counts as one address.
	v6 := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	for range pairFree {
		g.wrong("dave@example.com", v6("2001:db8::1"), now)
	}
	if g.locked("dave@example.com", v6("2001:db8::ffff"), now) == 0 || g.locked("dave@example.com", v6("2001:db8:0:1::1"), now) != 0 {
		t.Error("IPv6 is not counted by /64")
	}
	g.reset("dave@example.com")
	if g.locked("dave@example.com", v6("2001:db8::1"), now) != 0 {
		t.Error("reset did not reset")
	}
	for i := range 5000 {
		g.wrong("flood@example.com", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if n := len(g.pairs.m); n > 1000 || n != g.pairs.lru.Len() {
		t.Errorf("%d pairs counted, the limit is 1000", n)
	}
	if w := g.locked("alice@example.com", away, now.Add(guardMemory+time.Second)); w != 0 {
		t.Errorf("locked for %v after all was forgotten", w)
	}
}
