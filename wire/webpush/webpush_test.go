package webpush

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"
)

func raw(t *testing.T, text string) []byte {
	t.Helper()
	b, err := b64.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 8291 §5.
func TestEncrypt(t *testing.T) {
	public := raw(t, "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcx aOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4")
	secret := raw(t, "BTBZMqHH6r4Tts7J_aSIgg")
	key, err := ecdh.P256().NewPrivateKey(raw(t, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := encrypt([]byte("When I grow up, I want to be a watermelon"), public, secret, key, raw(t, "DGv6ra1nlYgDCS1FRnbzlw"))
	want := raw(t, `DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml
		mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT
		pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN`)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v\n got %s\nwant %s", err, b64.EncodeToString(got), b64.EncodeToString(want))
	}
	one, err := Encrypt(make([]byte, MaxText), public, secret)
	two, _ := Encrypt(make([]byte, MaxText), public, secret)
	if err != nil || bytes.Equal(one[:16], two[:16]) || len(one) > recordSize {
		t.Errorf("%d bytes, %v", len(one), err)
	}
	if _, err := Encrypt(make([]byte, MaxText+1), public, secret); err == nil {
		t.Error("a text that is too long")
	}
	if _, err := Encrypt(nil, public[:64], secret); err == nil {
		t.Error("a key that is none")
	}
}

// verify checks the signature of "vapid t=…, k=…", and returns the claims.
func verify(t *testing.T, header string) string {
	t.Helper()
	token, key, ok := strings.Cut(strings.TrimPrefix(header, "vapid t="), ", k=")
	part := strings.Split(token, ".")
	if !ok || len(part) != 3 {
		t.Fatal(header)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw(t, key))
	if err != nil {
		t.Fatal(err)
	}
	sum, sig := sha256.Sum256([]byte(part[0]+"."+part[1])), raw(t, part[2])
	if len(sig) != 64 || !ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		t.Errorf("%s is not signed by %s", token, key)
	}
	return string(raw(t, part[1]))
}

// RFC 8292 §2.4, and what we make is of the same form.
func TestAuthorization(t *testing.T) {
	verify(t, "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0."+
		"i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA, "+
		"k=BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs")
	s, err := NewSender(bytes.Repeat([]byte{7}, 32), "mailto:push@example.com")
	if err != nil {
		t.Fatal(err)
	}
	header, err := s.Authorization("https://push.example.net", time.Unix(1453523768, 0))
	if err != nil || !strings.HasSuffix(header, ", k="+s.Public()) {
		t.Fatal(header, err)
	}
	var claims struct {
		Aud, Sub string
		Exp      int64
	}
	if err := json.Unmarshal([]byte(verify(t, header)), &claims); err != nil || claims.Aud != "https://push.example.net" || claims.Sub != "mailto:push@example.com" || claims.Exp != 1453523768 {
		t.Error(claims, err)
	}
	if _, err := NewSender(make([]byte, 32), "mailto:x"); err == nil {
		t.Error("0 is no key")
	}
}
