package auth

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-im/parley/base/errs"
)

func TestOpenKeys(t *testing.T) {
	st := openStore(t).Settings()
	path := filepath.Join(t.TempDir(), "keys")
	k, err := OpenKeys(t.Context(), path, st)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", fi.Mode(), err)
	}
	again, err := OpenKeys(t.Context(), path, st)
	if err != nil || !bytes.Equal(k.Derive("x"), again.Derive("x")) || bytes.Equal(k.Derive("x"), k.Derive("y")) {
		t.Fatalf("the second start: %v", err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "keys")
	if _, err := OpenKeys(t.Context(), other, openStore(t).Settings()); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name    string
		content []byte // nil: no file
		mode    os.FileMode
		want    errs.Kind
		says    string
	}{
		{"missing", nil, 0, errs.NotFound, "restore that file"},
		{"of another store", foreign, 0o600, errs.Conflict, "restore the key file"},
		{"readable by others", good, 0o644, errs.Invalid, "chmod 600"},
		{"empty", []byte{}, 0o600, errs.Invalid, "first line"},
		{"cut", good[:len(good)-10], 0o600, errs.Invalid, "damaged"},
		{"another version", []byte(strings.Replace(string(good), "key 1", "key 2", 1)), 0o600, errs.Invalid, "first line"},
		{"good", good, 0o600, 0, ""},
	}
	for _, r := range rows {
		os.Remove(path)
		if r.content != nil {
			if err := os.WriteFile(path, r.content, r.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, r.mode); err != nil {
				t.Fatal(err)
			}
		}
		_, err := OpenKeys(t.Context(), path, st)
		if r.want == 0 {
			if err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
			continue
		}
		if !errors.Is(err, r.want) || !strings.Contains(err.Error(), r.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", r.name, err)
		}
		if secret := strings.TrimSpace(string(good[len(keyHeader)+1:])); err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells the key", r.name)
		}
	}
}

func TestSealHA1(t *testing.T) {
	k, err := NewKeys(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	a, b, err := k.SealHA1("j%20doe@example.com", "secret")
	if err != nil {
		t.Fatal(err)
	}
	a2, _, _ := k.SealHA1("j%20doe@example.com", "secret")
	if bytes.Equal(a, a2) {
		t.Error("sealing twice gives the same bytes")
	}
	want := append(HA1(MD5, "j doe", "example.com", "secret"), HA1(MD5, "j doe@example.com", "example.com", "secret")...)
	if got, err := k.OpenHA1(MD5, "j%20doe@example.com", a); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v", got, err)
	}
	if !k.VerifySealed("j%20doe@example.com", b, "secret") || k.VerifySealed("j%20doe@example.com", b, "Secret") || k.VerifySealed("j%20doe@example.com", nil, "secret") {
		t.Error("VerifySealed is wrong")
	}
	otherKey, _ := NewKeys(bytes.Repeat([]byte{1}, 32))
	changed := bytes.Clone(a)
	changed[len(changed)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another account":   func() ([]byte, error) { return k.OpenHA1(MD5, "bob@example.com", a) },
		"another algorithm": func() ([]byte, error) { return k.OpenHA1(SHA256, "j%20doe@example.com", a) },
		"another key":       func() ([]byte, error) { return otherKey.OpenHA1(MD5, "j%20doe@example.com", a) },
		"changed":           func() ([]byte, error) { return k.OpenHA1(MD5, "j%20doe@example.com", changed) },
		"empty":             func() ([]byte, error) { return k.OpenHA1(MD5, "j%20doe@example.com", nil) },
		"swapped":           func() ([]byte, error) { return k.OpenHA1(MD5, "j%20doe@example.com", b) },
	} {
		if _, err := open(); !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, aor := range []string{"", "alice", "@example.com", "alice@"} {
		if _, _, err := k.SealHA1(aor, "x"); !errors.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", aor, err)
		}
	}
	if _, _, err := k.SealHA1("alice@example.com", ""); !errors.Is(err, ErrPassword) {
		t.Errorf("no password: %v", err)
	}
	if _, err := NewKeys(nil); !errors.Is(err, errs.Invalid) {
		t.Errorf("no key: %v", err)
	}
}
