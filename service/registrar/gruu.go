package registrar

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/wire/sip"
)

// GRUUs of RFC 5627, both kinds without a table of what was given out.
//
// A public one is the AOR with gr=INSTANCE~MAC. The MAC covers AOR and instance: one that
// was made up or tampered with is 404, a real one whose device is away is 480, and it
// stays valid for as long as the key does.
//
// A temporary one has 16 bytes as its user part, enciphered as one AES block: 8 bytes that
// name an epoch of one instance, 4 random bytes and 4 zeros. Nobody without the key can
// tell which two belong together (RFC 5627 §5.1 no. 2), and what was made up does not
// decipher to four zeros and a live epoch. An epoch ends, and with it all its temporary
// GRUUs, when the instance's Call-ID changes or its last binding goes; it is stored with
// the bindings and so outlives a restart.
type gruus struct {
	block cipher.Block
	macs  sync.Pool

	mu     sync.RWMutex
	epochs map[uint64]device
}

// device is what a GRUU stands for.
type device struct{ aor, instance string }

// gruuText is base32 in lower case: the user part of a SIP URI is compared with case, the
// value of gr without, and this survives both.
var gruuText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const gruuMAC = 10 // bytes

func newGRUUs(key []byte) (*gruus, error) {
	sub := func(label string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(label))
		return h.Sum(nil)
	}
	block, err := aes.NewCipher(sub("temporary gruu"))
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "registrar: making the cipher")
	}
	g := &gruus{block: block, epochs: make(map[uint64]device)}
	mac := sub("public gruu")
	g.macs.New = func() any { return hmac.New(sha256.New, mac) }
	return g, nil
}

// tempState is the epoch of temporary GRUUs of one instance.
type tempState struct {
	epoch uint64 // 0: none yet
	first uint32 // CSeq of the REGISTER that began it (RFC 5628 first-cseq)
	last  uint32 // the random part of the newest
}

// String is for the store; parseTemp reads it.
func (t tempState) String() string {
	if t.epoch == 0 {
		return ""
	}
	return fmt.Sprintf("%016x.%d.%d", t.epoch, t.first, t.last)
}

func parseTemp(s string) (t tempState) {
	p := strings.Split(s, ".")
	if len(p) != 3 {
		return t
	}
	epoch, err1 := strconv.ParseUint(p[0], 16, 64)
	first, err2 := strconv.ParseUint(p[1], 10, 32)
	last, err3 := strconv.ParseUint(p[2], 10, 32)
	if err1 != nil || err2 != nil || err3 != nil {
		return t
	}
	return tempState{epoch, uint32(first), uint32(last)}
}

// temps are the epochs of the instances of one account; only those that have one.
type temps []temp

type temp struct {
	instance string
	state    tempState
}

// of returns the epoch of an instance, the zero state when it has none.
func (t temps) of(instance string) tempState {
	for i := range t {
		if t[i].instance == instance {
			return t[i].state
		}
	}
	return tempState{}
}

// with returns a copy in which the instance has this epoch.
func (t temps) with(instance string, state tempState) temps {
	out := append(make(temps, 0, len(t)+1), t...)
	for i := range out {
		if out[i].instance == instance {
			out[i].state = state
			return out
		}
	}
	return append(out, temp{instance, state})
}

// begin starts a new epoch for d and ends the old one.
func (g *gruus) begin(d device, old tempState, cseq uint32) tempState {
	var b [8]byte
	rand.Read(b[:])
	t := tempState{epoch: binary.BigEndian.Uint64(b[:]) | 1, first: cseq}
	g.mu.Lock()
	delete(g.epochs, old.epoch)
	g.epochs[t.epoch] = d
	g.mu.Unlock()
	return t
}

// restore makes an epoch of the store known again.
func (g *gruus) restore(d device, t tempState) {
	g.mu.Lock()
	g.epochs[t.epoch] = d
	g.mu.Unlock()
}

// end forgets an epoch.
func (g *gruus) end(t tempState) {
	if t.epoch == 0 {
		return
	}
	g.mu.Lock()
	delete(g.epochs, t.epoch)
	g.mu.Unlock()
}

// next makes the epoch's next temporary GRUU.
func (t tempState) next() tempState {
	var b [4]byte
	rand.Read(b[:])
	t.last = binary.BigEndian.Uint32(b[:])
	return t
}

// temporary is the user part of the epoch's newest GRUU.
func (g *gruus) temporary(t tempState) string {
	var b [aes.BlockSize]byte
	binary.BigEndian.PutUint64(b[:], t.epoch)
	binary.BigEndian.PutUint32(b[8:], t.last)
	g.block.Encrypt(b[:], b[:])
	return gruuText.EncodeToString(b[:])
}

// resolve tells what the user part of a temporary GRUU stands for.
func (g *gruus) resolve(user string) (device, bool) {
	var b [aes.BlockSize]byte
	if gruuText.DecodedLen(len(user)) != len(b) {
		return device{}, false
	}
	if n, err := gruuText.Decode(b[:], []byte(user)); err != nil || n != len(b) || gruuText.EncodeToString(b[:]) != user {
		return device{}, false
	}
	g.block.Decrypt(b[:], b[:])
	if binary.BigEndian.Uint32(b[12:]) != 0 {
		return device{}, false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	d, ok := g.epochs[binary.BigEndian.Uint64(b[:])]
	return d, ok
}

// public is the value of gr in the public GRUU of d.
func (g *gruus) public(d device) string {
	return escapeParam(d.instance) + "~" + g.mac(d)
}

// instance tells which device of an account the value of gr names.
func (g *gruus) instance(aor, gr string) (string, bool) {
	text, mac, ok := cutLast(gr, '~')
	if !ok {
		return "", false
	}
	d := device{aor, sip.Unescape(text)}
	if subtle.ConstantTimeCompare([]byte(g.mac(d)), []byte(strings.ToLower(mac))) != 1 {
		return "", false
	}
	return d.instance, true
}

func (g *gruus) mac(d device) string {
	h := g.macs.Get().(hash.Hash)
	h.Reset()
	h.Write([]byte(d.aor + "\x00" + d.instance))
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	g.macs.Put(h)
	return gruuText.EncodeToString(sum[:gruuMAC])
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// escapeParam writes s as the value of a URI parameter (RFC 3261 §25.1, paramchar).
func escapeParam(s string) string {
	const free = "-_.!*'()[]/:&+$"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(free, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// PublicGRUU is the public GRUU of one device of an account, as a URI.
func (s *Registrar) PublicGRUU(aor, instance string) string {
	return "sip:" + aor + ";gr=" + s.gruu.public(device{aor, instance})
}

// temporaryGRUU is the newest temporary GRUU of a binding, "" when it has none.
func (s *Registrar) temporaryGRUU(b *Binding, t tempState) string {
	if t.epoch == 0 {
		return ""
	}
	_, domain, _ := strings.Cut(b.AOR, "@")
	return "sip:" + s.gruu.temporary(t) + "@" + domain + ";gr"
}
