package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// knownMethods are the methods of RFC 3261 and its standard extensions, all that this server can handle.
var knownMethods = Default().SIP.Methods

// Check finds mistakes in the values and fills in the domain of an empty list. Each line of the error says what to do.
func (c *Config) Check() error {
	var p problems
	p.general(c)
	p.sip(&c.SIP)
	p.listeners(c)
	p.doors(c)
	p.limits(&c.Limits)
	p.times(c)
	p.files(&c.Files)
	return errors.Join(p...)
}

// problems collects what is wrong, so that one run shows all of it.
type problems []error

func (p *problems) addf(format string, args ...any) {
	*p = append(*p, fmt.Errorf(format, args...))
}

func (p *problems) general(c *Config) {
	if c.Data == "" {
		p.addf(`data is empty: name a folder, for example data = "parley-data"`)
	}
	if len(c.Domains) == 0 {
		c.Domains = []string{machine()}
	}
	for i, d := range c.Domains {
		c.Domains[i] = strings.ToLower(strings.TrimSuffix(d, "."))
		if !isName(c.Domains[i]) {
			p.addf(`domains: %q is not a domain: write a name without port, such as "example.com"`, d)
		}
		if slices.Contains(c.Domains[:i], c.Domains[i]) {
			p.addf("domains: %q is listed twice", d)
		}
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log) {
		p.addf(`log: %q is no level: write "debug", "info", "warn" or "error"`, c.Log)
	}
	if c.Store.URL != "" {
		// The address may hold a password, so it is not repeated here.
		u, err := url.Parse(c.Store.URL)
		if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
			p.addf("store.url is not the address of a database: write postgres://user:password@host/database, or nothing for SQLite")
		}
	}
}

func (p *problems) sip(s *SIP) {
	p.digest("sip.digest", s.Digest)
	if len(s.Digest) == 0 {
		p.addf(`sip.digest is empty: nobody could sign in; write digest = ["MD5"]`)
	}
	for _, m := range s.Methods {
		if !slices.Contains(knownMethods, m) {
			p.addf("sip.methods: %q is not known here; methods are %s", m, strings.Join(knownMethods, " "))
		}
	}
	for _, t := range s.InfoTypes {
		major, _, ok := strings.Cut(t, "/")
		if !ok || t != strings.ToLower(t) || strings.ContainsAny(t, " ;,*") {
			p.addf(`sip.info_types: %q is not a media type: write it in lower case without parameters, such as "application/dtmf-relay"`, t)
			continue
		}
		if slices.Contains([]string{"text", "message", "multipart"}, major) {
			p.addf("sip.info_types: %q can carry text, and INFO is not recorded; take it out of the list", t)
		}
	}
	if _, err := netip.ParseAddr(s.Advertise); s.Advertise != "" && err != nil && !isName(s.Advertise) {
		p.addf("sip.advertise: %q is neither a host name nor an IP address (and has no port)", s.Advertise)
	}
	p.certificate("sip.certificate", s.Certificate, s.Key, "auto")
}

func (p *problems) digest(key string, list []string) {
	for i, a := range list {
		if a != "MD5" && a != "SHA-256" {
			p.addf(`%s: %q is not supported: write "MD5" or "SHA-256"`, key, a)
		}
		if slices.Contains(list[:i], a) {
			p.addf("%s: %q is listed twice", key, a)
		}
	}
}

func (p *problems) certificate(key, value, keyFile string, words ...string) {
	if value == "" {
		p.addf("%s is empty: write %q or the path of a PEM file", key, words[0])
	}
	if keyFile != "" && slices.Contains(words, value) {
		p.addf("%s is %q, so the key's file %s would not be used: name the certificate's file, or take the key out", key, value, keyFile)
	}
}

// listeners checks the addresses of sip and the overrides by listener.
func (p *problems) listeners(c *Config) {
	names := map[string]bool{}
	for _, l := range []struct {
		kind string
		list []string
	}{{"udp", c.SIP.UDP}, {"tcp", c.SIP.TCP}, {"tls", c.SIP.TLS}} {
		for _, a := range l.list {
			p.address("sip."+l.kind, a)
			if names[l.kind+":"+a] {
				p.addf("sip.%s: %q is listed twice", l.kind, a)
			}
			names[l.kind+":"+a] = true
			if l.kind == "tls" && names["tcp:"+a] && !strings.HasSuffix(a, ":0") {
				p.addf("sip.tls: %q is also in sip.tcp: give TLS its own port, usually 5061", a)
			}
		}
	}
	if c.HTTP.Listen != "" {
		names[c.WebSocketListener()] = true
	}
	for name, l := range c.SIP.Listener {
		if !names[name] {
			known := make([]string, 0, len(names))
			for n := range names {
				known = append(known, n)
			}
			slices.Sort(known)
			p.addf("sip.listener: there is no listener %q; listeners are %s", name, strings.Join(known, " "))
		}
		p.digest(fmt.Sprintf("sip.listener.%q.digest", name), l.Digest)
	}
}

// WebSocketListener is the name under which sip.listener knows the WebSocket: "wss:" or, without TLS, "ws:" and http.listen.
func (c *Config) WebSocketListener() string {
	if c.HTTP.TLS == "off" {
		return "ws:" + c.HTTP.Listen
	}
	return "wss:" + c.HTTP.Listen
}

func (p *problems) address(key, value string) {
	if a, err := netip.ParseAddrPort(value); err != nil || a.Addr().Zone() != "" {
		p.addf(`%s: %q is not an address with port: write one such as "0.0.0.0:5060" or "[::]:5060"`, key, value)
	}
}

func (p *problems) doors(c *Config) {
	if c.HTTP.Listen != "" {
		p.address("http.listen", c.HTTP.Listen)
	}
	p.certificate("http.tls", c.HTTP.TLS, c.HTTP.Key, "auto", "off")
	for _, o := range c.HTTP.Origins {
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			p.addf(`http.origins: %q is not an origin: write scheme, host and perhaps port, such as "https://chat.example.com"`, o)
		}
	}
	for _, text := range c.HTTP.Proxies {
		if _, err := proxy(text); err != nil {
			p.addf("http.proxies: %q %w", text, err)
		}
	}
	if c.Metrics.Listen != "" {
		p.address("metrics.listen", c.Metrics.Listen)
		if c.Metrics.Listen == c.HTTP.Listen && !strings.HasSuffix(c.HTTP.Listen, ":0") {
			p.addf("metrics.listen and http.listen are both %s: give one of them another port", c.HTTP.Listen)
		}
	}
}

// TrustedProxies are http.proxies, which Check has found to be right.
func (h *HTTP) TrustedProxies() []netip.Prefix {
	var list []netip.Prefix
	for _, text := range h.Proxies {
		if of, err := proxy(text); err == nil {
			list = append(list, of)
		}
	}
	return list
}

// proxy reads an address or a network. The error goes on where it stands.
func proxy(text string) (netip.Prefix, error) {
	of, err := netip.ParsePrefix(text)
	if a, bad := netip.ParseAddr(text); bad == nil {
		of, err = netip.PrefixFrom(a, a.BitLen()), nil
		if a.Zone() != "" {
			return of, errors.New("has a zone: write the address without it")
		}
	}
	switch {
	case err != nil:
		return of, errors.New(`is no address and no network: write one such as "127.0.0.1" or "10.1.2.0/28"`)
	case of.Addr().Is4In6():
		return of, errors.New("is IPv4 in IPv6: write the IPv4 address")
	case of.Bits() == 0:
		return of, errors.New("is everybody, and anybody could then say to be anybody: name the proxies alone")
	case of != of.Masked():
		return of, fmt.Errorf("is an address in a network: write %q for that network, or %q", of.Masked().String(), of.Addr().String())
	}
	return of, nil
}

func (p *problems) limits(l *Limits) {
	for _, n := range []struct {
		key              string
		value, low, high int
	}{
		{"datagram", l.Datagram, 1500, 65_535},
		{"header_bytes", l.HeaderBytes, 2048, 1 << 20},
		{"body", l.Body, 1024, 16 << 20},
		{"headers", l.Headers, 32, 10_000},
		{"vias", l.Vias, 5, 1000},
		{"line", l.Line, 512, 1 << 20},
		{"max_breadth", l.MaxBreadth, 1, 10_000},
		{"connections", l.Connections, 1, 10_000_000},
		{"connections_per_address", l.ConnectionsPerAddress, 1, 10_000_000},
		{"write_queue", l.WriteQueue, 65_536, 1 << 30},
		{"transactions", l.Transactions, 16, 10_000_000},
		{"unproven_rate", l.UnprovenRate, 1, 1_000_000},
		{"password_failures", l.PasswordFailures, 1, 10_000},
		{"subscriptions", l.Subscriptions, 1, 100_000},
		{"streams", l.Streams, 1, 1_000_000},
	} {
		p.number("limits."+n.key, n.value, n.low, n.high)
	}
	if l.Line > l.HeaderBytes {
		p.addf("limits.line (%d) is larger than limits.header_bytes (%d): raise header_bytes or lower line", l.Line, l.HeaderBytes)
	}
}

func (p *problems) number(key string, value, low, high int) {
	if value < low || value > high {
		p.addf("%s is %d: write a number from %d to %d", key, value, low, high)
	}
}

func (p *problems) times(c *Config) {
	const day = 24 * time.Hour
	for _, d := range []struct {
		key              string
		value, low, high time.Duration
	}{
		{"limits.handshake_timeout", c.Limits.HandshakeTimeout, 100 * time.Millisecond, 10 * time.Minute},
		{"limits.greeting_timeout", c.Limits.GreetingTimeout, 100 * time.Millisecond, time.Hour},
		{"limits.message_timeout", c.Limits.MessageTimeout, 100 * time.Millisecond, 10 * time.Minute},
		{"limits.idle_timeout", c.Limits.IdleTimeout, 100 * time.Millisecond, day},
		{"message.window", c.Message.Window, day, 7 * day},
		{"message.device_lapse", c.Message.DeviceLapse, day, 3650 * day},
		{"register.min_expires", c.Register.MinExpires, time.Second, time.Hour}, // RFC 3261 §10.3: less than an hour may be refused, more not
		{"register.default_expires", c.Register.DefaultExpires, time.Second, 30 * day},
		{"register.max_expires", c.Register.MaxExpires, time.Second, 30 * day},
		{"register.flow_timer", c.Register.FlowTimer, 10 * time.Second, time.Hour},
		{"call.ring_timeout", c.Call.RingTimeout, 181 * time.Second, time.Hour},                     // RFC 3261 §16.6 step 11
		{"call.session_expires", c.Call.SessionExpires, 90 * time.Second, day},                      // RFC 4028 §4
		{"call.min_se", c.Call.MinSE, 90 * time.Second, max(90*time.Second, c.Call.SessionExpires)}, // RFC 4028 §5
		{"http.session_lifetime", c.HTTP.SessionLifetime, 10 * time.Minute, 3650 * day},
		{"presence.interval", c.Presence.Interval, 0, time.Minute},
	} {
		if d.value < d.low || d.value > d.high {
			p.addf("%s is %s: write a time from %s to %s, in quotes with its unit", d.key, text(d.value), text(d.low), text(d.high))
		}
	}
	r := c.Register
	if r.MinExpires > r.DefaultExpires || r.DefaultExpires > r.MaxExpires {
		p.addf("register: min_expires (%s), default_expires (%s) and max_expires (%s) must not fall", text(r.MinExpires), text(r.DefaultExpires), text(r.MaxExpires))
	}
	p.number("http.rate", c.HTTP.Rate, 0, 1_000_000)
	p.number("http.sign_in_rate", c.HTTP.SignInRate, 0, 1_000_000)
	p.number("message.rate", c.Message.Rate, 0, 1_000_000)
	p.number("register.bindings", r.Bindings, 1, 1000)
	p.number("register.contacts", r.Contacts, 1, 1000)
	p.number("presence.rate", c.Presence.Rate, 0, 1_000_000)
	p.number("presence.subscriptions", c.Presence.Subscriptions, 1, 100_000)
	if l := c.Presence.List; l == "" || strings.Trim(l, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+") != "" {
		p.addf("presence.list is %q: write a name of letters, digits, '.', '-', '_' and '+'", l)
	}
}

func (p *problems) files(f *Files) {
	p.number("files.max_size", f.MaxSize, 0, 1<<40)
	if f.Keep != 0 && f.Keep < time.Hour {
		p.addf("files.keep is %s: write 0 to keep files, or a time of at least 1h, in quotes with its unit", text(f.Keep))
	}
	for _, t := range f.Types {
		major, minor, ok := strings.Cut(strings.TrimPrefix(t, "!"), "/")
		if !ok || major == "" || minor == "" || t != strings.ToLower(t) || strings.ContainsAny(t, " ;,") || strings.ContainsAny(major+strings.TrimSuffix(minor, "*"), "*!") {
			p.addf(`files.types: %q is no type of files: write "image/*", "application/pdf" or, for what is not taken, "!application/zip"`, t)
		}
	}
	u, err := url.Parse(f.URL)
	if f.URL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil) {
		p.addf(`files.url: %q is no address of this server: write scheme, host and perhaps port, such as "https://chat.example.com:8443"`, f.URL)
	}
}

// text writes a duration without trailing zero units: 24h, 90s, 1h30m.
func text(d time.Duration) string {
	switch {
	case d == 0:
		return "0s"
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d < time.Hour && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 10*time.Minute && d%time.Second == 0:
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return d.String()
}

// isName says that s is a host name in lower or upper case (RFC 1123 §2.1): letters, digits and hyphens between dots,
// and not an IP address. SIP domains are names, because some clients lose a port or brackets.
func isName(s string) bool {
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	for _, label := range strings.Split(s, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-') {
				return false
			}
		}
	}
	_, err := netip.ParseAddr(s)
	return err != nil
}
