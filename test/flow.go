package test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// A flow is a text that says who sends what and who gets what, one step a line. Comments begin with #. Indented lines
// belong to the step above.
//
//	bob2 is on tcp              a user agent of bob; udp, tcp, tls or ws. "as phone" makes it an instance (RFC 5626)
//	bob2 signs in | signs out   REGISTER with all that belongs to it
//	bob2 hangs off              closes its socket
//	alice > INVITE bob          sends a request: to a user, or to a URI; without a target inside the dialog she is in
//	alice > BYE in bob2         … inside the dialog with bob2
//	alice > again               sends her last request again, with credentials for the challenge that she got
//	alice > ACK                 of the last answer to her INVITE; CANCEL likewise
//	bob > 180 [INVITE]          answers the last request that came, or the last of that method
//	bob < INVITE                the next message that comes; 100 is skipped unless it is asked for
//	alice < 200 [INVITE]
//	bob <* NOTIFY               the same, but answers 200 to those that do not fit until one does
//	bob < nothing
//	log call.end alice bob      a record of that kind is there
//	server restarts
//
// Below what is sent: "Name: value" adds a header, "Name = value" sets it, "-Name" removes it, "body TYPE: text" and
// "sdp: m-line | m-line" set the body. Below what comes: "Name: regexp" must match a value, "!Name" must be absent,
// "body: regexp" and "uri: regexp". Below log: "key: regexp" of its meta, or body. In all of them {alice.callid},
// {alice.localtag}, {alice.remotetag}, {alice.contact}, {alice.target}, {alice.gruu} and {alice.tempgruu} stand for what is in alice's last dialog and REGISTER.
type flow struct {
	t       testing.TB
	server  *Server
	parties map[string]*party
	logged  map[int64]bool // records that a step has used
	file    string
	line    int
}

// party is one user agent in a flow.
type party struct {
	*UA
	sent     *sip.Draft // last request, for again
	began    time.Time  // when that was sent
	invite   *sip.Message
	answer   *sip.Message // last final answer to an INVITE
	reliable string       // RAck for the last reliable 1xx
	refused  *sip.Message // last 401 or 407
	pending  []*sip.Message
	gruus    []string  // public and temporary, of its last REGISTER
	dialogs  []*Dialog // the last used is last
	method   string    // of the last request received
}

type step struct {
	line  int
	words []string
	attrs []string
}

// RunFlow plays the flow in a file against a server.
func RunFlow(t testing.TB, s *Server, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f := &flow{t: t, server: s, parties: map[string]*party{}, logged: map[int64]bool{}, file: file}
	for _, st := range parseFlow(string(text)) {
		f.line = st.line
		f.play(st)
	}
}

func parseFlow(text string) []step {
	var steps []step
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, " #")
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			last := &steps[len(steps)-1]
			last.attrs = append(last.attrs, strings.TrimSpace(line))
			continue
		}
		steps = append(steps, step{line: i + 1, words: strings.Fields(line)})
	}
	return steps
}

func (f *flow) fatalf(format string, args ...any) {
	f.t.Helper()
	text := fmt.Sprintf("%s:%d: %s", f.file, f.line, fmt.Sprintf(format, args...))
	for _, p := range f.parties {
		for _, m := range p.Inbox() {
			text += "\n\t" + p.Name + " also got " + Line(m)
		}
	}
	f.t.Fatal(text)
}

func (f *flow) play(st step) {
	f.t.Helper()
	w := st.words
	if len(w) < 2 {
		f.fatalf("a step needs two words or more")
	}
	switch {
	case w[0] == "server" && w[1] == "restarts":
		f.server.Restart()
	case w[0] == "log":
		f.log(w[1:], st.attrs)
	case w[1] == "is" && len(w) >= 4:
		f.join(w)
	default:
		p := f.parties[w[0]]
		if p == nil {
			f.fatalf("there is no %s; first say: %s is on tcp", w[0], w[0])
		}
		f.act(p, w[1], w[2:], st.attrs)
	}
}

func (f *flow) join(w []string) {
	f.t.Helper()
	kind, ok := transport.ParseKind(w[3])
	if !ok {
		f.fatalf("no transport %q", w[3])
	}
	p := &party{UA: f.server.UA(w[0], kind)}
	if len(w) == 6 && w[4] == "as" {
		p.Instance(w[5])
	}
	f.parties[w[0]] = p
}

func (f *flow) act(p *party, verb string, words, attrs []string) {
	f.t.Helper()
	switch verb + " " + strings.Join(words, " ") {
	case "signs in":
		p.Extra = func(d *sip.Draft) { f.edit(p, d, attrs) }
		p.Register()
		p.Extra = nil
		return
	case "signs out":
		p.SignOut()
		return
	case "hangs off":
		p.Close()
		return
	case "> again":
		again, ok := p.Answered(p.sent, p.refused)
		if !ok {
			f.fatalf("no challenge that can be answered in %s", Line(p.refused))
		}
		f.send(p, again)
		return
	case "< nothing":
		f.nothing(p)
		return
	}
	switch {
	case len(words) == 0:
		f.fatalf("what shall %s do?", p.Name)
	case verb == ">" && isStatus(words[0]):
		f.respond(p, words, attrs)
	case verb == ">":
		f.request(p, words, attrs)
	case verb == "<":
		f.expect(p, words, attrs)
	case verb == "<*":
		f.expectUntil(p, words, attrs)
	default:
		f.fatalf("%q is no verb", verb)
	}
}

func isStatus(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 100 && n < 700
}

// request sends a request.
func (f *flow) request(p *party, words, attrs []string) {
	f.t.Helper()
	method := words[0]
	var d *sip.Draft
	switch {
	case method == sip.CANCEL:
		d = cancelFor(p.invite)
	case method == sip.ACK && p.answer != nil && p.answer.Status() >= 300:
		d = ackFor(p.invite, p.answer)
	case method == sip.REGISTER && len(words) == 1:
		d = p.RegisterRequest(3600)
	case len(words) == 2:
		d = p.Request(method, f.expand(words[1]))
		if method == sip.INVITE || method == sip.SUBSCRIBE || method == sip.REFER {
			d.Add(sip.HContact, p.Contact)
		}
	default:
		d = f.inDialog(p, words)
	}
	if method == sip.INVITE {
		d.Body("application/sdp", []byte(SDP("audio 49170 RTP/AVP 0")))
	}
	f.edit(p, d, attrs)
	f.send(p, d)
}

func (f *flow) inDialog(p *party, words []string) *sip.Draft {
	f.t.Helper()
	method := words[0]
	if len(words) == 3 && words[1] == "in" {
		f.pick(p, words[2])
	}
	if len(p.dialogs) == 0 {
		f.fatalf("%s is in no dialog", p.Name)
	}
	dlg := p.dialogs[len(p.dialogs)-1]
	if method == sip.ACK && p.invite != nil {
		seq, _ := p.invite.CSeq() // our own
		kept := dlg.Seq
		defer func() { dlg.Seq = kept }()
		dlg.Seq = int(seq.Seq)
	}
	d := p.UA.InDialog(dlg, method)
	if method == sip.PRACK {
		d.Add(sip.HRAck, p.reliable)
	}
	if method == sip.INVITE || method == sip.SUBSCRIBE || method == sip.REFER || method == sip.UPDATE {
		d.Add(sip.HContact, p.Contact)
	}
	return d
}

// pick makes the dialog with another party the last one.
func (f *flow) pick(p *party, name string) {
	f.t.Helper()
	other := f.parties[name]
	for i, d := range p.dialogs {
		if strings.Contains(d.Remote, "tag=t-"+name+"-") || strings.Contains(d.Remote, "<sip:"+other.AOR()+">;tag=f") {
			p.dialogs = append(slices.Delete(p.dialogs, i, i+1), d)
			return
		}
	}
	f.fatalf("%s is in no dialog with %s", p.Name, name)
}

func (f *flow) send(p *party, d *sip.Draft) {
	f.t.Helper()
	p.Write(d.Bytes())
	m, err := d.Message()
	if err != nil {
		f.fatalf("our own request: %v", err)
	}
	if m.Method() == sip.INVITE {
		p.invite, p.answer = m, nil
	}
	if m.Method() != sip.ACK {
		p.sent, p.began = d, time.Now()
	}
}

// cancelFor is RFC 3261 §9.1.
func cancelFor(req *sip.Message) *sip.Draft {
	seq, _ := req.CSeq() // our own
	d := sip.NewRequest(sip.CANCEL, req.RequestURI()).
		Add(sip.HVia, req.Get(sip.HVia)).
		Add(sip.HMaxForwards, "70").
		Add(sip.HFrom, req.Get(sip.HFrom)).
		Add(sip.HTo, req.Get(sip.HTo)).
		Add(sip.HCallID, req.CallID()).
		Add(sip.HCSeq, strconv.FormatUint(uint64(seq.Seq), 10)+" CANCEL")
	for v := range req.Each(sip.HRoute) {
		d.Add(sip.HRoute, v)
	}
	return d
}

// SDP is a session description with m-lines as given.
func SDP(media ...string) string {
	text := "v=0\r\no=- 2890844526 2890844526 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
	for _, m := range media {
		text += "m=" + m + "\r\n"
	}
	return text
}

// respond answers a request that came.
func (f *flow) respond(p *party, words, attrs []string) {
	f.t.Helper()
	status, _ := strconv.Atoi(words[0]) // isStatus
	i := len(p.pending) - 1
	if len(words) > 1 {
		for i >= 0 && p.pending[i].Method() != words[1] {
			i--
		}
	}
	if i < 0 {
		f.fatalf("%s has no request to answer", p.Name)
	}
	req := p.pending[i]
	if status >= 200 {
		p.pending = slices.Delete(p.pending, i, i+1)
	}
	d := p.Response(req, status, func(d *sip.Draft) {
		if req.Method() == sip.INVITE && status == 200 {
			d.Body("application/sdp", []byte(SDP("audio 3456 RTP/AVP 0")))
		}
	})
	f.edit(p, d, attrs)
	m, err := d.Message()
	if err != nil {
		f.fatalf("our own response: %v", err)
	}
	if (req.Method() == sip.INVITE || req.Method() == sip.REFER || req.Method() == sip.SUBSCRIBE) && status > 100 && status < 300 && req.ToTag() == "" {
		p.know(DialogUAS(req, m))
	}
	p.Write(d.Bytes())
}

// know keeps a dialog, and makes it the last one.
func (p *party) know(d *Dialog) {
	i := slices.IndexFunc(p.dialogs, func(x *Dialog) bool { return x.CallID == d.CallID && x.Remote == d.Remote })
	if i >= 0 {
		d.Seq = max(d.Seq, p.dialogs[i].Seq)
		p.dialogs = slices.Delete(p.dialogs, i, i+1)
	}
	p.dialogs = append(p.dialogs, d)
}

// expectUntil takes requests until one fits, and answers the others.
func (f *flow) expectUntil(p *party, words, attrs []string) {
	f.t.Helper()
	m := f.next(p, words)
	for f.misfit(m, attrs) != "" {
		f.respond(p, []string{"200"}, nil)
		m = f.next(p, words)
	}
}

// expect takes the next message and looks at it.
func (f *flow) expect(p *party, words, attrs []string) {
	f.t.Helper()
	if no := f.misfit(f.next(p, words), attrs); no != "" {
		f.fatalf("%s", no)
	}
}

func (f *flow) next(p *party, words []string) *sip.Message {
	f.t.Helper()
	m, err := p.Find(Patience, func(m *sip.Message) bool {
		return m.IsRequest() || m.Status() != 100 || words[0] == "100"
	})
	if err != nil {
		f.fatalf("%s waits for %s: %v", p.Name, strings.Join(words, " "), err)
	}
	got := m.Method()
	if !m.IsRequest() {
		got = strconv.Itoa(m.Status())
	}
	if got == "202" && words[0] == "200" && m.Method() == sip.MESSAGE && Taken(m, p.began) {
		got = "200"
	}
	if got != words[0] || len(words) > 1 && m.Method() != words[1] {
		f.fatalf("%s got %s, want %s", p.Name, Line(m), strings.Join(words, " "))
	}
	p.took(m)
	return m
}

func (p *party) took(m *sip.Message) {
	if m.IsRequest() {
		if m.Method() != sip.ACK {
			p.pending = append(p.pending, m)
		}
		p.method = m.Method()
		return
	}
	status := m.Status()
	if status == 401 || status == 407 {
		p.refused = m
	}
	if m.Method() == sip.REGISTER && status == 200 {
		p.gruus = gruusOf(m, p.Contact)
	}
	if m.Method() != sip.INVITE && m.Method() != sip.REFER {
		return
	}
	if status >= 200 && m.Method() == sip.INVITE {
		p.answer = m
	}
	if rseq, ok := m.Int(sip.HRSeq); ok && status < 200 {
		p.reliable = fmt.Sprintf("%d %s", rseq, m.Get(sip.HCSeq))
	}
	if req, err := p.sent.Message(); status > 100 && status < 300 && m.ToTag() != "" && err == nil {
		if m.Method() == sip.INVITE {
			req = p.invite
		}
		if req.ToTag() == "" {
			p.know(DialogUAC(req, m))
		}
	}
}

// gruusOf reads the GRUUs of one contact (RFC 5627 §4.2).
func gruusOf(m *sip.Message, contact string) []string {
	list, _, err := m.Contacts()
	if err != nil {
		return nil
	}
	for _, c := range list {
		public, ok := c.Params.Get("pub-gruu")
		temporary, _ := c.Params.Get("temp-gruu")
		if ok && "<"+c.URI.String()+">" == contact {
			return []string{public, temporary}
		}
	}
	return nil
}

func (f *flow) nothing(p *party) {
	f.t.Helper()
	p.Barrier()
	for _, m := range p.Inbox() {
		if m.IsRequest() || m.Status() != 100 {
			f.fatalf("%s got %s, want nothing", p.Name, Line(m))
		}
	}
}

// edit changes what is sent as the lines below a step say.
func (f *flow) edit(_ *party, d *sip.Draft, attrs []string) {
	f.t.Helper()
	for _, a := range attrs {
		a = f.expand(a)
		switch {
		case strings.HasPrefix(a, "-"):
			d.RemoveName(a[1:])
			if id := sip.LookupHeader(a[1:]); id != sip.HOther {
				d.Remove(id)
			}
		case strings.HasPrefix(a, "body "):
			contentType, text, _ := strings.Cut(a[len("body "):], ": ")
			d.Body(contentType, []byte(strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(text)))
		case strings.HasPrefix(a, "sdp: "):
			d.Body("application/sdp", []byte(SDP(strings.Split(a[len("sdp: "):], " | ")...)))
		default:
			name, value, set := strings.Cut(a, " = ")
			if !set {
				name, value, _ = strings.Cut(a, ": ")
			}
			switch id := sip.LookupHeader(name); {
			case id == sip.HOther:
				d.AddName(name, value)
			case set:
				d.Set(id, value)
			default:
				d.Add(id, value)
			}
		}
	}
}

// misfit says what of the lines below a step does not hold; "" if all do.
func (f *flow) misfit(m *sip.Message, attrs []string) string {
	f.t.Helper()
	for _, a := range attrs {
		if name, ok := strings.CutPrefix(a, "!"); ok {
			if v := values(m, name); len(v) > 0 {
				return fmt.Sprintf("there is %s: %s", name, v[0])
			}
			continue
		}
		name, pattern, _ := strings.Cut(a, ": ")
		re, err := regexp.Compile("(?s)" + f.expandQuoted(pattern))
		if err != nil {
			f.fatalf("%v", err)
		}
		list := values(m, name)
		if !slices.ContainsFunc(list, re.MatchString) {
			return fmt.Sprintf("%s is %q, want %s", name, list, pattern)
		}
	}
	return ""
}

func values(m *sip.Message, name string) []string {
	switch name {
	case "body":
		return []string{string(m.Body())}
	case "uri":
		return []string{m.RequestURI()}
	case "reason":
		return []string{m.Reason()}
	}
	id := sip.LookupHeader(name)
	if id == sip.HOther {
		if v := m.GetName(name); v != "" {
			return []string{v}
		}
		return nil
	}
	return slices.Collect(m.Each(id))
}

var variable = regexp.MustCompile(`\{(\w+)\.(\w+)\}`)

func (f *flow) expand(s string) string { return f.replace(s, func(v string) string { return v }) }

func (f *flow) expandQuoted(s string) string { return f.replace(s, regexp.QuoteMeta) }

func (f *flow) replace(s string, quote func(string) string) string {
	f.t.Helper()
	return variable.ReplaceAllStringFunc(s, func(v string) string {
		m := variable.FindStringSubmatch(v)
		p := f.parties[m[1]]
		if p == nil {
			f.fatalf("there is no %s", m[1])
		}
		if m[2] == "contact" {
			return quote(strings.Trim(p.Contact, "<>"))
		}
		if m[2] == "gruu" || m[2] == "tempgruu" {
			if len(p.gruus) == 0 {
				f.fatalf("%s has no GRUU", m[1])
			}
			return quote(p.gruus[map[string]int{"gruu": 0, "tempgruu": 1}[m[2]]])
		}
		if len(p.dialogs) == 0 {
			f.fatalf("%s is in no dialog", m[1])
		}
		d := p.dialogs[len(p.dialogs)-1]
		switch m[2] {
		case "callid":
			return quote(d.CallID)
		case "localtag":
			return quote(tag(d.Local))
		case "remotetag":
			return quote(tag(d.Remote))
		case "target":
			return quote(d.Target)
		}
		f.fatalf("%s is unknown", v)
		return ""
	})
}

func tag(nameAddr string) string {
	n, err := sip.ParseNameAddr(nameAddr)
	if err != nil {
		return ""
	}
	return n.Tag()
}

// log waits for a record that no earlier step has used.
func (f *flow) log(words, attrs []string) {
	f.t.Helper()
	if len(words) != 3 {
		f.fatalf("log needs kind, from and to")
	}
	var last []*v1.Record
	found := func() bool {
		last = f.server.Records(words[0])
		for _, r := range last {
			if !f.logged[r.Seq] && person(r.From, words[1]) && person(r.To, words[2]) && f.fits(r, attrs) {
				f.logged[r.Seq] = true
				return true
			}
		}
		return false
	}
	done := false
	f.server.Eventually(fmt.Sprintf("%s:%d: the record %s %v", f.file, f.line, strings.Join(words, " "), attrs), func() bool {
		done = found()
		return done
	})
}

func person(aor, name string) bool { return name == "-" && aor == "" || aor == AOR(name) }

func (f *flow) fits(r *v1.Record, attrs []string) bool {
	f.t.Helper()
	for _, a := range attrs {
		name, pattern, _ := strings.Cut(a, ": ")
		value := r.Meta[name]
		switch name {
		case "body":
			value = string(r.Body)
		case "type":
			value = r.ContentType
		case "device":
			value = r.Device
		}
		re, err := regexp.Compile("(?s)" + f.expandQuoted(pattern))
		if err != nil {
			f.fatalf("%v", err)
		}
		if !re.MatchString(value) {
			return false
		}
	}
	return true
}
