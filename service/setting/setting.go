// Package setting keeps what people have set, the same on all their devices, and where their notifications go.
package setting

import (
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// Limits of one account.
const (
	MaxNames    = 200
	MaxName     = 64
	MaxValue    = 4 << 10
	MaxAll      = 64 << 10 // names and values together, in bytes
	maxEndpoint = 2048
)

// Receipts is the one setting that the server reads: "off" when nobody shall hear what the person has read.
const Receipts = "receipts"

// Options are what a Service is made of.
type Options struct {
	Store store.PersonSettings
	Push  store.PushSubscriptions
	// Changed is told that somebody has changed settings. It does not wait.
	Changed func(aor string)
	// Endpoint says why notifications cannot be sent to a URL; nil takes all.
	Endpoint func(u *url.URL) error
	// Pushed is told that somebody wants notifications. It does not wait. nil: nobody sends any.
	Pushed func(aor string)
}

// Service is safe for concurrent use.
type Service struct{ o Options }

// New makes a Service.
func New(o Options) *Service { return &Service{o} }

// All returns what an account has set.
func (s *Service) All(ctx context.Context, aor string) (map[string]string, error) {
	return s.o.Store.PersonSettings(ctx, aor)
}

// Value returns one setting of an account, "" when it is not set.
func (s *Service) Value(ctx context.Context, aor, name string) (string, error) {
	all, err := s.All(ctx, aor)
	return all[name], err
}

// Set changes some settings; an empty value removes one. It returns all. Errors: Invalid for a name or value that cannot be,
// TooMany beyond MaxNames or MaxAll.
func (s *Service) Set(ctx context.Context, aor string, set map[string]string) (map[string]string, error) {
	if len(set) > MaxNames {
		return nil, errs.New(errs.TooMany, "setting: at most %d settings", MaxNames)
	}
	for name, value := range set {
		if name == "" || len(name) > MaxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" {
			return nil, errs.New(errs.Invalid, "setting: names have 1 to %d letters, digits, dots and hyphens", MaxName)
		}
		if len(value) > MaxValue || !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
			return nil, errs.New(errs.Invalid, "setting: the value of %s must be up to %d bytes of text", name, MaxValue)
		}
	}
	all, err := s.o.Store.SetPersonSettings(ctx, aor, set, func(all map[string]string) error {
		size := 0
		for name, value := range all {
			size += len(name) + len(value)
		}
		if len(all) > MaxNames || size > MaxAll {
			return errs.New(errs.TooMany, "setting: at most %d settings of %d kB in all", MaxNames, MaxAll>>10)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.o.Changed(aor)
	return all, nil
}

// AddPush asks for notifications of a session.
func (s *Service) AddPush(ctx context.Context, p store.PushSubscription) error {
	if s.o.Pushed == nil {
		return errs.Say(errs.New(errs.Unavailable, "setting: no Web Push"), "this server sends no notifications")
	}
	u, err := url.Parse(p.Endpoint)
	if err != nil || len(p.Endpoint) > maxEndpoint || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errs.New(errs.Invalid, "setting: endpoint must be an https URL of up to %d bytes", maxEndpoint)
	}
	if s.o.Endpoint != nil {
		if err := s.o.Endpoint(u); err != nil {
			return err
		}
	}
	// RFC 8291 §3.2: a point on P-256, uncompressed, and 16 bytes.
	key, err := decode(p.P256DH)
	if err == nil {
		_, err = ecdh.P256().NewPublicKey(key)
	}
	secret, bad := decode(p.Auth)
	if err != nil || bad != nil || len(secret) != 16 {
		return errs.New(errs.Invalid, "setting: p256dh and auth must be the keys that the browser gave")
	}
	p.Created = time.Now().UTC()
	if err := s.o.Push.AddPush(ctx, p); err != nil {
		return err
	}
	s.o.Pushed(p.AOR)
	return nil
}

// decode reads base64url with or without padding.
func decode(text string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
}

// RemovePush takes that back.
func (s *Service) RemovePush(ctx context.Context, aor, endpoint string) error {
	return s.o.Push.RemovePush(ctx, aor, endpoint)
}
