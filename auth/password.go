package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost of argon2id: 19 MiB, two passes, one lane (RFC 9106 §4, scaled to a server that
// checks many). One hash takes about 20 ms of one core, so a caller that hashes for
// strangers bounds how many run at once.
const (
	argonMemory = 19 << 10 // KiB
	argonTime   = 2
	argonLanes  = 1
	argonSalt   = 16
	argonKey    = 32
)

// Longest password that is accepted, in bytes.
const MaxPassword = 512

// ErrPassword is wrapped by errors about a password that cannot be set.
var ErrPassword = errors.New("auth: unusable password")

// CheckPassword says why a password cannot be set: empty, too long, or with control
// characters, which some SIP clients drop while they hash.
func CheckPassword(password string) error {
	switch {
	case password == "":
		return fmt.Errorf("%w: it is empty", ErrPassword)
	case len(password) > MaxPassword:
		return fmt.Errorf("%w: it is longer than %d bytes", ErrPassword, MaxPassword)
	case strings.ContainsFunc(password, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return fmt.Errorf("%w: it contains control characters", ErrPassword)
	}
	return nil
}

// HashPassword makes the argon2id hash of a person's password in the usual text form,
// $argon2id$v=19$m=…,t=…,p=…$salt$hash. Errors wrap ErrPassword.
func HashPassword(password string) (string, error) {
	if err := CheckPassword(password); err != nil {
		return "", err
	}
	salt := make([]byte, argonSalt)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonLanes, argonKey)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes,
		b64.EncodeToString(salt), b64.EncodeToString(key)), nil
}

// VerifyPassword tells whether password belongs to an encoded hash of HashPassword,
// also one made with other costs. A hash that cannot be read matches nothing.
func VerifyPassword(encoded, password string) bool {
	var version int
	var memory, time uint32
	var lanes uint8
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || len(password) > MaxPassword {
		return false
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &time, &lanes); err != nil {
		return false
	}
	// The costs come from our own database, but a damaged row must not ask for the moon.
	if memory < 8 || memory > 1<<20 || time < 1 || time > 64 || lanes < 1 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil || len(salt) == 0 {
		return false
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(want) < 16 || len(want) > 64 {
		return false
	}
	got := argon2.IDKey([]byte(password), salt, time, memory, lanes, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1
}

// deviceAlphabet has no letter or digit that is taken for another one.
const deviceAlphabet = "abcdefghjkmnpqrstuvwxyz23456789"

// NewDevicePassword makes a password for one device: four groups of five characters,
// 99 bits, easy to type on a telephone.
func NewDevicePassword() string {
	const length, group = 20, 5
	out := make([]byte, 0, length+length/group)
	var b [1]byte
	for n := 0; n < length; {
		rand.Read(b[:])
		// Values past the last whole multiple would favour the first letters.
		if int(b[0]) >= 256/len(deviceAlphabet)*len(deviceAlphabet) {
			continue
		}
		if n > 0 && n%group == 0 {
			out = append(out, '-')
		}
		out = append(out, deviceAlphabet[int(b[0])%len(deviceAlphabet)])
		n++
	}
	return string(out)
}
