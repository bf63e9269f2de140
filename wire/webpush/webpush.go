// Package webpush makes what a server sends to a browser's push service: the encrypted message (RFC 8291) and the proof of who
// sends it (RFC 8292).
package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

// MaxText is the longest text in bytes that Encrypt takes: push services take 4,096 bytes with what is added (RFC 8291 §4).
const MaxText = 3 << 10

// Encoding is the Content-Encoding of what Encrypt makes (RFC 8188).
const Encoding = "aes128gcm"

const (
	recordSize = 4096
	saltSize   = 16
)

var b64 = base64.RawURLEncoding

// Encrypt makes the body for a browser whose public key (an uncompressed point on P-256) and secret (16 bytes) are given.
func Encrypt(text, public, secret []byte) ([]byte, error) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("webpush: making a key: %w", err)
	}
	salt := make([]byte, saltSize)
	rand.Read(salt)
	return encrypt(text, public, secret, key, salt)
}

// encrypt is RFC 8291 §3 with RFC 8188 §2: one record.
func encrypt(text, public, secret []byte, key *ecdh.PrivateKey, salt []byte) ([]byte, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("webpush: a text of %d bytes is too long", len(text))
	}
	to, err := ecdh.P256().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("webpush: the browser's key: %w", err)
	}
	shared, err := key.ECDH(to)
	if err != nil {
		return nil, fmt.Errorf("webpush: the browser's key: %w", err)
	}
	// RFC 8291 §3.4.
	own := key.PublicKey().Bytes()
	ikm, err := hkdf.Key(sha256.New, shared, secret, "WebPush: info\x00"+string(public)+string(own), 32)
	if err != nil {
		return nil, fmt.Errorf("webpush: deriving keys: %w", err)
	}
	// RFC 8188 §2.2, §2.3.
	cek, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, fmt.Errorf("webpush: deriving keys: %w", err)
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, fmt.Errorf("webpush: deriving keys: %w", err)
	}
	block, err := aes.NewCipher(cek)
	if err != nil {
		return nil, fmt.Errorf("webpush: making the cipher: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("webpush: making the cipher: %w", err)
	}
	// RFC 8188 §2.1: salt, record size, and the key's id, which is the sender's public key.
	out := append(make([]byte, 0, saltSize+5+len(own)+len(text)+1+gcm.Overhead()), salt...)
	out = binary.BigEndian.AppendUint32(out, recordSize)
	out = append(append(out, byte(len(own))), own...)
	padded := append(append(make([]byte, 0, len(text)+1), text...), 2) // the delimiter of the last record
	return gcm.Seal(out, nonce, padded, nil), nil
}

// Sender signs what is sent (VAPID).
type Sender struct {
	key     *ecdsa.PrivateKey
	public  string
	subject string
}

// NewSender takes a private key of P-256, 32 bytes, and where to reach the operator: "mailto:…" or "https://…".
func NewSender(private []byte, subject string) (*Sender, error) {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), private)
	if err != nil {
		return nil, fmt.Errorf("webpush: the server's key: %w", err)
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("webpush: the server's key: %w", err)
	}
	return &Sender{key, b64.EncodeToString(public), subject}, nil
}

// Public is the key that browsers ask for, base64url (RFC 8292 §3.2).
func (s *Sender) Public() string { return s.public }

// Authorization is the header for a push service, by its origin ("https://push.example.net"), until a time at most 24 hours
// away (RFC 8292 §2, §3).
func (s *Sender) Authorization(origin string, until time.Time) (string, error) {
	claims, err := json.Marshal(struct {
		Audience string `json:"aud"`
		Expires  int64  `json:"exp"`
		Subject  string `json:"sub"`
	}{origin, until.Unix(), s.subject})
	if err != nil {
		return "", fmt.Errorf("webpush: the token: %w", err)
	}
	signed := b64.EncodeToString([]byte(`{"typ":"JWT","alg":"ES256"}`)) + "." + b64.EncodeToString(claims)
	sum := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		return "", fmt.Errorf("webpush: signing: %w", err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	v.FillBytes(sig[32:])
	return "vapid t=" + signed + "." + b64.EncodeToString(sig) + ", k=" + s.public, nil
}
