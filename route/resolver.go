package route

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

var (
	errNoResolver = errs.New(errs.NotFound, "route: a host name, and nothing may leave this domain")
	errBusy       = errs.New(errs.Unavailable, "route: too many DNS look-ups are waiting")
	errNoAddress  = errs.New(errs.NotFound, "route: no address for this name")
	errNoTLSKind  = errs.New(errs.Invalid, "route: a sips URI over a transport without TLS")
)

// ResolverOptions are what a Resolver is made of.
type ResolverOptions struct {
	Servers []string      // "address:port", tried in order; empty: /etc/resolv.conf
	Workers int           // look-ups at a time, default 8
	Queue   int           // look-ups that wait, default 256; more are refused
	Cache   int           // names remembered, default 4096
	Timeout time.Duration // of one question, default 2 s
	// Kinds are the transports we can send over, in order of preference.
	// Default: TLS, TCP, UDP.
	Kinds []transport.Kind
	Log   *slog.Logger
}

// Resolver finds the addresses of a SIP URI: NAPTR, SRV, A and AAAA as
// RFC 3263 §4 orders them. Look-ups run on a few workers; answers are kept for
// their TTL, at most an hour, failures for 30 s.
type Resolver struct {
	o      ResolverOptions
	client *dns.Client
	stream *dns.Client
	jobs   chan lookup

	mu    sync.Mutex
	cache map[string]cached
}

type lookup struct {
	uri  sip.URI
	key  string
	done func([]transport.Target, error)
}

type cached struct {
	list  []srvTarget
	err   error
	until time.Time
}

// srvTarget is one host's addresses with the place SRV gave it.
type srvTarget struct {
	addrs    []transport.Target
	priority uint32
	weight   uint16
}

// NewResolver makes a Resolver; Serve starts its workers.
func NewResolver(o ResolverOptions) (*Resolver, error) {
	if len(o.Servers) == 0 {
		c, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil {
			return nil, errs.Wrap(errs.Invalid, err, "route: reading the name servers")
		}
		for _, s := range c.Servers {
			o.Servers = append(o.Servers, netJoin(s, c.Port))
		}
	}
	o.Workers, o.Queue = cmp.Or(o.Workers, 8), cmp.Or(o.Queue, 256)
	o.Cache, o.Timeout = cmp.Or(o.Cache, 4096), cmp.Or(o.Timeout, 2*time.Second)
	if len(o.Kinds) == 0 {
		o.Kinds = []transport.Kind{transport.TLS, transport.TCP, transport.UDP}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Resolver{
		o:      o,
		client: &dns.Client{Net: "udp", Timeout: o.Timeout, UDPSize: 1232},
		stream: &dns.Client{Net: "tcp", Timeout: o.Timeout},
		jobs:   make(chan lookup, o.Queue),
		cache:  map[string]cached{},
	}, nil
}

func netJoin(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

// Serve runs the workers until ctx ends; look-ups that wait then fail.
func (s *Resolver) Serve(ctx context.Context) error {
	var wg sync.WaitGroup
	for range s.o.Workers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case j := <-s.jobs:
					s.work(ctx, j)
				}
			}
		})
	}
	wg.Wait()
	for {
		select {
		case j := <-s.jobs:
			j.done(nil, ctx.Err())
		default:
			return nil
		}
	}
}

// Resolve calls done once with the addresses of u, best first: at once for
// numeric hosts and for what is remembered, else later from a worker.
func (s *Resolver) Resolve(u sip.URI, done func([]transport.Target, error)) {
	if list, ok := literal(u); ok {
		done(list, nil)
		return
	}
	tr, _ := u.Params.Get("transport")
	key := u.Scheme + "|" + strings.ToLower(u.Host) + "|" + strconv.Itoa(int(u.Port)) + "|" + strings.ToLower(tr)
	s.mu.Lock()
	c, ok := s.cache[key]
	s.mu.Unlock()
	if ok && time.Now().Before(c.until) {
		done(order(c.list), c.err)
		return
	}
	select {
	case s.jobs <- lookup{u, key, done}:
	default:
		done(nil, errBusy)
	}
}

func (s *Resolver) work(ctx context.Context, j lookup) {
	list, ttl, err := s.find(ctx, j.uri)
	if ctx.Err() == nil {
		if err != nil {
			ttl = 30 * time.Second
		}
		s.mu.Lock()
		for k := range s.cache {
			if len(s.cache) < s.o.Cache {
				break
			}
			delete(s.cache, k)
		}
		s.cache[j.key] = cached{list: list, err: err, until: time.Now().Add(min(ttl, time.Hour))}
		s.mu.Unlock()
	}
	j.done(order(list), err)
}

// literal gives the one address of a URI with a numeric host, or with an maddr
// that is one. RFC 3263 §4.1, §4.2.
func literal(u sip.URI) ([]transport.Target, bool) {
	host := u.Host
	if m, ok := u.Params.Get("maddr"); ok {
		host = m
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return nil, false
	}
	kind, ok := kindOf(u)
	if !ok {
		return nil, true
	}
	return []transport.Target{{Kind: kind, Addr: netip.AddrPortFrom(ip.Unmap(), cmp.Or(u.Port, defaultPort(kind))), ServerName: ""}}, true
}

// kindOf is the transport a URI names or implies when there is no DNS to ask:
// the parameter; TLS for sips; UDP else. false: the two contradict.
// RFC 3263 §4.1.
func kindOf(u sip.URI) (transport.Kind, bool) {
	kind := transport.UDP
	if p, ok := u.Params.Get("transport"); ok {
		if kind, ok = transport.ParseKind(p); !ok {
			return 0, false
		}
	} else if u.Scheme == "sips" {
		kind = transport.TLS
	}
	if u.Scheme == "sips" {
		switch kind {
		case transport.TCP:
			kind = transport.TLS
		case transport.WS:
			kind = transport.WSS
		case transport.UDP:
			return 0, false
		}
	}
	return kind, true
}

func defaultPort(k transport.Kind) uint16 {
	switch k {
	case transport.TLS:
		return 5061
	case transport.WS:
		return 80
	case transport.WSS:
		return 443
	}
	return 5060
}

// find is RFC 3263 §4.1 and §4.2 for a host name.
func (s *Resolver) find(ctx context.Context, u sip.URI) ([]srvTarget, time.Duration, error) {
	host := u.Host
	if m, ok := u.Params.Get("maddr"); ok {
		host = m
	}
	_, explicit := u.Params.Get("transport")
	if explicit || u.Port != 0 {
		kind, ok := kindOf(u)
		if !ok {
			return nil, 0, errNoTLSKind
		}
		if u.Port != 0 {
			// §4.2: a port means A and AAAA of the name itself.
			return s.hosts(ctx, host, host, kind, u.Port)
		}
		list, ttl, err := s.srv(ctx, srvName(kind, u.Scheme, host), host, kind)
		if err == nil {
			return list, ttl, nil
		}
		return s.hosts(ctx, host, host, kind, defaultPort(kind))
	}
	// §4.1: NAPTR, then SRV for each transport we have, then the plain name.
	if list, ttl, err := s.naptr(ctx, u.Scheme, host); err == nil {
		return list, ttl, nil
	}
	var all []srvTarget
	low := time.Hour
	for i, kind := range s.o.Kinds {
		if u.Scheme == "sips" && !kind.Secure() {
			continue
		}
		list, ttl, err := s.srv(ctx, srvName(kind, u.Scheme, host), host, kind)
		if err != nil {
			continue
		}
		for _, t := range list {
			// The order of transports comes before SRV priorities.
			t.priority |= uint32(i) << 16
			all = append(all, t)
		}
		low = min(low, ttl)
	}
	if len(all) > 0 {
		return all, low, nil
	}
	kind := transport.UDP
	if u.Scheme == "sips" {
		kind = transport.TLS
	}
	return s.hosts(ctx, host, host, kind, defaultPort(kind))
}

// srvName is the owner of the SRV records. RFC 3263 §4.1, RFC 7118 §7.
func srvName(k transport.Kind, scheme, host string) string {
	switch k {
	case transport.UDP:
		return "_sip._udp." + host
	case transport.TCP:
		return "_sip._tcp." + host
	case transport.TLS:
		return "_sips._tcp." + host
	case transport.WS:
		return "_sip._ws." + host
	}
	return "_sips._ws." + host
}

// services are the NAPTR services of RFC 3263 §4.1.
var services = map[string]transport.Kind{"SIP+D2U": transport.UDP, "SIP+D2T": transport.TCP, "SIPS+D2T": transport.TLS}

func (s *Resolver) naptr(ctx context.Context, scheme, host string) ([]srvTarget, time.Duration, error) {
	rrs, err := s.ask(ctx, host, dns.TypeNAPTR)
	if err != nil {
		return nil, 0, err
	}
	var list []*dns.NAPTR
	for _, rr := range rrs {
		n, ok := rr.(*dns.NAPTR)
		if !ok || !strings.EqualFold(n.Flags, "s") {
			continue
		}
		kind, known := services[strings.ToUpper(n.Service)]
		if !known || !slices.Contains(s.o.Kinds, kind) || scheme == "sips" && kind != transport.TLS {
			continue
		}
		list = append(list, n)
	}
	slices.SortStableFunc(list, func(a, b *dns.NAPTR) int {
		return cmp.Or(int(a.Order)-int(b.Order), int(a.Preference)-int(b.Preference))
	})
	err = errNoAddress
	for _, n := range list {
		// §4.1: the first service that works is the one to use.
		found, ttl, e := s.srv(ctx, n.Replacement, host, services[strings.ToUpper(n.Service)])
		if e == nil {
			return found, min(ttl, seconds32(n.Hdr.Ttl)), nil
		}
		err = e
	}
	return nil, 0, err
}

func seconds32(n uint32) time.Duration { return time.Duration(n) * time.Second }

// srv looks up SRV records and the addresses of their targets. At most 16 of
// them are followed. name is what a certificate must be for (RFC 5922 §4).
func (s *Resolver) srv(ctx context.Context, owner, name string, kind transport.Kind) ([]srvTarget, time.Duration, error) {
	rrs, err := s.ask(ctx, owner, dns.TypeSRV)
	if err != nil {
		return nil, 0, err
	}
	var out []srvTarget
	low := time.Hour
	for i, rr := range rrs {
		r, ok := rr.(*dns.SRV)
		if !ok || i >= 16 || r.Target == "." {
			continue
		}
		list, ttl, err := s.hosts(ctx, r.Target, name, kind, r.Port)
		if err != nil {
			continue
		}
		low = min(low, ttl, seconds32(r.Hdr.Ttl))
		for _, t := range list {
			t.priority, t.weight = uint32(r.Priority), r.Weight
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return nil, 0, errNoAddress
	}
	return out, low, nil
}

// hosts looks up A and AAAA records, at most 8 addresses.
func (s *Resolver) hosts(ctx context.Context, host, name string, kind transport.Kind, port uint16) ([]srvTarget, time.Duration, error) {
	var out []transport.Target
	low := time.Hour
	var last error = errNoAddress
	for _, typ := range []uint16{dns.TypeAAAA, dns.TypeA} {
		rrs, err := s.ask(ctx, host, typ)
		if err != nil {
			last = err
			continue
		}
		for _, rr := range rrs {
			var ip netip.Addr
			switch r := rr.(type) {
			case *dns.A:
				ip, _ = netip.AddrFromSlice(r.A.To4())
			case *dns.AAAA:
				ip, _ = netip.AddrFromSlice(r.AAAA.To16())
			}
			if !ip.IsValid() || len(out) >= 8 {
				continue
			}
			low = min(low, seconds32(rr.Header().Ttl))
			t := transport.Target{Kind: kind, Addr: netip.AddrPortFrom(ip.Unmap(), port), ServerName: strings.TrimSuffix(name, ".")}
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return nil, 0, last
	}
	return []srvTarget{{addrs: out}}, low, nil
}

// ask puts one question to the name servers, over TCP when the answer was cut.
func (s *Resolver) ask(ctx context.Context, name string, typ uint16) ([]dns.RR, error) {
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), typ)
	q.SetEdns0(1232, false)
	var last error = errNoAddress
	for _, server := range s.o.Servers {
		resp, _, err := s.client.ExchangeContext(ctx, q, server)
		if err == nil && resp.Truncated {
			resp, _, err = s.stream.ExchangeContext(ctx, q, server)
		}
		switch {
		case err != nil:
			last = errs.Wrap(errs.Unavailable, err, "route: asking for "+name)
		case resp.Rcode == dns.RcodeNameError || resp.Rcode == dns.RcodeSuccess:
			var out []dns.RR
			for _, rr := range resp.Answer {
				if rr.Header().Rrtype == typ {
					out = append(out, rr)
				}
			}
			if len(out) == 0 {
				return nil, errNoAddress
			}
			return out, nil
		default:
			last = errs.New(errs.Unavailable, "route: asking for %s: %s", name, dns.RcodeToString[resp.Rcode])
		}
		if errors.Is(last, context.Canceled) {
			break
		}
	}
	return nil, last
}

// order sorts by SRV priority and, inside a priority, draws by weight.
// RFC 2782.
func order(list []srvTarget) []transport.Target {
	rest := slices.Clone(list)
	slices.SortStableFunc(rest, func(a, b srvTarget) int { return int(a.priority) - int(b.priority) })
	out := make([]transport.Target, 0, len(rest))
	for len(rest) > 0 {
		n := 1
		for n < len(rest) && rest[n].priority == rest[0].priority {
			n++
		}
		total := 0
		for _, t := range rest[:n] {
			total += int(t.weight)
		}
		pick := 0
		if total > 0 {
			draw := rand.IntN(total)
			for i, t := range rest[:n] {
				if draw -= int(t.weight); draw < 0 {
					pick = i
					break
				}
			}
		}
		out = append(out, rest[pick].addrs...)
		rest = slices.Delete(rest, pick, pick+1)
	}
	return out
}
