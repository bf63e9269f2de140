package auth

import (
	"crypto/md5" //nolint:gosec // RFC 3261 §22.4: MD5 is what deployed SIP clients speak
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// Algorithm is a digest algorithm of RFC 7616 that the server can check. The zero
// value is none.
type Algorithm uint8

// The algorithms. Their order of preference is a listener's matter, see Policy.
const (
	MD5 Algorithm = iota + 1
	SHA256
)

// ParseAlgorithm reads the name used in headers and in the configuration, in any
// case. No name means MD5 (RFC 2617 §3.2.1). The "-sess" variants and SHA-512-256
// are never offered, so they are not known here.
func ParseAlgorithm(name string) (Algorithm, bool) {
	switch {
	case name == "" || strings.EqualFold(name, "MD5"):
		return MD5, true
	case strings.EqualFold(name, "SHA-256"):
		return SHA256, true
	}
	return 0, false
}

// String is the name as RFC 7616 spells it.
func (a Algorithm) String() string {
	switch a {
	case MD5:
		return "MD5"
	case SHA256:
		return "SHA-256"
	}
	return "none"
}

// size is the length of a hash in bytes.
func (a Algorithm) size() int {
	if a == SHA256 {
		return sha256.Size
	}
	return md5.Size
}

// sum appends the raw hash of in to dst.
func (a Algorithm) sum(dst, in []byte) []byte {
	if a == SHA256 {
		h := sha256.Sum256(in)
		return append(dst, h[:]...)
	}
	h := md5.Sum(in) //nolint:gosec // see above
	return append(dst, h[:]...)
}

// HA1 is H(username ":" realm ":" password), raw (RFC 7616 §3.4.2).
func HA1(a Algorithm, username, realm, password string) []byte {
	b := make([]byte, 0, len(username)+len(realm)+len(password)+2)
	b = append(append(b, username...), ':')
	b = append(append(b, realm...), ':')
	return a.sum(nil, append(b, password...))
}

// exchange is what goes into a digest beside the secret. Its fields are as the client
// sent them, quotes removed.
type exchange struct {
	alg           Algorithm
	method, uri   string
	nonce         string
	qop           string // "", "auth" or "auth-int", in the client's spelling
	nc, cnonce    string
	body          []byte // hashed for auth-int only
	ha2           hexSum // of A2, made once
	withoutMethod bool   // rspauth: A2 begins with the colon
	haveHA2       bool
}

// hexSum is a hash in hexadecimal; of a short one the rest is not used.
type hexSum [2 * sha256.Size]byte

// hex writes the hash of in and returns its digits, which are in h.
func (h *hexSum) hex(a Algorithm, in []byte) []byte {
	var raw [sha256.Size]byte
	return hex.AppendEncode(h[:0], a.sum(raw[:0], in))
}

// scratch is room for what is hashed; longer fields cost an allocation.
type scratch [320]byte

// response is the hex digest for one secret, written to out.
func (x *exchange) response(out *hexSum, ha1 []byte) []byte {
	if !x.haveHA2 {
		x.makeHA2()
		x.haveHA2 = true
	}
	// RFC 7616 §3.4.1; without qop RFC 2069 §2.1.2.
	var room scratch
	b := hex.AppendEncode(room[:0], ha1)
	b = append(append(b, ':'), x.nonce...)
	if x.qop != "" {
		b = append(append(b, ':'), x.nc...)
		b = append(append(b, ':'), x.cnonce...)
		b = append(append(b, ':'), x.qop...)
	}
	b = append(append(b, ':'), x.ha2[:2*x.alg.size()]...)
	return out.hex(x.alg, b)
}

// makeHA2 is the hex of H(A2), RFC 7616 §3.4.3 and, for rspauth, §3.5.
func (x *exchange) makeHA2() {
	var room scratch
	b := room[:0]
	if !x.withoutMethod {
		b = append(b, x.method...)
	}
	b = append(append(b, ':'), x.uri...)
	if strings.EqualFold(x.qop, "auth-int") {
		// RFC 8760 §2.6 no. 7: an absent body is hashed as the empty string.
		var body hexSum
		b = append(append(b, ':'), body.hex(x.alg, x.body)...)
	}
	x.ha2.hex(x.alg, b)
}

// matches compares in constant time. RFC 7616 wants lower-case digits; upper-case ones
// are taken too.
func (x *exchange) matches(ha1 []byte, response string) bool {
	var sum hexSum
	want := x.response(&sum, ha1)
	if len(response) != len(want) {
		return false
	}
	var got [2 * sha256.Size]byte
	for i := range len(response) {
		c := response[i]
		if 'A' <= c && c <= 'F' {
			c += 'a' - 'A'
		}
		got[i] = c
	}
	return subtle.ConstantTimeCompare(want, got[:len(response)]) == 1
}

// rspauth is the hex digest by which the server proves that it knows the secret, for a
// response without a body or with qop "auth" (RFC 7616 §3.5).
func (x *exchange) rspauth(ha1 []byte) string {
	y := exchange{alg: x.alg, uri: x.uri, nonce: x.nonce, qop: x.qop, nc: x.nc, cnonce: x.cnonce, withoutMethod: true}
	var sum hexSum
	return string(y.response(&sum, ha1))
}
