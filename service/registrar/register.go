package registrar

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// What one contact may carry, in bytes. With the bindings per user it bounds the memory
// that one account can take.
const (
	maxContact   = 2048 // URI and parameters
	maxCallID    = 512
	maxUserAgent = 128 // longer ones are cut
	maxPath      = 2048
)

// registration is one REGISTER on its way through the steps of RFC 3261 §10.3.
type registration struct {
	r        *route.Request
	aor      string
	callID   string
	cseq     uint32
	contacts []contact
	star     bool
	path     []string
	direct   bool // one Via: it came straight from the client
	outbound bool // Supported: outbound
	gruu     bool // Supported: gruu
	require  bool // the answer says Require: outbound
	now      time.Time
}

// contact is one Contact of a REGISTER. Its strings are views on the message.
type contact struct {
	uri      sip.URI
	params   sip.Params // without expires, q and what only a registrar may say
	instance string
	regID    uint32
	expires  time.Duration
	q        uint16
}

// refusal is the answer to a REGISTER that changes nothing.
type refusal struct {
	status          int
	reason, warning string
	more            route.Option
}

func refuse(status int, reason, warning string) *refusal {
	return &refusal{status: status, reason: reason, warning: warning}
}

// ServeSIP answers a REGISTER of an authenticated user.
func (s *Registrar) ServeSIP(r *route.Request) {
	g := &registration{r: r, now: s.now()}
	no := s.read(g)
	if no == nil {
		no = s.check(g)
	}
	var events []Event
	if no == nil && (g.star || len(g.contacts) > 0) {
		events, no = s.update(g)
	}
	if no != nil {
		s.metrics.registers.WithLabelValues(strconv.Itoa(no.status)).Inc()
		opts := []route.Option{route.Warn(no.warning)}
		if no.more != nil {
			opts = append(opts, no.more)
		}
		r.Reply(no.status, no.reason, opts...)
		return
	}
	result := "ok"
	if !g.star && len(g.contacts) == 0 {
		result = "query"
	}
	s.metrics.registers.WithLabelValues(result).Inc()
	for _, e := range events {
		if e.Kind == Registered || e.Kind == Refreshed {
			s.o.Expect(e.Binding.AOR, e.Binding.Device)
		}
	}
	r.Respond(s.answer(g))
	s.trust(g)
	s.emit(events)
	if r.Flow.Kind().Reliable() && !r.Flow.Alive() {
		// It closed while the account was looked up, before there was a binding to remove.
		s.FlowClosed(r.Flow, nil)
	}
}

// read takes the request apart: steps 1, 4 and 5 of RFC 3261 §10.3. Step 2 (Require) and
// step 3 (authentication) are done before.
func (s *Registrar) read(g *registration) *refusal {
	m := g.r.Msg
	to, err := m.To()
	if err != nil {
		return refuse(400, "Malformed To", "The To header cannot be read")
	}
	cseq, err := m.CSeq()
	if err != nil {
		return refuse(400, "Malformed CSeq", "The CSeq header cannot be read")
	}
	g.aor, g.callID, g.cseq = to.URI.AOR(), m.CallID(), cseq.Seq
	// Step 4: everybody registers for himself alone.
	if g.aor == "" || g.aor != g.r.Identity.AOR {
		return refuse(403, "Not Your Address", "You can register only the address that you signed in with")
	}
	// Step 5: an address of another domain of ours than the one that was asked.
	if host := g.r.URI().Host; !s.ours(to.URI.Host) || s.ours(host) && !strings.EqualFold(strings.TrimSuffix(host, "."), strings.TrimSuffix(to.URI.Host, ".")) {
		return refuse(404, "", "This domain does not have that address")
	}
	if len(g.callID) > maxCallID {
		return refuse(400, "Call-ID Too Long", "The Call-ID is too long")
	}
	g.aor, g.callID = g.r.Identity.AOR, strings.Clone(g.callID)
	vias := 0
	for range m.Values(sip.HVia) {
		vias++
	}
	g.direct = vias == 1
	g.outbound = m.HasToken(sip.HSupported, "outbound")
	g.gruu = m.HasToken(sip.HSupported, "gruu")
	if no := s.readPath(g); no != nil {
		return no
	}
	return s.readContacts(g)
}

// readPath is RFC 3327 §5.3.
func (s *Registrar) readPath(g *registration) *refusal {
	m := g.r.Msg
	total := 0
	for v := range m.Values(sip.HPath) {
		na, err := sip.ParseNameAddr(v)
		if err != nil || !na.URI.IsSIP() {
			return refuse(400, "Malformed Path", "The Path header cannot be read")
		}
		if total += len(v); total > maxPath {
			return refuse(400, "Path Too Long", "The Path header is too long")
		}
		g.path = append(g.path, strings.Clone(v))
	}
	if len(g.path) > 0 && !m.HasToken(sip.HSupported, "path") {
		// The recommended policy: the client did not say that it knows of proxies on the way.
		no := refuse(420, "", "A proxy added Path, but the client does not support it")
		no.more = route.Header(sip.HUnsupported, "path")
		return no
	}
	return nil
}

// readContacts is step 6 and the first half of step 7.
func (s *Registrar) readContacts(g *registration) *refusal {
	m := g.r.Msg
	list, star, err := m.Contacts()
	if err != nil {
		return refuse(400, "Malformed Contact", "The Contact header cannot be read")
	}
	asked, given := m.Int(sip.HExpires)
	if star {
		if len(list) > 0 || !given || asked != 0 {
			return refuse(400, "Contact * Needs Expires 0 and Nothing Else", "Contact: * removes all bindings and needs Expires: 0")
		}
		g.star = true
		return nil
	}
	if len(list) > s.o.PerRequest {
		return refuse(400, "Too Many Contacts", "At most "+strconv.Itoa(s.o.PerRequest)+" contacts are accepted in one REGISTER")
	}
	for _, na := range list {
		c, no := s.readContact(na, asked, given)
		if no != nil {
			return no
		}
		g.contacts = append(g.contacts, c)
	}
	return nil
}

func (s *Registrar) readContact(na sip.NameAddr, asked uint32, given bool) (contact, *refusal) {
	c := contact{uri: na.URI, params: na.Params, q: 1000}
	for _, own := range [...]string{"expires", "q", "pub-gruu", "temp-gruu"} {
		c.params = c.params.Without(own)
	}
	c.expires = s.o.DefaultExpires
	if given {
		c.expires = time.Duration(asked) * time.Second
	}
	if v, ok := na.Params.Get("expires"); ok {
		// RFC 3261 §20.10 and §10.2.1.1: a malformed value is as good as none.
		if n, err := strconv.ParseUint(v, 10, 32); err == nil {
			c.expires = time.Duration(n) * time.Second
		}
	}
	// Step 7, 423: only a wish below an hour may be refused for being short.
	if c.expires > 0 && c.expires < min(s.o.MinExpires, time.Hour) {
		no := refuse(423, "", "Registrations shorter than "+s.o.MinExpires.String()+" are not accepted")
		no.more = route.Header(sip.HMinExpires, seconds(s.o.MinExpires))
		return c, no
	}
	c.expires = min(c.expires, s.o.MaxExpires)
	if v, ok := na.Params.Get("q"); ok {
		if c.q, ok = parseQ(v); !ok {
			return c, refuse(400, "Malformed q", "The q value of a Contact cannot be read")
		}
	}
	if v, ok := na.Params.Get("+sip.instance"); ok {
		// RFC 5626 §4.1: "<" URN ">".
		if len(v) > 2 && v[0] == '<' && v[len(v)-1] == '>' {
			c.instance = v[1 : len(v)-1]
		}
		if len(c.instance) > 9 && strings.EqualFold(c.instance[:9], "urn:uuid:") {
			c.instance = strings.ToLower(c.instance) // RFC 4122 §3: case does not count
		}
	}
	// RFC 5626 §6: a reg-id without an instance is ignored.
	if v, ok := na.Params.Get("reg-id"); ok && c.instance != "" {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil || n == 0 {
			return c, refuse(400, "Malformed reg-id", "The reg-id of a Contact cannot be read")
		}
		c.regID = uint32(n)
	}
	return c, nil
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// check decides what contacts may be registered at all.
func (s *Registrar) check(g *registration) *refusal {
	living, flows := 0, 0
	for i := range g.contacts {
		c := &g.contacts[i]
		if c.regID != 0 && !g.direct && !anyOb(g.path) {
			// RFC 5626 §6: the first hop must know outbound.
			if g.outbound {
				return refuse(439, "First Hop Lacks Outbound Support", "A proxy on the way does not support outbound")
			}
			c.regID = 0
		}
		if c.expires > 0 {
			living++
			if c.regID != 0 {
				flows++
			}
		}
		if no := s.checkContact(g, c); no != nil {
			return no
		}
	}
	if flows > 0 && living > 1 {
		// RFC 5626 §6: one flow at a time.
		return refuse(400, "One Contact With reg-id at a Time", "A REGISTER with reg-id can register one contact only")
	}
	g.require = flows > 0 && g.outbound
	return nil
}

// anyOb tells whether the first proxy is one for outbound: it alone adds "ob".
func anyOb(path []string) bool {
	return slices.ContainsFunc(path, func(v string) bool {
		na, err := sip.ParseNameAddr(v)
		return err == nil && na.URI.Params.Has("ob")
	})
}

// checkContact refuses contacts that cannot be registered. What is taken back (expires 0)
// needs no check.
func (s *Registrar) checkContact(g *registration, c *contact) *refusal {
	if c.expires == 0 {
		return nil
	}
	if !c.uri.IsSIP() || c.uri.Host == "" {
		// RFC 5627 §5.1 asks for 403 with an instance; we carry nothing to other schemes.
		return refuse(403, "Contact Must Be a SIP URI", "Only SIP addresses can be registered as Contact")
	}
	if len(c.uri.String())+len(c.params) > maxContact {
		return refuse(403, "Contact Too Long", "The Contact is longer than "+strconv.Itoa(maxContact)+" bytes")
	}
	// RFC 5627 §5.1: the AOR itself or one of its GRUUs would be a loop. So would any
	// other address of ours. A URI with embedded headers is not equal to the one without
	// (RFC 3261 §19.1.4), and RFC 4475 §3.3.14 wants such a one registered.
	aor, err := sip.ParseURI("sip:" + g.aor)
	self := err == nil && c.uri.Headers == "" && c.uri.Port == 0 && c.uri.AOR() == aor.AOR()
	listener := c.uri.Port != 0 && s.o.IsListener(kindOf(c.uri, g.r.Flow), c.uri.Host, c.uri.Port)
	home := s.ours(c.uri.Host) && c.uri.Headers == "" && (c.uri.Port == 0 || listener)
	if self || home || listener || s.ours(c.uri.Host) && c.uri.Params.Has("gr") {
		return refuse(403, "Contact Points Back Here", "The Contact must be the address of the device, not one of this server")
	}
	return nil
}

// kindOf is the transport that a contact asks for (RFC 3261 §19.1.1), that of its REGISTER when it
// does not say.
func kindOf(u sip.URI, f transport.Flow) transport.Kind {
	name, _ := u.Params.Get("transport")
	k, ok := transport.ParseKind(strings.ToLower(name))
	switch {
	case u.Scheme == "sips" && k != transport.WS && k != transport.WSS:
		return transport.TLS
	case !ok:
		return f.Kind()
	}
	return k
}

// update is the second half of step 7: all changes or none.
func (s *Registrar) update(g *registration) ([]Event, *refusal) {
	sh := s.shard(g.aor)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if g.r.Tx != nil && sh.wasRemoved(g.aor, g.r.Tx.Received()) {
		return nil, refuse(403, "Account Changed", "The account was changed while this request was on its way; sign in again")
	}
	var current []*Binding
	var epochs temps
	var c change
	if e := sh.entries[g.aor]; e != nil {
		epochs = e.temps
		for _, b := range e.bindings {
			if b.Expires.After(g.now) {
				current = append(current, b)
			} else { // its time has come, its timer has not
				c.del = append(c.del, b)
				c.events = append(c.events, Event{Expired, b})
			}
		}
	}
	if no := s.plan(g, current, &c); no != nil {
		return nil, no
	}
	s.commit(sh, g.aor, c, s.renewGRUUs(g, current, c.put, epochs))
	return c.events, nil
}

// plan finds out what changes, without changing anything.
func (s *Registrar) plan(g *registration, current []*Binding, c *change) *refusal {
	outOfOrder := func(b *Binding) bool { return b.CallID == g.callID && g.cseq <= b.CSeq }
	late := refuse(400, "CSeq Out of Order", "A REGISTER of this Call-ID with a higher CSeq was processed before")
	if g.star {
		for _, b := range current {
			if outOfOrder(b) {
				return late
			}
			c.del = append(c.del, b)
			c.events = append(c.events, Event{Unregistered, b})
		}
		return nil
	}
	added := 0
	for i := range g.contacts {
		ct := &g.contacts[i]
		var old *Binding
		if j := slices.IndexFunc(current, func(b *Binding) bool { return b.same(ct) }); j >= 0 {
			old = current[j]
			if outOfOrder(old) {
				return late
			}
		}
		if ct.expires == 0 {
			if old != nil && !slices.Contains(c.del, old) {
				c.del = append(c.del, old)
				c.events = append(c.events, Event{Unregistered, old})
			}
			continue
		}
		b := s.binding(g, ct, old)
		if slices.ContainsFunc(c.put, func(x *Binding) bool { return x.Key == b.Key || x.same(ct) }) {
			continue // the same contact twice in one request
		}
		c.put = append(c.put, b)
		if old == nil {
			added++
			c.events = append(c.events, Event{Registered, b})
		} else {
			c.events = append(c.events, Event{Refreshed, b})
		}
	}
	return s.limits(current, c, added)
}

// limits holds the number of bindings down. A device that comes back with another contact
// takes the place of its own oldest one.
func (s *Registrar) limits(current []*Binding, c *change, added int) *refusal {
	if added == 0 {
		return nil
	}
	gone := func(b *Binding) bool {
		return slices.Contains(c.del, b) || slices.ContainsFunc(c.put, func(x *Binding) bool { return x.Key == b.Key })
	}
	kept := slices.DeleteFunc(slices.Clone(current), gone)
	over := len(kept) + len(c.put) - s.o.PerUser
	slices.SortFunc(kept, func(a, b *Binding) int { return a.Updated.Compare(b.Updated) })
	for _, b := range kept {
		if over <= 0 {
			break
		}
		if b.Instance != "" && slices.ContainsFunc(c.put, func(x *Binding) bool { return x.Instance == b.Instance }) {
			c.del = append(c.del, b)
			c.events = append(c.events, Event{Replaced, b})
			over--
		}
	}
	if over > 0 {
		return refuse(403, "Too Many Registrations", "This account has "+strconv.Itoa(s.o.PerUser)+" registered contacts already; sign out elsewhere first")
	}
	if s.total.Load()+int64(added) > int64(s.o.Total) {
		no := refuse(503, "", "The server has too many registrations; try again later")
		no.more = route.RetryAfter(60)
		return no
	}
	return nil
}

// binding makes the binding of one contact, in the place of old if there is one. Nothing
// in it is a view on the message.
func (s *Registrar) binding(g *registration, c *contact, old *Binding) *Binding {
	f := g.r.Flow
	b := &Binding{
		AOR: g.aor, Contact: strings.Clone(c.uri.String()), Params: strings.Clone(string(c.params)),
		Instance: strings.Clone(c.instance), Password: g.r.Identity.Device, RegID: c.regID, Outbound: c.regID != 0,
		CallID: g.callID, CSeq: g.cseq, UserAgent: userAgent(g.r.Msg), Path: g.path, Q: c.q,
		Created: g.now, Updated: g.now, Expires: g.now.Add(c.expires),
		Flow: f, Transport: f.Kind().String(), Listener: f.Listener(), Local: f.Local(), Remote: f.Remote(),
	}
	b.Device = DeviceID(b.Instance, b.Password)
	b.uri, _ = sip.ParseURI(b.Contact) // it was parsed from what is its text
	switch {
	case old != nil:
		b.Key, b.Created = old.Key, old.Created
	case c.regID != 0:
		b.Key = b.Instance + ";reg-id=" + strconv.FormatUint(uint64(c.regID), 10)
	default:
		b.Key = b.Contact
	}
	return b
}

// userAgent keeps the beginning of User-Agent.
func userAgent(m *sip.Message) string {
	v := m.Get(sip.HUserAgent)
	if len(v) > maxUserAgent {
		v = v[:maxUserAgent]
	}
	return strings.ToValidUTF8(strings.Clone(v), "")
}

// renewGRUUs makes new temporary GRUUs for the instances that register (RFC 5627 §5.1),
// and ends the old ones where the Call-ID is another. It returns the epochs as they are
// from now on. What it does cannot fail and is visible when commit is.
func (s *Registrar) renewGRUUs(g *registration, current, put []*Binding, epochs temps) temps {
	for _, b := range put {
		if b.Instance == "" {
			continue
		}
		t := epochs.of(b.Instance)
		if t.epoch == 0 && !g.gruu {
			continue
		}
		var last *Binding // the most recently registered one of this instance and flow
		for _, x := range current {
			if x.Instance == b.Instance && x.RegID == b.RegID && (last == nil || x.Updated.After(last.Updated)) {
				last = x
			}
		}
		if t.epoch == 0 || last != nil && last.CallID != b.CallID {
			t = s.gruu.begin(device{b.AOR, b.Instance}, t, b.CSeq)
		}
		b.temp = t.next()
		epochs = epochs.with(b.Instance, b.temp)
	}
	return epochs
}

// answer is step 8.
func (s *Registrar) answer(g *registration) *sip.Draft {
	d := sip.NewResponse(g.r.Msg, 200, "")
	list, epochs := s.snapshot(g.aor)
	for _, b := range list {
		if !b.Expires.After(g.now) {
			continue
		}
		v := "<" + b.Contact + ">" + b.Params + ";expires=" + strconv.FormatInt(b.left(g.now), 10)
		if b.Q != 1000 {
			v += ";q=" + qText(b.Q)
		}
		if g.gruu && b.Instance != "" {
			// RFC 5627 §5.2.
			v += `;pub-gruu="` + s.PublicGRUU(b.AOR, b.Instance) + `"`
			if t := s.temporaryGRUU(b, epochs.of(b.Instance)); t != "" {
				v += `;temp-gruu="` + t + `"`
			}
		}
		d.Add(sip.HContact, v)
	}
	for _, p := range g.path {
		d.Add(sip.HPath, p) // RFC 3327 §5.3
	}
	d.Set(sip.HSupported, "path, outbound")
	if g.require {
		d.Set(sip.HRequire, "outbound") // RFC 5626 §6
		if g.direct {
			d.Set(sip.HFlowTimer, seconds(s.o.FlowTimer)) // RFC 5626 §5.4
		}
	}
	d.Set(sip.HDate, g.now.UTC().Format(http.TimeFormat))
	return d
}

// trust lets the connection speak for the account as long as a binding lives that came
// straight on it, and keeps it open for so long.
func (s *Registrar) trust(g *registration) {
	f := g.r.Flow
	if !g.direct || len(g.path) > 0 || !f.Kind().Reliable() || !g.star && len(g.contacts) == 0 {
		return
	}
	until := s.trustedUntil(g.aor, f)
	if s.o.Trust != nil {
		s.o.Trust(g.r, until)
	}
	var idle time.Duration // the transport's own
	if longest := s.longest(f); longest.After(g.now) {
		idle = longest.Sub(g.now) + time.Minute
	}
	f.SetIdle(idle)
}

// longest is when the last binding that came on a connection ends.
func (s *Registrar) longest(f transport.Flow) (end time.Time) {
	for _, r := range s.flows.get(f.ID()) {
		if b := s.find(r, s.now()); b != nil && b.Flow == f && b.Expires.After(end) {
			end = b.Expires
		}
	}
	return end
}
