package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"sync"
	"time"
)

// maxTrusts is how many accounts one connection may be trusted for.
const maxTrusts = 16

// trusted is one account that a connection has proven to be, and that it may speak for when it is trusted. There is one
// for everybody who is signed in over a connection, so it is small: what the account is called and may do is in the
// account.
type trusted struct {
	aor    string
	device string
	until  int64 // as trusts.clock has it; 0: authenticated, but not trusted
	at     int64 // the same, when it was proven; 0: too long ago for trust to follow
	// proof is the secret that was used: when the account no longer has it (the
	// password changed, the device password was revoked) the trust is over.
	proof [sha256.Size]byte // filled from the front, as many bytes as alg has
	alg   Algorithm
	next  *trusted // of the same connection; the earlier is in front
}

// trusts knows which connections speak for whom. It is safe for concurrent use.
type trusts struct {
	start time.Time
	mu    sync.Mutex
	conns map[uint64]*trusted // the first of each connection
	aors  map[string][]uint64 // the connections that are trusted for an account
}

func newTrusts(now time.Time) *trusts {
	return &trusts{start: now, conns: make(map[uint64]*trusted), aors: make(map[string][]uint64)}
}

// clock is a time in ns that does not jump when the system's clock is set; never 0 for the times after the start.
func (t *trusts) clock(x time.Time) int64 { return int64(x.Sub(t.start)) + 1 }

// authenticated remembers by which secret a connection last proved to be id, for a
// trust that may follow.
func (t *trusts) authenticated(conn uint64, id Identity, alg Algorithm, proof []byte, now time.Time) {
	x := &trusted{aor: id.AOR, device: id.Device, alg: alg, at: t.clock(now)}
	copy(x.proof[:], proof)
	t.mu.Lock()
	defer t.mu.Unlock()
	proofs, oldest, same := 0, (*trusted)(nil), (*trusted)(nil)
	for y := t.conns[conn]; y != nil; y = y.next {
		switch {
		case y.aor == x.aor && y.device == x.device && y.alg == x.alg && y.proof == x.proof:
			same = y // the usual case
		case y.at == 0: // trusted only
		case y.aor == x.aor:
			y.at = 0 // the later proof counts
		default:
			if proofs++; oldest == nil {
				oldest = y
			}
		}
	}
	if proofs >= maxTrusts {
		oldest.at = 0
	}
	t.clean(conn)
	if same != nil {
		same.at = x.at
	} else {
		t.add(conn, x)
	}
}

// proofLife is how long after a digest the registrar may still ask for trust.
const proofLife = time.Minute

// sweep forgets proofs that were not asked for and trust that has ended, also of
// connections that closed while their request was still on its way.
func (t *trusts) sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for conn, x := range t.conns {
		for ; x != nil; x = x.next {
			if t.clock(now)-x.at > int64(proofLife) {
				x.at = 0
			}
			if x.until <= t.clock(now) {
				t.distrust(conn, x)
			}
		}
		t.clean(conn)
	}
}

// trust makes the connection speak for id until then; a time that has passed ends it.
// Without a proof on this connection nothing happens.
func (t *trusts) trust(conn uint64, id Identity, until, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !until.After(now) {
		t.end(conn, id.AOR)
		return
	}
	var proven *trusted
	for x := t.conns[conn]; x != nil && proven == nil; x = x.next {
		if x.aor == id.AOR && x.at != 0 {
			proven = x
		}
	}
	if proven == nil {
		return
	}
	others, oldest := 0, (*trusted)(nil)
	for x := t.conns[conn]; x != nil; x = x.next {
		switch {
		case x == proven || x.until == 0:
		case x.aor == id.AOR:
			x.until = 0 // the later proof takes its place
		default:
			if others++; oldest == nil {
				oldest = x
			}
		}
	}
	if others >= maxTrusts {
		t.distrust(conn, oldest)
	}
	proven.until = t.clock(until)
	t.clean(conn)
	if !slices.Contains(t.aors[proven.aor], conn) {
		t.aors[proven.aor] = append(t.aors[proven.aor], conn)
	}
}

// speaker returns for whom a connection speaks when the From of a request names aor: for
// that account, or for the only one it is trusted for. In a dialog the From may be what
// the peer once dialled, so it need not match; whether it must is decided elsewhere.
func (t *trusts) speaker(conn uint64, aor string, now time.Time) (trusted, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var only *trusted
	n := 0
	for x := t.conns[conn]; x != nil; x = x.next {
		switch {
		case x.until == 0:
		case x.until <= t.clock(now):
			t.distrust(conn, x)
		case x.aor == aor:
			return *x, true
		default:
			n++
			only = x
		}
	}
	if n == 1 {
		return *only, true
	}
	return trusted{}, false
}

// add puts x behind the others of its connection. The caller holds mu, here and below.
func (t *trusts) add(conn uint64, x *trusted) {
	last := t.conns[conn]
	if last == nil {
		t.conns[conn] = x
		return
	}
	for last.next != nil {
		last = last.next
	}
	last.next = x
}

// distrust ends the trust in x. It is forgotten by clean.
func (t *trusts) distrust(conn uint64, x *trusted) {
	if x.until == 0 {
		return
	}
	x.until = 0
	if conns := slices.DeleteFunc(t.aors[x.aor], func(c uint64) bool { return c == conn }); len(conns) > 0 {
		t.aors[x.aor] = conns
	} else {
		delete(t.aors, x.aor)
	}
}

// end ends the trust of one connection for one account.
func (t *trusts) end(conn uint64, aor string) {
	for x := t.conns[conn]; x != nil; x = x.next {
		if x.aor == aor {
			t.distrust(conn, x)
		}
	}
	t.clean(conn)
}

// clean forgets of a connection what is neither trusted nor a proof.
func (t *trusts) clean(conn uint64) {
	var first, last *trusted
	for x := t.conns[conn]; x != nil; x = x.next {
		switch {
		case x.until == 0 && x.at == 0:
		case first == nil:
			first, last = x, x
		default:
			last.next = x
			last = x
		}
	}
	if first == nil {
		delete(t.conns, conn)
		return
	}
	last.next = nil
	t.conns[conn] = first
}

// closed forgets a connection.
func (t *trusts) closed(conn uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for x := t.conns[conn]; x != nil; x = x.next {
		t.distrust(conn, x)
	}
	delete(t.conns, conn)
}

func (t *trusts) connsOf(aor string) []uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.aors[aor])
}

// holds tells whether the account still has the secret the trust was built on.
func (x *trusted) holds(acc *account) bool {
	if acc == nil || acc.user.Disabled {
		return false
	}
	proof := x.proof[:x.alg.size()]
	for i := range acc.credentials {
		c := &acc.credentials[i]
		if c.device == x.device && (subtle.ConstantTimeCompare(c.ha1(x.alg, false), proof) == 1 || subtle.ConstantTimeCompare(c.ha1(x.alg, true), proof) == 1) {
			return true
		}
	}
	return false
}
