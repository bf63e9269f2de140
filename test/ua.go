package test

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// UA is a user agent that does what a test tells it, and nothing by itself.
type UA struct {
	*Peer
	Name     string // "bob2": a second user agent of bob
	User     string // "bob"
	Password string
	Style    DigestStyle
	Contact  string // of its requests and responses, in angle brackets; with parameters when it registers
	Params   string // of the Contact in REGISTER, such as ;+sip.instance="<urn:uuid:…>";reg-id=1
	Extra    func(*sip.Draft)

	server   *Server
	asked    *Challenge // the last challenge
	cseq     int
	register struct{ callID, tag string }
}

// UA makes a user agent on a socket of its own. name is a user, or a user with a number behind it.
func (s *Server) UA(name string, kind transport.Kind, from ...From) *UA {
	s.t.Helper()
	user := name
	if !strings.Contains(name, "@") {
		user = strings.TrimRight(name, "0123456789")
	}
	u := &UA{Peer: s.Dial(kind, from...), Name: name, User: user, Password: Password(user), server: s}
	account, _, _ := strings.Cut(user, "@")
	u.Contact = fmt.Sprintf("<sip:%s@%s;transport=%v>", account, u.Local, kind)
	if kind == transport.UDP {
		u.Contact = fmt.Sprintf("<sip:%s@%s>", account, u.Local)
	}
	if kind == transport.WS || kind == transport.WSS {
		// As browsers do: they cannot be reached but on their own socket (RFC 7118 §5).
		u.Contact = fmt.Sprintf("<sip:%s@%s.invalid;transport=ws>", account, "x"+Unique())
	}
	u.register.callID, u.register.tag = "reg-"+Unique()+"@test", "r"+Unique()
	return u
}

// SignedIn is UA that has registered.
func (s *Server) SignedIn(name string, kind transport.Kind, from ...From) *UA {
	s.t.Helper()
	u := s.UA(name, kind, from...)
	u.Register()
	return u
}

// Instance makes the user agent a device of its own (RFC 5626): id is any name.
func (u *UA) Instance(id string) *UA {
	u.Params = fmt.Sprintf(`;+sip.instance="<urn:uuid:00000000-0000-4000-8000-%012x>"`, []byte(fmt.Sprintf("%6.6s", id)))
	return u
}

// AOR is the user's address.
func (u *UA) AOR() string { return AOR(u.User) }

// Request makes a request outside a dialog, with all that it needs.
func (u *UA) Request(method, uri string) *sip.Draft {
	u.cseq++
	if !strings.Contains(uri, ":") {
		uri = "sip:" + AOR(uri)
	}
	return sip.NewRequest(method, uri).
		Add(sip.HVia, u.Via()).
		Add(sip.HMaxForwards, "70").
		Add(sip.HFrom, "<sip:"+u.AOR()+">;tag=f"+Unique()).
		Add(sip.HTo, "<"+uri+">").
		Add(sip.HCallID, "call-"+Unique()+"-"+u.Local.String()).
		Add(sip.HCSeq, strconv.Itoa(u.cseq)+" "+method)
}

// Do sends a request, answers a challenge once, and returns the final response. It acknowledges what is not 2xx.
func (u *UA) Do(d *sip.Draft) *sip.Message {
	u.t.Helper()
	m := u.Ask(d)
	if s := m.Status(); s != 401 && s != 407 {
		return m
	}
	again, ok := u.Answered(d, m)
	if !ok {
		return m
	}
	return u.Ask(again)
}

// Ask sends a request as it is and returns the final response.
func (u *UA) Ask(d *sip.Draft) *sip.Message {
	u.t.Helper()
	u.Write(d.Bytes())
	return u.Final(d)
}

// Final waits for the final response to a request.
func (u *UA) Final(d *sip.Draft) *sip.Message {
	u.t.Helper()
	req, err := d.Message()
	if err != nil {
		u.t.Fatalf("our own request: %v", err)
	}
	via, err := req.TopVia()
	if err != nil {
		u.t.Fatalf("our own Via: %v", err)
	}
	m := u.Wait("the answer to "+Line(req), func(m *sip.Message) bool {
		v, err := m.TopVia()
		return err == nil && !m.IsRequest() && m.Status() >= 200 && v.Branch() == via.Branch() && m.Method() == req.Method()
	})
	if req.Method() == sip.INVITE && m.Status() >= 300 {
		u.Write(ackFor(req, m).Bytes())
	}
	return m
}

// ackFor is the ACK of a final response that is not 2xx (RFC 3261 §17.1.1.3).
func ackFor(req, resp *sip.Message) *sip.Draft {
	d := sip.NewRequest(sip.ACK, req.RequestURI()).
		Add(sip.HVia, req.Get(sip.HVia)).
		Add(sip.HMaxForwards, "70").
		Add(sip.HFrom, req.Get(sip.HFrom)).
		Add(sip.HTo, resp.Get(sip.HTo)).
		Add(sip.HCallID, req.CallID())
	for v := range req.Each(sip.HRoute) {
		d.Add(sip.HRoute, v)
	}
	seq, _ := req.CSeq() // our own
	return d.Add(sip.HCSeq, strconv.FormatUint(uint64(seq.Seq), 10)+" ACK")
}

// Answered is a request again, with credentials for the challenge in resp, the next CSeq and a new branch. It is false
// when there is no challenge that the user agent can answer.
func (u *UA) Answered(d *sip.Draft, resp *sip.Message) (*sip.Draft, bool) {
	c := choose(ParseChallenges(resp), u.Style)
	if c == nil {
		return nil, false
	}
	u.asked = c
	req, err := d.Message()
	if err != nil {
		u.t.Fatalf("our own request: %v", err)
	}
	u.cseq++
	again := req.Edit().
		ReplaceFirst(sip.HVia, u.Via()).
		Set(sip.HCSeq, strconv.Itoa(u.cseq)+" "+req.Method()).
		Remove(sip.HAuthorization).Remove(sip.HProxyAuthorization)
	u.Authorize(again)
	return again, true
}

// Authorize adds credentials for the last challenge to a request.
func (u *UA) Authorize(d *sip.Draft) *sip.Draft {
	c := u.asked
	id := sip.HAuthorization
	if c.Proxy {
		id = sip.HProxyAuthorization
	}
	account, _, _ := strings.Cut(u.User, "@")
	return d.Set(id, c.Answer(u.Style, sip.Unescape(account), u.Password, d.Method(), d.URI()))
}

// RegisterRequest makes a REGISTER for the user agent's contact.
func (u *UA) RegisterRequest(expires int) *sip.Draft {
	_, domain, _ := strings.Cut(u.AOR(), "@")
	d := u.Request(sip.REGISTER, "sip:"+domain).
		Set(sip.HFrom, "<sip:"+u.AOR()+">;tag="+u.register.tag).
		Set(sip.HTo, "<sip:"+u.AOR()+">").
		Set(sip.HCallID, u.register.callID).
		Add(sip.HContact, u.Contact+u.Params+";expires="+strconv.Itoa(expires))
	if strings.Contains(u.Params, "reg-id") {
		d.Add(sip.HSupported, "path, outbound, gruu")
	}
	if u.Extra != nil {
		u.Extra(d)
	}
	return d
}

// Register signs in; anything but 200 ends the test.
func (u *UA) Register() *sip.Message {
	u.t.Helper()
	m := u.Do(u.RegisterRequest(3600))
	if m.Status() != 200 {
		u.t.Fatalf("%s over %v: REGISTER got %s", u.Name, u.Kind, Line(m))
	}
	return m
}

// SignOut takes the registration back.
func (u *UA) SignOut() {
	u.t.Helper()
	if m := u.Do(u.RegisterRequest(0)); m.Status() != 200 {
		u.t.Fatalf("%s over %v: REGISTER with expires=0 got %s", u.Name, u.Kind, Line(m))
	}
}

// MessageRequest makes a MESSAGE with a text.
func (u *UA) MessageRequest(to, text string) *sip.Draft {
	return u.Request(sip.MESSAGE, to).Body("text/plain;charset=UTF-8", []byte(text))
}

// Say sends a text and returns the final response.
func (u *UA) Say(to, text string) *sip.Message {
	u.t.Helper()
	return u.Do(u.MessageRequest(to, text))
}

// Says sends a text and wants a status.
func (u *UA) Says(to, text string, status int) *sip.Message {
	u.t.Helper()
	began := time.Now()
	m := u.Say(to, text)
	if m.Status() != status && !(status == 200 && Taken(m, began)) {
		u.t.Fatalf("%s to %s %q: got %s, want %d", u.Name, to, text, Line(m), status)
	}
	return m
}

// Taken tells whether a message, sent at began, was taken by a device: 200, or 202 when the device's answer took the
// server's two seconds or longer, as on a machine that does other things beside.
func Taken(m *sip.Message, began time.Time) bool {
	return m.Status() == 200 || m.Status() == 202 && time.Since(began) >= 2*time.Second
}

// Either waits until a request arrives at to, or has its final answer at from.
func Either(from, to *UA, method string) (arrived, answer *sip.Message) {
	from.t.Helper()
	Eventually(from.t, method+" or an answer", func() bool {
		m, err := to.Find(time.Millisecond, func(m *sip.Message) bool { return m.IsRequest() && m.Method() == method })
		if err == nil {
			arrived = m
			return true
		}
		m, err = from.Find(time.Millisecond, func(m *sip.Message) bool { return final(m) && m.Method() == method })
		answer = m
		return err == nil
	})
	return arrived, answer
}

// Passes sends a text, has it taken if it arrives, and tells whether it did; it is false when the server refused it.
func Passes(from, to *UA, text string) bool {
	from.t.Helper()
	from.Write(from.MessageRequest(to.User, text).Bytes())
	arrived, answer := Either(from, to, sip.MESSAGE)
	if arrived == nil {
		if answer.Status() >= 300 {
			return false
		}
		arrived = to.Expect(sip.MESSAGE) // the answer to it was overdue
	}
	if string(arrived.Body()) != text {
		from.t.Fatalf("%s got %q, want %q", to.Name, arrived.Body(), text)
	}
	to.Reply(arrived, 200)
	if answer == nil {
		answer = from.Wait("the answer to "+text, final)
	}
	return answer.Status() < 300
}

// Expect waits for a request with a method; others stay in the inbox.
func (u *UA) Expect(method string) *sip.Message {
	u.t.Helper()
	return u.Wait(u.Name+"'s "+method, func(m *sip.Message) bool { return m.IsRequest() && m.Method() == method })
}

// Hears waits for the next MESSAGE, wants it to have a text, and answers 200.
func (u *UA) Hears(text string) *sip.Message {
	u.t.Helper()
	m := u.Expect(sip.MESSAGE)
	if string(m.Body()) != text {
		u.t.Fatalf("%s heard %q, want %q", u.Name, m.Body(), text)
	}
	u.Reply(m, 200)
	return m
}

// Reply answers a request.
func (u *UA) Reply(req *sip.Message, status int, edits ...func(*sip.Draft)) {
	u.t.Helper()
	u.Write(u.Response(req, status, edits...).Bytes())
}

// Response is the answer to a request, with a To tag that stays the same for the Call-ID, and the headers that a
// dialog needs.
func (u *UA) Response(req *sip.Message, status int, edits ...func(*sip.Draft)) *sip.Draft {
	d := sip.NewResponse(req, status, "")
	if status > 100 {
		d.SetToTag("t-" + strings.ReplaceAll(u.Name, "@", ".at.") + "-" + strconv.Itoa(int(u.Local.Port())))
	}
	if m := req.Method(); (m == sip.INVITE || m == sip.SUBSCRIBE || m == sip.REFER || m == sip.UPDATE) && status > 100 && status < 300 {
		for v := range req.Each(sip.HRecordRoute) {
			d.Add(sip.HRecordRoute, v)
		}
		d.Add(sip.HContact, u.Contact)
	}
	for _, edit := range edits {
		edit(d)
	}
	return d
}

// Silent tells what came until now although nothing should have: it waits for the answer to an OPTIONS, which the
// server gives after what it sent before.
func (u *UA) Silent(method string) {
	u.t.Helper()
	u.Barrier()
	for _, m := range u.Inbox() {
		if m.IsRequest() && m.Method() == method {
			u.t.Fatalf("%s got %s with %q, want nothing", u.Name, Line(m), m.Body())
		}
	}
}

// Barrier sends an OPTIONS to the server and waits for the answer, so that everything that the server had sent to this
// socket before is here.
func (u *UA) Barrier() {
	u.t.Helper()
	if m := u.Do(u.Request(sip.OPTIONS, "sip:"+Domain)); m.Status() != 200 {
		u.t.Fatalf("%s: OPTIONS to the server got %s", u.Name, Line(m))
	}
}

// Dialog is one side of a dialog (RFC 3261 §12).
type Dialog struct {
	CallID        string
	Local, Remote string // From and To of our requests, with tags
	Target        string // the other side's Contact
	Routes        []string
	Seq           int
}

// DialogUAC is the dialog of the caller, made by a response.
func DialogUAC(req, resp *sip.Message) *Dialog {
	d := &Dialog{CallID: resp.CallID(), Local: resp.Get(sip.HFrom), Remote: resp.Get(sip.HTo), Target: contactURI(resp)}
	for v := range resp.Values(sip.HRecordRoute) {
		d.Routes = append([]string{v}, d.Routes...)
	}
	seq, _ := req.CSeq() // our own
	d.Seq = int(seq.Seq)
	return d
}

// DialogUAS is the dialog of the callee, made by its response.
func DialogUAS(req, resp *sip.Message) *Dialog {
	d := &Dialog{CallID: req.CallID(), Local: resp.Get(sip.HTo), Remote: resp.Get(sip.HFrom), Target: contactURI(req)}
	for v := range req.Values(sip.HRecordRoute) {
		d.Routes = append(d.Routes, v)
	}
	return d
}

func contactURI(m *sip.Message) string {
	list, _, err := m.Contacts()
	if err != nil || len(list) == 0 {
		return ""
	}
	return list[0].URI.String()
}

// InDialog makes a request inside a dialog. An ACK has the CSeq of the user agent's last other request there; Seq can be
// set before.
func (u *UA) InDialog(dlg *Dialog, method string) *sip.Draft {
	if method != sip.ACK {
		dlg.Seq = max(dlg.Seq, u.cseq) + 1
		u.cseq = dlg.Seq
	}
	d := sip.NewRequest(method, dlg.Target).
		Add(sip.HVia, u.Via()).
		Add(sip.HMaxForwards, "70")
	for _, r := range dlg.Routes {
		d.Add(sip.HRoute, r)
	}
	return d.Add(sip.HFrom, dlg.Local).
		Add(sip.HTo, dlg.Remote).
		Add(sip.HCallID, dlg.CallID).
		Add(sip.HCSeq, strconv.Itoa(dlg.Seq)+" "+method)
}
