package auth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// keyHeader is the first line of a key file. What follows is 32 bytes in base64.
const keyHeader = "parley key 1"

// KeySetting is the setting under which the store keeps the fingerprint of the key
// that its secrets are sealed with.
const KeySetting = "auth.key"

// Keys holds the master key, which lives in a file outside the database, and the keys
// derived from it. A copy of the database alone is therefore no list of digest secrets.
type Keys struct {
	master []byte
	seal   cipher.AEAD
}

// OpenKeys reads the key file at path, or creates it with mode 0600 on the first start.
// The store's fingerprint decides what "first" is: a store that already holds secrets
// is never given a new key. Errors: errs.NotFound, the file of a used store is missing;
// errs.Conflict, it holds another key than the store was sealed with; errs.Invalid, it
// cannot be read as a key or others may read it.
func OpenKeys(ctx context.Context, path string, s store.Settings) (*Keys, error) {
	value, err := s.Setting(ctx, KeySetting)
	if err != nil && !errors.Is(err, errs.NotFound) {
		return nil, fmt.Errorf("auth: reading the key's fingerprint: %w", err)
	}
	known, sealed := string(value), len(value) > 0
	k, err := readKeys(path)
	if errors.Is(err, fs.ErrNotExist) {
		if sealed {
			return nil, errs.New(errs.NotFound, "auth: key file %s is missing: the passwords in this store are sealed with key %s, restore that file from a backup", path, known)
		}
		k, err = createKeys(path)
	}
	if err != nil {
		return nil, err
	}
	if !sealed {
		if err := s.SetSetting(ctx, KeySetting, []byte(k.Fingerprint())); err != nil {
			return nil, fmt.Errorf("auth: storing the key's fingerprint: %w", err)
		}
		return k, nil
	}
	if known != k.Fingerprint() {
		return nil, errs.New(errs.Conflict, "auth: key file %s holds key %s, but the passwords in this store are sealed with key %s: restore the key file that belongs to this store", path, k.Fingerprint(), known)
	}
	return k, nil
}

// NewKeys takes a master key of 32 bytes. Tests and tools use it; a server uses OpenKeys.
func NewKeys(master []byte) (*Keys, error) {
	if len(master) != 32 {
		return nil, errs.New(errs.Invalid, "auth: a key has 32 bytes, not %d", len(master))
	}
	k := &Keys{master: append([]byte(nil), master...)}
	block, err := aes.NewCipher(k.Derive("ha1"))
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "auth: making the cipher")
	}
	if k.seal, err = cipher.NewGCM(block); err != nil {
		return nil, errs.Wrap(errs.Internal, err, "auth: making the cipher")
	}
	return k, nil
}

func readKeys(path string) (*Keys, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("auth: reading the key file: %w", err)
	}
	if !st.Mode().IsRegular() || st.Size() > 4096 {
		return nil, errs.New(errs.Invalid, "auth: %s is not a key file", path)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, errs.New(errs.Invalid, "auth: key file %s may be read by others (mode %04o): chmod 600 it", path, st.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("auth: reading the key file: %w", err)
	}
	head, rest, ok := strings.Cut(string(b), "\n")
	if !ok || strings.TrimSpace(head) != keyHeader {
		return nil, errs.New(errs.Invalid, "auth: %s is not a key file: its first line should be %q", path, keyHeader)
	}
	master, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	if err != nil || len(master) != 32 {
		return nil, errs.New(errs.Invalid, "auth: key file %s is damaged: its second line should be 32 bytes in base64", path)
	}
	return NewKeys(master)
}

// createKeys writes a new key so that after a crash there is either the whole file or
// none, and never overwrites one.
func createKeys(path string) (_ *Keys, err error) {
	master := make([]byte, 32)
	rand.Read(master)
	tmp := path + ".new"
	// What a crash left behind was never used: the store had no fingerprint yet.
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("auth: creating the key file: %w", err)
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("auth: creating the key file: %w", err)
	}
	_, err = f.WriteString(keyHeader + "\n" + base64.StdEncoding.EncodeToString(master) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(tmp, path)
	}
	err = errors.Join(err, os.Remove(tmp))
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("auth: creating the key file: %w", err)
	}
	return NewKeys(master)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Fingerprint names the key without telling it: 16 hexadecimal digits.
func (k *Keys) Fingerprint() string {
	h := sha256.Sum256(k.Derive("fingerprint"))
	return hex.EncodeToString(h[:8])
}

// Derive makes a key of 32 bytes for one purpose (RFC 5869). The same label always
// gives the same key, so what it protects survives a restart.
func (k *Keys) Derive(label string) []byte {
	key, err := hkdf.Key(sha256.New, k.master, nil, "parley "+label+" 1", 32)
	if err != nil {
		panic("auth: hkdf refused 32 bytes: " + err.Error()) // cannot be: the length is a constant
	}
	return key
}

// sealVersion is the first byte of sealed values.
const sealVersion = 1

// SealHA1 makes the two sealed digest secrets of a password for an account. Each holds
// HA1 twice, for clients that sign in as "alice" and for those that sign in as
// "alice@example.com". The account's name is bound in: a sealed value copied to another
// row does not open there. Errors wrap ErrPassword or errs.Invalid.
func (k *Keys) SealHA1(aor, password string) (md5, sha256 []byte, err error) {
	if err := CheckPassword(password); err != nil {
		return nil, nil, err
	}
	user, domain, ok := strings.Cut(aor, "@")
	if !ok || user == "" || domain == "" {
		return nil, nil, errs.New(errs.Invalid, "auth: %q is not user@domain", aor)
	}
	user = sip.Unescape(user) // clients hash the name as it is typed
	one := func(a Algorithm) []byte {
		plain := append(HA1(a, user, domain, password), HA1(a, user+"@"+domain, domain, password)...)
		out := make([]byte, 1+k.seal.NonceSize(), 1+k.seal.NonceSize()+len(plain)+k.seal.Overhead())
		out[0] = sealVersion
		rand.Read(out[1:])
		return k.seal.Seal(out, out[1:], plain, sealedFor(a, aor))
	}
	return one(MD5), one(SHA256), nil
}

// OpenHA1 opens what SealHA1 made: HA1 for the short name, followed by HA1 for the long
// one. The error is errs.Invalid: another key, another account, or damage.
func (k *Keys) OpenHA1(a Algorithm, aor string, sealed []byte) ([]byte, error) {
	n := k.seal.NonceSize()
	if len(sealed) < 1+n || sealed[0] != sealVersion {
		return nil, errs.New(errs.Invalid, "auth: the %s secret of %s is not in a known form", a, aor)
	}
	plain, err := k.seal.Open(nil, sealed[1:1+n], sealed[1+n:], sealedFor(a, aor))
	if err != nil || len(plain) != 2*a.size() {
		return nil, errs.New(errs.Invalid, "auth: the %s secret of %s does not open with this key", a, aor)
	}
	return plain, nil
}

func sealedFor(a Algorithm, aor string) []byte { return []byte("ha1\x00" + a.String() + "\x00" + aor) }

// VerifySealed tells whether password belongs to an account of which only the sealed
// SHA-256 secret is known: accounts that came in by the thousand get their argon2id hash
// when their owner first signs in with the password.
func (k *Keys) VerifySealed(aor string, sha256 []byte, password string) bool {
	plain, err := k.OpenHA1(SHA256, aor, sha256)
	if err != nil {
		return false
	}
	user, domain, _ := strings.Cut(aor, "@")
	user = sip.Unescape(user)
	return subtle.ConstantTimeCompare(HA1(SHA256, user, domain, password), plain[:SHA256.size()]) == 1
}
