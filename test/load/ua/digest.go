package ua

import (
	"crypto/md5" //nolint:gosec // SIP digest
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/parley-im/parley/wire/sip"
)

// A challenge is what a user signs in with (RFC 3261 §22, RFC 7616, RFC 8760). It is used for many requests, each with
// the next nonce count, until the server gives a new one.
type challenge struct {
	proxy  bool // goes into Proxy-Authorization
	sha256 bool
	qop    bool
	head   string // of the header's value, up to the nonce
	nonce  string
	ha1    string
	nc     uint32
}

// challenged reads the challenge of a 401 or 407: the first with an algorithm that we know.
func challenged(m *sip.Message, user, password string) *challenge {
	for _, h := range []sip.HeaderID{sip.HWWWAuthenticate, sip.HProxyAuthenticate} {
		for row := range m.Each(h) {
			f, err := sip.ParseCredentials(row)
			if err != nil || !strings.EqualFold(f.Scheme, "Digest") {
				continue
			}
			c := &challenge{proxy: h == sip.HProxyAuthenticate, nonce: strings.Clone(f.Nonce)}
			switch strings.ToUpper(f.Algorithm) {
			case "", "MD5":
			case "SHA-256":
				c.sha256 = true
			default:
				continue
			}
			for q := range strings.SplitSeq(f.QOP, ",") {
				c.qop = c.qop || strings.EqualFold(strings.TrimSpace(q), "auth")
			}
			c.ha1 = c.hash(user, f.Realm, password)
			c.head = `Digest username="` + user + `", realm="` + f.Realm + `", nonce="` + f.Nonce + `"`
			if f.Algorithm != "" {
				c.head += ", algorithm=" + f.Algorithm
			}
			if f.Opaque != "" {
				c.head += `, opaque="` + f.Opaque + `"`
			}
			return c
		}
	}
	return nil
}

func (c *challenge) hash(parts ...string) string {
	var room [256]byte
	b := room[:0]
	for i, p := range parts {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, p...)
	}
	if c.sha256 {
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:])
	}
	sum := md5.Sum(b) //nolint:gosec // SIP digest
	return hex.EncodeToString(sum[:])
}

const cnonce = "6c6f6164"

// append writes the header row for a request, with the next nonce count.
func (c *challenge) append(b []byte, method, uri string) []byte {
	name := "Authorization: "
	if c.proxy {
		name = "Proxy-Authorization: "
	}
	b = append(append(b, name...), c.head...)
	b = append(append(append(b, `, uri="`...), uri...), '"')
	ha2 := c.hash(method, uri)
	if !c.qop {
		b = append(append(b, `, response="`...), c.hash(c.ha1, c.nonce, ha2)...)
		return append(b, "\"\r\n"...)
	}
	c.nc++
	const digits = "0123456789abcdef"
	var count [8]byte
	for i := range count {
		count[i] = digits[c.nc>>(28-4*i)&0xf]
	}
	b = append(append(b, `, qop=auth, nc=`...), count[:]...)
	b = append(b, `, cnonce="`+cnonce+`", response="`...)
	b = append(b, c.hash(c.ha1, c.nonce, string(count[:]), cnonce, "auth", ha2)...)
	return append(b, "\"\r\n"...)
}
