package xmpp

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // SCRAM-SHA-1
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const nsSASL = "urn:ietf:params:xml:ns:xmpp-sasl"

// authenticate does SASL with what the server offers: PLAIN, which costs both sides the least, else SCRAM-SHA-1.
func (c *Client) authenticate(features []byte) error {
	switch {
	case bytes.Contains(features, []byte("<mechanism>PLAIN</mechanism>")):
		return c.plain()
	case bytes.Contains(features, []byte("<mechanism>SCRAM-SHA-1</mechanism>")):
		return c.scram()
	}
	return fmt.Errorf("xmpp: the server offers neither PLAIN nor SCRAM-SHA-1: %s", features)
}

func (c *Client) plain() error {
	secret := base64.StdEncoding.EncodeToString([]byte("\x00" + c.User + "\x00" + c.Password))
	if err := c.write("<auth xmlns='" + nsSASL + "' mechanism='PLAIN'>" + secret + "</auth>"); err != nil {
		return err
	}
	_, err := c.saslAnswer("success")
	return err
}

// saslAnswer reads the server's next word, which must be the expected one, and decodes what it holds.
func (c *Client) saslAnswer(want string) ([]byte, error) {
	stanza, err := c.stream.next()
	if err != nil {
		return nil, err
	}
	head := tag(stanza)
	if !bytes.HasPrefix(head, []byte("<"+want)) {
		return nil, fmt.Errorf("xmpp: %s could not sign in: %s", c.User, stanza)
	}
	text, _, _ := bytes.Cut(stanza[len(head):], []byte("<"))
	return base64.StdEncoding.DecodeString(string(text))
}

func (c *Client) scram() error {
	nonce := rand.Text()
	s := newScram(c.User, nonce)
	first := base64.StdEncoding.EncodeToString([]byte("n,," + s.first))
	if err := c.write("<auth xmlns='" + nsSASL + "' mechanism='SCRAM-SHA-1'>" + first + "</auth>"); err != nil {
		return err
	}
	challenge, err := c.saslAnswer("challenge")
	if err != nil {
		return err
	}
	last, err := s.answer(c.Password, string(challenge))
	if err != nil {
		return err
	}
	if err := c.write("<response xmlns='" + nsSASL + "'>" + base64.StdEncoding.EncodeToString([]byte(last)) + "</response>"); err != nil {
		return err
	}
	verdict, err := c.saslAnswer("success")
	if err != nil {
		return err
	}
	return s.verify(string(verdict))
}

// scram is an exchange of SCRAM-SHA-1, without channel binding.
type scram struct {
	nonce     string
	first     string // the client's, without the GS2 header
	signature []byte // that the server must show
}

func newScram(user, nonce string) *scram {
	user = strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user)
	return &scram{nonce: nonce, first: "n=" + user + ",r=" + nonce}
}

// answer is the client's final message.
func (s *scram) answer(password, challenge string) (string, error) {
	field := map[string]string{}
	for f := range strings.SplitSeq(challenge, ",") {
		name, value, _ := strings.Cut(f, "=")
		field[name] = value
	}
	salt, err := base64.StdEncoding.DecodeString(field["s"])
	if err != nil || len(salt) == 0 || !strings.HasPrefix(field["r"], s.nonce) {
		return "", fmt.Errorf("xmpp: the challenge %q cannot be answered", challenge)
	}
	rounds, err := strconv.Atoi(field["i"])
	if err != nil || rounds < 1 || rounds > 1<<20 {
		return "", fmt.Errorf("xmpp: the challenge %q cannot be answered", challenge)
	}
	salted, err := pbkdf2.Key(sha1.New, password, salt, rounds, sha1.Size)
	if err != nil {
		return "", err
	}
	clientKey := mac(salted, "Client Key")
	stored := sha1.Sum(clientKey) //nolint:gosec // SCRAM-SHA-1
	final := "c=biws,r=" + field["r"]
	all := s.first + "," + challenge + "," + final
	proof := mac(stored[:], all)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	s.signature = mac(mac(salted, "Server Key"), all)
	return final + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

// verify checks the server's final message.
func (s *scram) verify(final string) error {
	v, found := strings.CutPrefix(final, "v=")
	if got, err := base64.StdEncoding.DecodeString(v); !found || err != nil || !hmac.Equal(got, s.signature) {
		return errors.New("xmpp: the server does not know the password itself")
	}
	return nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha1.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
