// Package config is the configuration of the server: one struct with a section per part, defaults and validation. The
// manual page is generated from the comments in sections.go.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
)

// Default is the configuration of an empty file, without the domain: Load and Parse fill that in with the machine's name.
func Default() *Config {
	return &Config{
		Data: "parley-data",
		Log:  "info",
		SIP: SIP{
			UDP:          []string{"0.0.0.0:5060"},
			TCP:          []string{"0.0.0.0:5060"},
			TLS:          []string{"0.0.0.0:5061"},
			Certificate:  "auto",
			Digest:       []string{"MD5"},
			LegacyDigest: true,
			Methods: []string{"ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH",
				"REFER", "REGISTER", "SUBSCRIBE", "UPDATE"},
			InfoTypes: []string{"application/dtmf-relay", "application/dtmf", "application/media_control+xml", "application/hook-flash"},
		},
		HTTP:    HTTP{Listen: "0.0.0.0:8443", TLS: "auto", SessionLifetime: 30 * 24 * time.Hour, Rate: 50, SignInRate: 10},
		Metrics: Metrics{Listen: "127.0.0.1:9090"},
		Limits: Limits{
			Datagram:              65_535,
			HeaderBytes:           16_384,
			Body:                  65_536,
			Headers:               128,
			Vias:                  70,
			Line:                  8192,
			MaxBreadth:            60,
			Connections:           20_000,
			ConnectionsPerAddress: 512,
			HandshakeTimeout:      10 * time.Second,
			GreetingTimeout:       30 * time.Second,
			MessageTimeout:        15 * time.Second,
			IdleTimeout:           5 * time.Minute,
			WriteQueue:            1 << 20,
			Transactions:          100_000,
			UnprovenRate:          500,
			PasswordFailures:      5,
			Subscriptions:         100,
			Streams:               20_000,
		},
		Message:  Message{Window: 24 * time.Hour, DeviceLapse: 30 * 24 * time.Hour, Rate: 50},
		Register: Register{MinExpires: time.Minute, DefaultExpires: time.Hour, MaxExpires: 24 * time.Hour, Bindings: 20, Contacts: 10, FlowTimer: 2 * time.Minute},
		Call:     Call{RingTimeout: 200 * time.Second, SessionExpires: 30 * time.Minute, MinSE: 90 * time.Second},
		Presence: Presence{List: "contacts", Interval: 5 * time.Second, Rate: 5000, Subscriptions: 2000},
		Push:     Push{Enabled: true},
		Files:    Files{MaxSize: 100 << 20},
	}
}

// Load reads and checks a file. An empty path is an empty file. The error (kind Invalid, or NotFound) has a line for
// each mistake and says what to write instead.
func Load(path string) (*Config, error) {
	if path == "" {
		return Parse("", nil)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, errs.Wrap(errs.KindOf(err), err, "config: give the path of an existing file with -c, or none for the defaults")
	}
	return Parse(path, text)
}

// Parse is Load for a text in hand. The name is the file's in errors; relative paths of secrets are relative to its folder.
func Parse(name string, text []byte) (*Config, error) {
	c := Default()
	if err := decode(text, c); err != nil {
		return nil, errs.Wrap(errs.Invalid, err, "config: "+title(name))
	}
	if err := c.secrets(filepath.Dir(name)); err != nil {
		return nil, errs.Wrap(errs.Invalid, err, "config: "+title(name))
	}
	if err := c.Check(); err != nil {
		return nil, errs.Wrap(errs.Invalid, err, "config: "+title(name))
	}
	return c, nil
}

func title(name string) string {
	if name == "" {
		return "the defaults"
	}
	return name
}

// DigestFor is what holds on one listener, named as in sip.listener ("tcp:0.0.0.0:5060"): the digest algorithms offered,
// best first, and whether answers without qop are taken.
func (s *SIP) DigestFor(listener string) (algorithms []string, legacy bool) {
	algorithms, legacy = s.Digest, s.LegacyDigest
	l := s.Listener[listener]
	if len(l.Digest) > 0 {
		algorithms = l.Digest
	}
	if l.LegacyDigest != nil {
		legacy = *l.LegacyDigest
	}
	return algorithms, legacy
}

// IsDomain says that this server is responsible for a host name (in any case, without a port).
func (c *Config) IsDomain(host string) bool {
	return slices.ContainsFunc(c.Domains, func(d string) bool { return strings.EqualFold(d, host) })
}

// secrets replaces "env:NAME" and "file:PATH" in the fields that may hold a secret by what is there.
func (c *Config) secrets(folder string) error {
	for _, f := range fields(c) {
		if f.secret {
			value, err := secret(f.value.String(), folder)
			if err != nil {
				return fmt.Errorf("%s: %w", f.key, err)
			}
			f.value.SetString(value)
		}
	}
	return nil
}

func secret(s, folder string) (string, error) {
	if name, ok := strings.CutPrefix(s, "env:"); ok {
		value, ok := os.LookupEnv(name)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		return value, nil
	}
	if path, ok := strings.CutPrefix(s, "file:"); ok {
		if !filepath.IsAbs(path) {
			path = filepath.Join(folder, path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("cannot read the secret: %w", err)
		}
		return strings.TrimSpace(string(b)), nil
	}
	return s, nil
}

// machine is the machine's name, in the form of a domain.
func machine() string {
	name, err := os.Hostname()
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if err != nil || !isName(name) {
		return "localhost"
	}
	return name
}
