package transaction

import (
	"hash/maphash"
	"strings"

	"github.com/parley-im/parley/wire/sip"
)

// key names a server transaction: 128 bits of two hashes under seeds that nobody outside the process knows, so that the
// table holds no strings and keeps no received message alive.
type key struct{ hi, lo uint64 }

// keyer makes keys.
type keyer struct{ a, b maphash.Seed }

func newKeyer() keyer { return keyer{maphash.MakeSeed(), maphash.MakeSeed()} }

// modernKey is what RFC 3261 §17.2.3 matches for a branch with the magic cookie. Transport and Call-ID are the same in all
// that belongs together (§9.1, §17.1.1.3); they are here because clients exist whose branches are not unique: each libpurple
// begins with the same one.
type modernKey struct {
	branch, host, transport, callID string
	port                            uint16
	method                          string
}

// legacyKey is what RFC 3261 §17.2.3 matches for a client of RFC 2543, whose branch does not identify a transaction. For
// an ACK toTag is that of the response, for the other methods that of the request.
type legacyKey struct {
	uri, fromTag, toTag, callID string
	cseq                        uint32
	method                      string
	transport, host             string
	port                        uint16
	params                      string
}

func hashKey[T comparable](k keyer, v T) key {
	return key{maphash.Comparable(k.a, v), maphash.Comparable(k.b, v)}
}

// incoming is a request that was just received, with what matching needs.
type incoming struct {
	m      *sip.Message
	via    sip.Via
	legacy bool
	cseq   uint32
}

// examine reads what matching needs. When it fails there is no telling whose request this is; what it returns then is
// good for an answer only.
func examine(m *sip.Message) (incoming, error) {
	in := incoming{m: m, legacy: true}
	via, err := m.TopVia()
	if err != nil {
		return in, err
	}
	in.via, in.legacy = via, !hasCookie(via.Branch())
	cseq, err := m.CSeq()
	in.cseq = cseq.Seq
	return in, err
}

// key is the key of the transaction that the request belongs to if it is taken as one of the given method: its own,
// INVITE for an ACK (RFC 3261 §17.2.3), or that of the request that a CANCEL is after (§9.2).
func (k keyer) key(in *incoming, method string) key {
	if in.legacy {
		return k.legacy(in, method, in.m.ToTag())
	}
	return hashKey(k, modernKey{in.via.Branch(), strings.ToLower(in.via.Host), in.via.Transport, in.m.CallID(), in.via.Port, method})
}

// legacy is the key of a request without the magic cookie. A To tag that is not that of the request is given for the ACK
// to a response of ours (RFC 3261 §17.2.3: "the To tag of the ACK matches the To tag of the response").
func (k keyer) legacy(in *incoming, method, toTag string) key {
	return hashKey(k, legacyKey{
		uri: in.m.RequestURI(), fromTag: in.m.FromTag(), toTag: toTag, callID: in.m.CallID(),
		cseq: in.cseq, method: method,
		transport: in.via.Transport, host: strings.ToLower(in.via.Host), port: in.via.Port, params: string(in.via.Params),
	})
}
