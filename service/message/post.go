package message

import (
	"bytes"
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/rcsft"
	"github.com/parley-im/parley/wire/sip"
)

// Post is something that one person says to another over the API. Text, HTML or File is there.
type Post struct {
	From      string // AOR of the sender, who has signed in
	Device    string // the sender's session, as it is called in records
	To        string // address of the receiver, as people write it
	Display   string // name of the sender, "" for none
	RequestID string // makes a repeat recognisable, up to 64 bytes; "" for none
	Priority  string // of RFC 3261 §20.26; "": normal
	Text      string
	HTML      string        // see content.Sanitise; goes before Text
	ReplyTo   id.ID         // a message between the two that this one answers; zero for none
	File      *content.File // only ID is read: of an upload of the sender's; nil for none
	Caption   string        // words to the file
}

// maxRequestID is the longest id of a request, in bytes.
const maxRequestID = 64

// Post records p, hands it to delivery and returns the record, which nobody may change. It waits for no device: delivered is
// true only for a repeat whose first was delivered by then. Errors have words for the sender: Invalid, NotFound and Forbidden for the
// receiver's account, TooMany, Unavailable when it could not be recorded (then it was not delivered either; a repeat with the
// same RequestID is safe), Conflict when the RequestID was used for something else.
func (s *Service) Post(ctx context.Context, p Post) (rec *store.Record, delivered bool, err error) {
	if p.To, err = sip.ParseAOR(p.To); err != nil {
		return nil, false, err
	}
	r := s.newSaid(store.KindMessage, p.From, p.Device, p.To, p.RequestID)
	set(r, metaDisplay, p.Display)
	r.Meta[store.MetaMessageID] = r.ID.String() // receipts name it
	switch priority := strings.ToLower(p.Priority); priority {
	case "", "normal":
	case "emergency", "urgent", "non-urgent":
		r.Meta[store.MetaPriority] = priority
	default:
		return nil, false, refuse(errs.Invalid, "priority is emergency, urgent, normal or non-urgent")
	}
	o := Outgoing{From: p.From, To: p.To}
	to, err := s.mayPost(ctx, &o, p.RequestID)
	if err != nil {
		return nil, false, err
	}
	if p.File != nil {
		err = s.attach(ctx, r, p.File.ID, p.Caption)
	} else {
		err = s.write(r, p.Text, p.HTML)
	}
	if err != nil {
		return nil, false, err
	}
	if !p.ReplyTo.IsZero() {
		if err := s.quote(ctx, r, to, p.ReplyTo); err != nil {
			return nil, false, err
		}
	}
	s.typings.forget(p.From, p.To)
	return s.say(ctx, r)
}

// newSaid is a record of something that was said over the API.
func (s *Service) newSaid(kind, from, device, to, requestID string) *store.Record {
	r := &store.Record{ID: id.New(), Kind: kind, From: from, To: to, Device: device, Meta: make(map[string]string, 8)}
	r.Meta[store.MetaVia] = content.ViaAPI
	set(r, store.MetaRequestID, requestID)
	return r
}

// mayPost judges the sender's rate and the receiver's account, and returns that.
func (s *Service) mayPost(ctx context.Context, o *Outgoing, requestID string) (*store.User, error) {
	if len(requestID) > maxRequestID {
		return nil, refuse(errs.Invalid, "a request id has 64 bytes at most")
	}
	if !s.rate.Take(o.From, time.Now()) {
		s.metrics.refused.Inc()
		return nil, refuse(errs.TooMany, "you are sending messages faster than this server allows; wait a moment")
	}
	u, err := s.receiver(ctx, o)
	if err != nil {
		s.metrics.refused.Inc()
	}
	return u, err
}

// write puts a text into a record.
func (s *Service) write(r *store.Record, text, html string) error {
	if len(text) > s.o.MaxBody || len(html) > 2*s.o.MaxBody { // the other half may be what is taken out
		return s.tooLong()
	}
	text, r.ContentType = content.Clean(text), content.PlainType
	visible := html != "" || content.Visible(text)
	if html != "" {
		html = content.Sanitise(html)
		text, visible = content.Plain(html), content.VisibleHTML(html)
		if html = content.Formatting(html); html != "" {
			r.ContentType, r.Body = content.HTMLType, []byte(html)
		}
	}
	if r.Body == nil {
		r.Body = []byte(text)
	}
	switch {
	case !visible:
		return refuse(errs.Invalid, "there is no text in the message, or nothing of it can be seen")
	case len(r.Body) > s.o.MaxBody:
		return s.tooLong()
	}
	return nil
}

// MaxRequest is how large a request to say something may be in bytes: JSON writes a byte with up to six, and half of HTML may be
// what is taken out.
func (s *Service) MaxRequest() int { return 12*s.o.MaxBody + 64<<10 }

func (s *Service) tooLong() error {
	return refuse(errs.Invalid, "the message is larger than "+strconv.Itoa(s.o.MaxBody>>10)+" kB; send it as a file")
}

// attach puts a file into a record.
func (s *Service) attach(ctx context.Context, r *store.Record, file, caption string) error {
	if s.o.Files == nil {
		return refuse(errs.Invalid, "this server takes no files")
	}
	if len(caption) > maxCaption {
		return refuse(errs.Invalid, "the words to a file have "+strconv.Itoa(maxCaption>>10)+" kB at most; send them as a message")
	}
	f, err := s.o.Files.Claim(ctx, r.From, r.To, file)
	if err != nil {
		return err
	}
	c := fileOf(f)
	// The record's address is for people to read. Devices get one that is made for them, when it goes out to them.
	if c.URL, _ = s.o.Files.Link(f.ID, f.Name, r.To); c.URL != "" {
		c.URL, _, _ = strings.Cut(c.URL, "?")
	} else {
		_, domain, _ := strings.Cut(r.From, "@")
		c.URL = "https://" + domain + "/files/" + f.ID
	}
	r.ContentType, r.Body = rcsft.ContentType, c.Document()
	content.SetFile(r, c)
	if content.Visible(caption) {
		set(r, store.MetaCaption, content.Clean(strings.TrimSpace(caption)))
	}
	return nil
}

// maxCaption leaves place for the rest of a record's Meta, in bytes.
const maxCaption = store.MaxMeta / 4

func fileOf(f *store.File) *content.File {
	return &content.File{
		ID: f.ID, Name: rcsft.CleanName(f.Name), Type: f.Type, Size: f.Size, Width: f.Width, Height: f.Height,
		SHA256: f.SHA256.String(), Small: !f.Thumbnail.IsZero(),
	}
}

// adopt notes in a message of a SIP client that the file in it is one of ours, when it is, and then goes on.
func (s *Service) adopt(r *store.Record, then func()) {
	c := content.Read(r)
	if c.File == nil {
		then()
		return
	}
	file, ok := s.o.Files.Own(c.File.URL, r.From)
	if !ok {
		then()
		return
	}
	s.readers.do(func(ctx context.Context) {
		f, err := s.o.Files.Claim(ctx, r.From, r.To, file)
		if err == nil {
			content.SetFile(r, fileOf(f))
		} else if errs.KindOf(err) != errs.NotFound {
			s.o.Log.Warn("message: a file cannot be looked up; the message goes on with its address alone", "err", err)
		}
		then()
	})
}

// quote notes what r answers. peer is the account of its receiver.
func (s *Service) quote(ctx context.Context, r *store.Record, peer *store.User, about id.ID) error {
	m, err := s.between(ctx, r.From, peer, about)
	if errs.KindOf(err) == errs.NotFound && err != nil {
		return refuse(errs.Invalid, "what you answer is not in this conversation")
	}
	if err != nil {
		return err
	}
	text, _, err := s.current(ctx, m)
	if err != nil {
		return err
	}
	r.Meta[store.MetaReplyTo] = about.String()
	set(r, store.MetaQuoteFrom, m.From)
	set(r, store.MetaQuote, text)
	return nil
}

// between finds a message that one of two people said to the other, and that both may know: an account of the same name that was
// made later is somebody else. Errors: NotFound, Unavailable.
func (s *Service) between(ctx context.Context, aor string, peer *store.User, rid id.ID) (*store.Record, error) {
	m, err := s.o.Store.Find(ctx, rid)
	if err != nil {
		return nil, errs.Wrap(errs.KindOf(err), err, "message: looking for a message")
	}
	self, err := s.account(ctx, aor)
	if err != nil {
		return nil, err
	}
	two := m.From == aor && m.To == peer.AOR || m.From == peer.AOR && m.To == aor
	if m.Kind != store.KindMessage || !two || !knows(self, m) || !knows(peer, m) {
		return nil, errNoMessage
	}
	return m, nil
}

var errNoMessage = errs.Say(errs.New(errs.NotFound, "message: no such message"), "there is no such message")

// knows tells whether an account was there when something was said.
func knows(u *store.User, r *store.Record) bool {
	if u.Since != 0 {
		return r.Seq > u.Since
	}
	return !r.At.Before(u.Created)
}

// account waits for an account.
func (s *Service) account(ctx context.Context, aor string) (*store.User, error) {
	type answer struct {
		u   *store.User
		err error
	}
	got := make(chan answer, 1)
	s.o.Accounts.Lookup(aor, func(u *store.User, err error) { got <- answer{u, err} })
	select {
	case a := <-got:
		return a.u, a.err
	case <-ctx.Done():
		return nil, errs.Wrap(errs.Unavailable, ctx.Err(), "message: looking for an account")
	}
}

// current is how a message is quoted as it stands now, "" for one that was taken back, and what was done to it.
func (s *Service) current(ctx context.Context, m *store.Record) (quote string, about []store.Record, err error) {
	if err := s.indexed(ctx); err != nil {
		return "", nil, errs.Wrap(errs.Unavailable, err, "message: waiting for the index")
	}
	about, err = s.o.Store.About(ctx, m.ID)
	if err != nil {
		return "", nil, errs.Wrap(errs.Unavailable, err, "message: reading what was done to a message")
	}
	quote = content.QuoteOf(m)
	for i := range about {
		switch r := &about[i]; {
		case r.From != m.From:
		case r.Kind == store.KindRetract:
			return "", about, nil
		case r.Kind == store.KindEdit:
			quote = cmp.Or(content.QuoteOf(r), quote)
		}
	}
	return quote, about, nil
}

// answer is what became of a record: it is in the log, or not, or was there before.
type answer struct {
	recorded bool
	result   Result // when it is not recorded
}

// say records r, once, and hands it to delivery.
func (s *Service) say(ctx context.Context, r *store.Record) (rec *store.Record, delivered bool, err error) {
	answers := make(chan answer, 2) // that it is recorded, and what became of it
	p := &pending{service: s, rec: r, done: func(res Result) { answers <- answer{result: res} }}
	s.whenReady(func() {
		s.append(p, func() {
			answers <- answer{recorded: true}
			s.recorded(r)
			if !content.Tells(r) && r.Kind == store.KindReceipt {
				p.settle(Result{Status: 202}) // pages see it in the log
				return
			}
			w := s.shardOf(r.To)
			w.post(func() { w.deliver(p) })
		})
	})
	select {
	case a := <-answers:
		if a.recorded {
			return r, false, nil
		}
		if a.result.ID.IsZero() || a.result.lost {
			return nil, false, a.result.err()
		}
		return s.repeated(ctx, r, a.result)
	case <-ctx.Done():
		return nil, false, errs.Wrap(errs.Unavailable, ctx.Err(), "message: waiting for the log")
	}
}

// repeated is the answer to what was recorded before.
func (s *Service) repeated(ctx context.Context, r *store.Record, res Result) (*store.Record, bool, error) {
	old, err := s.o.Store.Find(ctx, res.ID)
	if err != nil {
		return nil, false, errs.Wrap(errs.KindOf(err), err, "message: looking for what was recorded before")
	}
	if old.Kind != r.Kind || old.Ref != r.Ref || !saysTheSame(old, r) {
		return nil, false, refuse(errs.Conflict, "this request id was used for something else")
	}
	return old, res.Status == 200, nil
}

// saysTheSame tells whether two records have the same content: who says something else under an id that was used must hear that it
// is not recorded. A file that is passed on is another one each time.
func saysTheSame(a, b *store.Record) bool {
	if a.MetaValue(store.MetaFile) != "" && b.MetaValue(store.MetaFile) != "" {
		return a.MetaValue(store.MetaCaption) == b.MetaValue(store.MetaCaption)
	}
	return a.ContentType == b.ContentType && bytes.Equal(a.Body, b.Body) && a.MetaValue(store.MetaReplyTo) == b.MetaValue(store.MetaReplyTo) &&
		a.MetaValue(store.MetaRemoved) == b.MetaValue(store.MetaRemoved)
}

// refuse is an error with words for people.
func refuse(k errs.Kind, words string) error {
	return errs.Say(errs.New(k, "message: %s", words), words)
}

// err is a refusal as an error.
func (r *Result) err() error {
	kind := errs.Internal
	switch r.Status {
	case 400, 413, 415:
		kind = errs.Invalid
	case 403, 480: // a disabled account
		kind = errs.Forbidden
	case 404:
		kind = errs.NotFound
	case 500:
		kind = errs.Unavailable
	case 503:
		kind = errs.TooMany
	}
	return refuse(kind, cmp.Or(r.Warning, r.Reason, "the message was refused"))
}
