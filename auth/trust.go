package auth

import (
	"bytes"
	"slices"
	"sync"
	"time"
)

// maxTrusts is how many accounts one connection may be trusted for.
const maxTrusts = 16

// trusted is one account that a connection may speak for.
type trusted struct {
	id    Identity
	until time.Time
	// proof is the secret that was used: when the account no longer has it (the
	// password changed, the device password was revoked) the trust is over.
	proof []byte
	alg   Algorithm
	at    time.Time // when it was proven
}

// trusts knows which connections speak for whom. It is safe for concurrent use.
type trusts struct {
	mu    sync.Mutex
	conns map[uint64][]trusted
	aors  map[string][]uint64  // the connections in conns that are trusted for an account
	fresh map[uint64][]trusted // authenticated by digest on this connection, not yet trusted
}

func newTrusts() *trusts {
	return &trusts{conns: make(map[uint64][]trusted), aors: make(map[string][]uint64), fresh: make(map[uint64][]trusted)}
}

// authenticated remembers by which secret a connection last proved to be id, for a
// trust that may follow.
func (t *trusts) authenticated(conn uint64, id Identity, alg Algorithm, proof []byte, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fresh[conn] = put(t.fresh[conn], trusted{id: id, alg: alg, proof: proof, at: now})
}

// proofLife is how long after a digest the registrar may still ask for trust.
const proofLife = time.Minute

// sweep forgets proofs that were not asked for and trust that has ended, also of
// connections that closed while their request was still on its way.
func (t *trusts) sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for conn, list := range t.fresh {
		if now.Sub(list[len(list)-1].at) > proofLife {
			delete(t.fresh, conn)
		}
	}
	for conn, list := range t.conns {
		for _, x := range append([]trusted(nil), list...) {
			if !x.until.After(now) {
				t.drop(conn, x.id.AOR)
			}
		}
	}
}

// put adds x, in the place of an earlier one for the same account.
func put(list []trusted, x trusted) []trusted {
	for i := range list {
		if list[i].id.AOR == x.id.AOR {
			list[i] = x
			return list
		}
	}
	if len(list) >= maxTrusts {
		list = append(list[:0], list[1:]...)
	}
	return append(list, x)
}

// trust makes the connection speak for id until then; a time that has passed ends it.
// Without a proof on this connection nothing happens.
func (t *trusts) trust(conn uint64, id Identity, until, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !until.After(now) {
		t.drop(conn, id.AOR)
		return
	}
	for _, x := range t.fresh[conn] {
		if x.id.AOR == id.AOR {
			x.id, x.until = id, until
			if len(t.conns[conn]) >= maxTrusts {
				t.drop(conn, t.conns[conn][0].id.AOR)
			}
			t.conns[conn] = put(t.conns[conn], x)
			if !slices.Contains(t.aors[id.AOR], conn) {
				t.aors[id.AOR] = append(t.aors[id.AOR], conn)
			}
			return
		}
	}
}

// speaker returns for whom a connection speaks when the From of a request names aor: for
// that account, or for the only one it is trusted for. In a dialog the From may be what
// the peer once dialled, so it need not match; whether it must is decided elsewhere.
func (t *trusts) speaker(conn uint64, aor string, now time.Time) (trusted, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := 0; i < len(t.conns[conn]); {
		if x := t.conns[conn][i]; !x.until.After(now) {
			t.drop(conn, x.id.AOR)
			continue
		}
		i++
	}
	list := t.conns[conn]
	for _, x := range list {
		if x.id.AOR == aor {
			return x, true
		}
	}
	if len(list) == 1 {
		return list[0], true
	}
	return trusted{}, false
}

// drop ends the trust of one connection for one account. The caller holds mu.
func (t *trusts) drop(conn uint64, aor string) {
	list := t.conns[conn]
	for i := range list {
		if list[i].id.AOR == aor {
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(t.conns, conn)
	} else {
		t.conns[conn] = list
	}
	if conns := slices.DeleteFunc(t.aors[aor], func(c uint64) bool { return c == conn }); len(conns) > 0 {
		t.aors[aor] = conns
	} else {
		delete(t.aors, aor)
	}
}

// closed forgets a connection.
func (t *trusts) closed(conn uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.conns[conn]) > 0 {
		t.drop(conn, t.conns[conn][0].id.AOR)
	}
	delete(t.fresh, conn)
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
	for i := range acc.credentials {
		c := &acc.credentials[i]
		if c.device == x.id.Device && (bytes.Equal(c.ha1(x.alg, false), x.proof) || bytes.Equal(c.ha1(x.alg, true), x.proof)) {
			return true
		}
	}
	return false
}
