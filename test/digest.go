package test

import (
	"crypto/md5" //nolint:gosec // SIP digest
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"regexp"
	"strings"

	"github.com/parley-im/parley/wire/sip"
)

// DigestStyle is how a user agent answers a challenge.
type DigestStyle int

// The styles.
const (
	Qop    DigestStyle = iota // RFC 2617, 7616: qop=auth with cnonce and nc
	NoQop                     // RFC 2069, as libpurple: neither qop nor cnonce nor algorithm
	SHA256                    // RFC 8760: only a challenge with SHA-256
)

// Challenge is one WWW-Authenticate or Proxy-Authenticate value.
type Challenge struct {
	Realm, Nonce, Algorithm, Qop, Opaque string
	Proxy                                bool
	nc                                   int
}

var challengeField = regexp.MustCompile(`(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^",\s]+))`)

// ParseChallenges reads the challenges of a 401 or 407.
func ParseChallenges(m *sip.Message) []*Challenge {
	var list []*Challenge
	for _, h := range []sip.HeaderID{sip.HWWWAuthenticate, sip.HProxyAuthenticate} {
		for row := range m.Each(h) {
			c := &Challenge{Proxy: h == sip.HProxyAuthenticate}
			for _, f := range challengeField.FindAllStringSubmatch(row, -1) {
				value := f[2] + f[3]
				switch strings.ToLower(f[1]) {
				case "realm":
					c.Realm = value
				case "nonce":
					c.Nonce = value
				case "algorithm":
					c.Algorithm = value
				case "qop":
					c.Qop = value
				case "opaque":
					c.Opaque = value
				}
			}
			list = append(list, c)
		}
	}
	return list
}

func choose(list []*Challenge, style DigestStyle) *Challenge {
	want := "MD5"
	if style == SHA256 {
		want = "SHA-256"
	}
	for _, c := range list {
		if c.Algorithm == want || c.Algorithm == "" && want == "MD5" {
			return c
		}
	}
	return nil
}

// Answer is the value of the Authorization header for a challenge. Each call uses the next nonce count.
func (c *Challenge) Answer(style DigestStyle, user, password, method, uri string) string {
	c.nc++
	return c.AnswerCount(style, user, password, method, uri, c.nc)
}

// AnswerCount is Answer with a nonce count of the caller's.
func (c *Challenge) AnswerCount(style DigestStyle, user, password, method, uri string, nc int) string {
	newHash, algorithm := md5.New, "MD5"
	if style == SHA256 {
		newHash, algorithm = sha256.New, "SHA-256"
	}
	ha1 := hexHash(newHash, user+":"+c.Realm+":"+password)
	ha2 := hexHash(newHash, method+":"+uri)
	head := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s"`, user, c.Realm, c.Nonce, uri)
	if style == NoQop {
		return head + fmt.Sprintf(`, response="%s"`, hexHash(newHash, ha1+":"+c.Nonce+":"+ha2))
	}
	count, cnonce := fmt.Sprintf("%08x", nc), "0a4f113b"
	response := hexHash(newHash, strings.Join([]string{ha1, c.Nonce, count, cnonce, "auth", ha2}, ":"))
	return head + fmt.Sprintf(`, algorithm=%s, response="%s", qop=auth, nc=%s, cnonce="%s"`, algorithm, response, count, cnonce)
}

func hexHash(newHash func() hash.Hash, s string) string {
	h := newHash()
	h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil))
}
