package message

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
	"github.com/parley-im/parley/wire/iscomposing"
	"github.com/parley-im/parley/wire/rcsft"
	"github.com/parley-im/parley/wire/sip"
)

const carol = "carol@example.com"

// page is the session of alice.
const page = "web:0123456789ab"

// programs are what the rig's devices run, and how much they take.
type programs struct {
	agents map[string]string
	limits map[string]int
}

func (p programs) Agent(_, device string) string { return p.agents[device] }
func (p programs) Limit(_, device string) int    { return p.limits[device] }
func (p programs) Link(m id.ID) string           { return "https://chat.example.com/m/" + m.String() }

// startPages is a rig with three people.
func startPages(t testing.TB, options func(*Options)) *rig {
	r := prepare(t)
	r.users[carol] = &store.User{AOR: carol}
	r.options = options
	r.run()
	return r
}

// post says something as alice to bob.
func (r *rig) post(p Post) *store.Record {
	r.t.Helper()
	p.From, p.Device, p.To, p.Display = alice, page, bob, "Alice"
	rec, _, err := r.service.Post(context.Background(), p)
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

func (r *rig) change(rec *store.Record) Change {
	return Change{From: alice, Device: page, Message: rec.ID}
}

// must is the record of a change.
func (r *rig) must(rec *store.Record, err error) *store.Record {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

// What is said over the API is on record when Post returns, and arrives at SIP devices as text that people can read.
func TestPost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, nil)
		ctx := context.Background()
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		own := r.signIn(alice, "urn:uuid:own", nil)

		first := r.post(Post{Text: "see you\r\nat <8>", Priority: "Urgent", RequestID: "1"})
		if first.Seq == 0 || first.Kind != store.KindMessage || first.Device != page || string(first.Body) != "see you\nat <8>" || first.ContentType != content.PlainType {
			t.Errorf("record %+v", first)
		}
		m := phone.next()
		if from, _ := m.From(); from.Display != "Alice" || from.URI.AOR() != alice || m.Get(sip.HPriority) != "urgent" || m.Get(sip.HContentType) != content.PlainType || string(m.Body()) != "see you\nat <8>" {
			t.Errorf("\n%s", m.Bytes())
		}
		rich := r.post(Post{HTML: `<p>one <b onclick=alert(1)>two</b></p><p>three<script>alert(1)</script>`})
		if rich.ContentType != content.HTMLType || string(rich.Body) != "<p>one <strong>two</strong></p><p>three</p>" {
			t.Errorf("record %s %q", rich.ContentType, rich.Body)
		}
		plain := r.post(Post{HTML: "<p>nothing <font>special</font></p>"})
		if plain.ContentType != content.PlainType || string(plain.Body) != "nothing special" {
			t.Errorf("record %s %q", plain.ContentType, plain.Body)
		}
		reply := r.post(Post{Text: "yes", ReplyTo: first.ID})
		if reply.MetaValue(store.MetaQuote) != "see you at <8>" || reply.MetaValue(store.MetaQuoteFrom) != alice {
			t.Errorf("record %+v", reply)
		}
		edit := r.must(r.service.Edit(ctx, r.change(first), "see you at nine", ""))
		again := r.post(Post{Text: "or no", ReplyTo: first.ID})
		react := r.must(r.service.React(ctx, Change{From: bob, Device: page, Message: first.ID}, "👍", false))
		r.must(r.service.React(ctx, r.change(first), "🎉", false))
		r.must(r.service.React(ctx, r.change(first), "🎉", true))
		retract := r.must(r.service.Retract(ctx, r.change(first)))
		gone := r.post(Post{Text: "gone", ReplyTo: first.ID})
		if edit.Ref != first.ID || edit.To != bob || react.From != bob || react.To != alice || retract.Ref != first.ID || again.Seq < edit.Seq {
			t.Errorf("records %+v %+v %+v", edit, react, retract)
		}
		if q := gone.MetaValue(store.MetaQuote); q != "" {
			t.Errorf("what was taken back is quoted: %q", q)
		}
		for _, want := range []string{
			"one two\n\nthree", "nothing special", "> see you at <8>\n\nyes", "Edited: see you at nine", "> see you at nine\n\nor no",
			"🎉 to “see you at nine”", "Deleted: “see you at nine”", "gone",
		} {
			if got := phone.text(); got != want {
				t.Errorf("the phone shows %q, want %q", got, want)
			}
		}
		if got := own.text(); got != "👍 to “see you at nine”" { // and nothing of what its owner said elsewhere
			t.Errorf("alice's phone shows %q", got)
		}
		r.eventually("the outcomes are recorded, that of what was not told as well as nothing", func() bool { return len(r.records(store.KindDelivery)) == 10 })
	})
}

// A device that was away gets the message and then what was done to it.
func TestPostAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, nil)
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		r.post(Post{Text: "first"})
		phone.text()
		phone.signOut()
		rec := r.post(Post{Text: "secnod"})
		r.must(r.service.Edit(context.Background(), r.change(rec), "second", ""))
		r.must(r.service.React(context.Background(), r.change(rec), "🙈", false))
		r.must(r.service.React(context.Background(), r.change(rec), "🙈", true))
		r.post(Post{Text: "third"})
		phone = r.signIn(bob, "urn:uuid:phone", nil)
		for _, want := range []string{"secnod", "Edited: second", "🙈 to “second”", "third"} {
			if got := phone.text(); got != want {
				t.Errorf("the phone shows %q, want %q", got, want)
			}
		}
	})
}

// The same request is one record, whoever sends it again, also after a restart.
func TestPostRepeats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, nil)
		ctx := context.Background()
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		p := Post{Text: "once", RequestID: "q1"}
		var mu sync.Mutex
		ids := map[id.ID]int{}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				rec := r.post(p)
				mu.Lock()
				defer mu.Unlock()
				ids[rec.ID]++
			})
		}
		wg.Wait()
		first := r.post(p)
		if len(ids) != 1 || ids[first.ID] != 8 {
			t.Errorf("records %v", ids)
		}
		c := r.change(first)
		c.RequestID = "q2"
		edit, retract := r.must(r.service.Edit(ctx, c, "twice", "")), Change{}
		if again := r.must(r.service.Edit(ctx, c, "twice", "")); again.ID != edit.ID {
			t.Error("two edits")
		}
		retract, retract.RequestID = c, "q3"
		taken := r.must(r.service.Retract(ctx, retract))
		r.stop()
		r.run()
		if again := r.must(r.service.Retract(ctx, retract)); again.ID != taken.ID {
			t.Error("two retractions")
		}
		if rec := r.post(p); rec.ID != first.ID || string(rec.Body) != "once" {
			t.Errorf("after a restart: %+v", rec)
		}
		if _, err := r.service.Retract(ctx, r.change(first)); errs.KindOf(err) != errs.Conflict {
			t.Errorf("taken back twice: %v", err)
		}
		if _, _, err := r.service.Post(ctx, Post{From: alice, To: bob, Text: "x", RequestID: "q3"}); errs.KindOf(err) != errs.Conflict {
			t.Errorf("the id of another request: %v", err)
		}
		r.service.Arrived(bob, phone.name)
		for _, want := range []string{"once", "Edited: twice", "Deleted: “twice”"} {
			if got := phone.text(); got != want {
				t.Errorf("the phone shows %q, want %q", got, want)
			}
		}
		if n := len(r.records(store.KindMessage, store.KindEdit, store.KindRetract)); n != 3 {
			t.Errorf("%d records", n)
		}
	})
}

// Nothing is said that is not on record.
func TestPostUnrecorded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := prepare(t)
		r.faultLog = func(l store.Log) store.Log { return brokenLog{l} }
		r.run()
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		_, _, err := r.service.Post(context.Background(), Post{From: alice, To: bob, Text: "lost", RequestID: "1"})
		if errs.KindOf(err) != errs.Unavailable || !strings.Contains(errs.Reason(err), "could not be recorded") {
			t.Errorf("err = %v", err)
		}
		if rec := r.post(Post{Text: "kept", RequestID: "1"}); string(rec.Body) != "kept" { // it is no repeat
			t.Errorf("%+v", rec)
		}
		if got := phone.text(); got != "kept" {
			t.Errorf("the phone shows %q", got)
		}
	})
}

// brokenLog refuses what says that it is lost.
type brokenLog struct{ store.Log }

func (l brokenLog) Append(r *store.Record, done func(error)) {
	if string(r.Body) == "lost" {
		go done(store.ErrUnavailable)
		return
	}
	l.Log.Append(r, done)
}

// Who may not, what cannot be, and that there are words for it.
func TestPostRefusals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, func(o *Options) { o.MaxBody = 1000 })
		ctx := context.Background()
		r.users["gone@example.com"] = &store.User{AOR: "gone@example.com", Disabled: true}
		r.users["new@example.com"] = &store.User{AOR: "new@example.com", Since: 1 << 40}
		rec := r.post(Post{Text: "hello"})
		taken := r.post(Post{Text: "taken back"})
		r.must(r.service.Retract(ctx, r.change(taken)))
		call := &store.Record{Kind: store.KindCallStart, From: alice, To: bob}
		done := make(chan error, 1)
		r.store.Append(call, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		before := len(r.records(store.KindMessage, store.KindEdit, store.KindRetract, store.KindReaction, store.KindReceipt))

		post := func(change func(*Post)) error {
			p := Post{From: alice, To: bob, Text: "x"}
			change(&p)
			_, _, err := r.service.Post(ctx, p)
			return err
		}
		edit := func(from string, of id.ID, text string) error {
			_, err := r.service.Edit(ctx, Change{From: from, Message: of}, text, "")
			return err
		}
		retract := func(from string, of id.ID) error {
			_, err := r.service.Retract(ctx, Change{From: from, Message: of})
			return err
		}
		react := func(from string, of id.ID, emoji string, remove bool) error {
			_, err := r.service.React(ctx, Change{From: from, Message: of}, emoji, remove)
			return err
		}
		for name, c := range map[string]struct {
			err  error
			want errs.Kind
		}{
			"no such person":        {post(func(p *Post) { p.To = "nobody@example.com" }), errs.NotFound},
			"disabled":              {post(func(p *Post) { p.To = "gone@example.com" }), errs.Forbidden},
			"nothing":               {post(func(p *Post) { p.Text = " \n" }), errs.Invalid},
			"nothing left":          {post(func(p *Post) { p.Text, p.HTML = "", "<script>x</script>" }), errs.Invalid},
			"too long":              {post(func(p *Post) { p.Text = strings.Repeat("x", 1001) }), errs.Invalid},
			"too long as html":      {post(func(p *Post) { p.HTML = "<em>" + strings.Repeat("x", 1001) }), errs.Invalid},
			"priority":              {post(func(p *Post) { p.Priority = "very" }), errs.Invalid},
			"request id":            {post(func(p *Post) { p.RequestID = strings.Repeat("x", 65) }), errs.Invalid},
			"a file":                {post(func(p *Post) { p.File = &content.File{ID: "1"} }), errs.Invalid},
			"reply to nothing":      {post(func(p *Post) { p.ReplyTo = id.New() }), errs.Invalid},
			"reply elsewhere":       {post(func(p *Post) { p.To, p.ReplyTo = carol, rec.ID }), errs.Invalid},
			"reply of a stranger":   {post(func(p *Post) { p.From, p.ReplyTo = carol, rec.ID }), errs.Invalid},
			"reply to a call":       {post(func(p *Post) { p.ReplyTo = call.ID }), errs.Invalid},
			"edit of a stranger":    {edit(carol, rec.ID, "x"), errs.NotFound},
			"edit of the receiver":  {edit(bob, rec.ID, "x"), errs.Forbidden},
			"edit of nothing":       {edit(alice, id.New(), "x"), errs.NotFound},
			"edit to nothing":       {edit(alice, rec.ID, ""), errs.Invalid},
			"edit to no width":      {edit(alice, rec.ID, "\u200b \u2066\ufe0f"), errs.Invalid},
			"nothing to see":        {post(func(p *Post) { p.Text = "\u200b\u202e\u2800" }), errs.Invalid},
			"an empty quote":        {post(func(p *Post) { p.HTML = "<blockquote>&#x200b;</blockquote>" }), errs.Invalid},
			"edit of what is gone":  {edit(alice, taken.ID, "x"), errs.Conflict},
			"edit of a call":        {edit(alice, call.ID, "x"), errs.NotFound},
			"retract of a stranger": {retract(carol, rec.ID), errs.NotFound},
			"retract of receiver":   {retract(bob, rec.ID), errs.Forbidden},
			"retract twice":         {retract(alice, taken.ID), errs.Conflict},
			"react as a stranger":   {react(carol, rec.ID, "👍", false), errs.NotFound},
			"react with words":      {react(bob, rec.ID, "no", false), errs.Invalid},
			"react with two":        {react(bob, rec.ID, "👍👍", false), errs.Invalid},
			"react to what is gone": {react(bob, taken.ID, "👍", false), errs.Conflict},
			"take nothing away":     {react(bob, rec.ID, "👍", true), errs.NotFound},
			"typing to nobody":      {r.service.SetTyping(ctx, alice, "nobody@example.com", true), errs.NotFound},
			"read the future":       {r.service.MarkRead(ctx, alice, page, bob, 1<<50, true), errs.Invalid},
		} {
			if errs.KindOf(c.err) != c.want || c.err == nil || errs.Reason(c.err) == errs.Reason(c.want) {
				t.Errorf("%s: %v (%v), want %v with words", name, c.err, errs.KindOf(c.err), c.want)
			}
		}
		// Somebody who has an account of the same name now is somebody else.
		r.mu.Lock()
		r.users[bob] = &store.User{AOR: bob, Since: r.store.Head()}
		r.mu.Unlock()
		for name, err := range map[string]error{"edit": edit(alice, rec.ID, "x"), "react": react(bob, rec.ID, "👍", false), "reply": post(func(p *Post) { p.ReplyTo = rec.ID })} {
			if k := errs.KindOf(err); k != errs.NotFound && k != errs.Invalid {
				t.Errorf("%s of what was said to an earlier account: %v", name, err)
			}
		}
		if err := r.service.MarkRead(ctx, bob, page, alice, rec.Seq, true); err != nil {
			t.Error(err)
		}
		if n := len(r.records(store.KindMessage, store.KindEdit, store.KindRetract, store.KindReaction, store.KindReceipt)); n != before {
			t.Errorf("%d records, want %d", n, before)
		}
	})
}

func TestReactLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, nil)
		ctx := context.Background()
		rec := r.post(Post{Text: "hello"})
		first := r.must(r.service.React(ctx, r.change(rec), "👍", false))
		if again := r.must(r.service.React(ctx, r.change(rec), "👍", false)); again.ID != first.ID {
			t.Error("the same reaction twice")
		}
		removed := r.must(r.service.React(ctx, r.change(rec), "👍", true))
		if again := r.must(r.service.React(ctx, r.change(rec), "👍", true)); again.ID != removed.ID {
			t.Error("taken away twice")
		}
		for i := range maxReactions {
			r.must(r.service.React(ctx, r.change(rec), string(rune(0x1f600+i)), false))
		}
		if _, err := r.service.React(ctx, r.change(rec), "👍", false); errs.KindOf(err) != errs.TooMany {
			t.Errorf("err = %v", err)
		}
		r.must(r.service.React(ctx, Change{From: bob, Message: rec.ID}, "👍", false))
	})
}

// Somebody who changes a message all the time comes to an end, and a repeat of the last change does not count.
func TestChangeLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, nil)
		ctx := context.Background()
		rec := r.post(Post{Text: "hello"})
		// Of each kind one is left: the log has what alice did before.
		for kind, body := range map[string]string{store.KindEdit: "before", store.KindReaction: "👍"} {
			done := make(chan error, 1)
			r.store.Append(&store.Record{Kind: kind, From: alice, To: bob, Ref: rec.ID, ContentType: content.PlainType, Body: []byte(body),
				Meta: map[string]string{metaNth: "199"}}, func(err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		last := Change{From: alice, Device: page, Message: rec.ID, RequestID: "last"}
		edit := r.must(r.service.Edit(ctx, last, "the last one", ""))
		if edit.MetaValue(metaNth) != "200" {
			t.Errorf("edit %+v", edit)
		}
		if again := r.must(r.service.Edit(ctx, last, "the last one", "")); again.ID != edit.ID {
			t.Errorf("again: %+v", again)
		}
		r.must(r.service.React(ctx, r.change(rec), "👍", true))
		_, edited := r.service.Edit(ctx, r.change(rec), "one more", "")
		_, reacted := r.service.React(ctx, r.change(rec), "👍", false)
		for what, err := range map[string]error{"edit": edited, "reaction": reacted} {
			if !errors.Is(err, ErrChanges) || errs.KindOf(err) != errs.TooMany || !strings.Contains(errs.Reason(err), "200 times") {
				t.Errorf("%s: %v", what, err)
			}
		}
		// Others have their own number, other messages theirs, and what was said can be taken back.
		if other := r.must(r.service.React(ctx, Change{From: bob, Message: rec.ID}, "👍", false)); other.MetaValue(metaNth) != "1" {
			t.Errorf("of bob: %+v", other)
		}
		second := r.post(Post{Text: "hello again"})
		for i := range 3 {
			if e := r.must(r.service.Edit(ctx, r.change(second), fmt.Sprint(i), "")); e.MetaValue(metaNth) != strconv.Itoa(i+1) {
				t.Errorf("edit %d: %+v", i, e)
			}
		}
		r.must(r.service.Retract(ctx, r.change(rec)))
	})
}

// What SIP clients say is not judged.
func TestNothingToSee(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		if res := r.send(say("\u200b")); res.Status != 200 || phone.text() != "\u200b" {
			t.Errorf("%+v", res)
		}
	})
}

// Messages of pages to clients that know receipts ask for them, and what comes back says which message was read.
func TestReceiptsForPages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, func(o *Options) {
			o.Clients = programs{agents: map[string]string{"urn:uuid:phone": "LinphoneAndroid/5.2.5 (belle-sip/5.1)"}}
		})
		phone, desk := r.signIn(bob, "urn:uuid:phone", nil), r.signIn(bob, "urn:uuid:desk", nil)
		rec := r.post(Post{HTML: "<em>hello</em>"})
		if got := desk.next(); got.Get(sip.HContentType) != content.PlainType || string(got.Body()) != "hello" {
			t.Errorf("the desk phone got\n%s", got.Bytes())
		}
		got := phone.next()
		m, err := cpim.Parse(got.Body())
		if err != nil || got.Get(sip.HContentType) != cpim.ContentType {
			t.Fatalf("linphone got\n%s", got.Bytes())
		}
		mid, want := imdn.Request(m)
		if mid != rec.ID.String() || !slices.Equal(want, []string{"positive-delivery", "display"}) || m.From().URI != "sip:"+alice || string(m.Content) != "hello" || m.ContentType() != content.PlainType {
			t.Errorf("linphone got\n%s", got.Bytes())
		}
		o := say("receipt")
		o.From, o.To = bob, alice
		o.ContentType, o.Body = imdn.ContentType, imdn.Notification{MessageID: mid, Kind: imdn.Display, Status: "displayed", DateTime: time.Now()}.Bytes()
		r.send(o)
		receipts := r.records(store.KindReceipt)
		if len(receipts) != 1 || receipts[0].Ref != rec.ID || receipts[0].MetaValue(store.MetaSeq) != strconv.FormatInt(rec.Seq, 10) || receipts[0].MetaValue(store.MetaOutcome) != store.OutcomeDisplayed {
			t.Fatalf("receipts %+v", receipts)
		}
		r.eventually("the index knows that bob has read it", func() bool {
			talk, err := r.store.Talk(context.Background(), bob, alice)
			return err == nil && talk.Read == rec.Seq
		})
		// The window of repeats may be over by then.
		r.service.repeats = newRepeats(r.service.o.Window)
		late := o
		late.CallID = "late"
		r.send(late)
		if receipts = r.records(store.KindReceipt); len(receipts) != 2 || receipts[1].Ref != rec.ID || receipts[1].MetaValue(store.MetaSeq) == "" {
			t.Errorf("late: %+v", receipts)
		}
		// Without a wrapper, liblinphone names a message by its Call-ID.
		byCall := o
		byCall.CallID = "by call"
		byCall.Body = imdn.Notification{MessageID: got.CallID(), Kind: imdn.Delivery, Status: "delivered", DateTime: time.Now()}.Bytes()
		r.send(byCall)
		if receipts = r.records(store.KindReceipt); len(receipts) != 3 || receipts[2].Ref != rec.ID || receipts[2].MetaValue(store.MetaOutcome) != store.OutcomeDelivered {
			t.Errorf("by Call-ID: %+v", receipts)
		}
		// Nobody reads for others.
		forged := o
		forged.From, forged.To, forged.CallID = carol, alice, "forged"
		r.send(forged)
		if receipts = r.records(store.KindReceipt); len(receipts) != 4 || !receipts[3].Ref.IsZero() || receipts[3].MetaValue(store.MetaSeq) != "" {
			t.Errorf("of carol: %+v", receipts)
		}
	})
}

// A client that turns the wrapper down gets the text in it, and no more wrappers; one that uses wrappers itself gets them.
func TestWrappers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, func(o *Options) { o.Clients = programs{agents: map[string]string{"urn:uuid:phone": "Linphone/3"}} })
		phone := r.signIn(bob, "urn:uuid:phone", func(m *sip.Message) int {
			if m.Get(sip.HContentType) == cpim.ContentType {
				return 415
			}
			return 200
		})
		r.post(Post{Text: "one"})
		r.post(Post{Text: "two"})
		if m := phone.next(); m.Get(sip.HContentType) != cpim.ContentType {
			t.Errorf("\n%s", m.Bytes())
		}
		for _, want := range []string{"one", "two"} {
			if m := phone.next(); m.Get(sip.HContentType) != content.PlainType || string(m.Body()) != want {
				t.Errorf("\n%s", m.Bytes())
			}
		}
		r.eventually("what was taken is settled", func() bool { return len(r.records(store.KindDelivery)) == 2 })
		other := r.signIn(bob, "urn:uuid:other", nil)
		r.eventually("the device is known", func() bool {
			there := make(chan bool, 1)
			w := r.service.shardOf(bob)
			w.post(func() { there <- w.boxes[bob] != nil && w.boxes[bob].outboxes["urn:uuid:other"] != nil })
			return <-there
		})
		w := r.service.shardOf(bob)
		known := make(chan bool)
		w.post(func() {
			w.boxes[bob].outboxes["urn:uuid:other"].program.wrapped = true // as Service.learn does
			close(known)
		})
		<-known
		r.post(Post{Text: "three"})
		m := other.next()
		if m.Get(sip.HContentType) != cpim.ContentType || !bytes.HasSuffix(m.Body(), []byte("\r\n\r\nthree")) {
			t.Errorf("\n%s", m.Bytes())
		}
	})
}

// Reading on a page what came from a SIP client that wants to know sends it a receipt, unless the reader does not want that.
func TestMarkRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, nil)
		ctx := context.Background()
		phone := r.signIn(alice, "urn:uuid:phone", nil)
		r.send(wrapped("asks"))
		r.send(say("does not ask"))
		msgs := r.records(store.KindMessage)
		const device = "web:bob"
		read := func(m store.Record, tell bool) {
			t.Helper()
			if err := r.service.MarkRead(ctx, bob, device, alice, m.Seq, tell); err != nil {
				t.Fatal(err)
			}
		}
		read(msgs[1], true)
		receipts := r.records(store.KindReceipt)
		if len(receipts) != 2 || receipts[0].Ref != msgs[0].ID || receipts[1].Ref != msgs[1].ID || len(receipts[1].Body) != 0 || receipts[1].Device != device ||
			receipts[1].MetaValue(store.MetaSeq) != strconv.FormatInt(msgs[1].Seq, 10) || receipts[1].To != alice {
			t.Fatalf("receipts %+v", receipts)
		}
		got := phone.next()
		m, err := cpim.Parse(got.Body())
		if err != nil || got.Get(sip.HContentType) != cpim.ContentType || m.ContentType() != imdn.ContentType || m.From().URI != "sip:"+bob || m.ContentHeader("Content-Disposition") != "notification" {
			t.Fatalf("%v\n%s", err, got.Bytes())
		}
		if n, err := imdn.Parse(m.Content); err != nil || n.MessageID != "mid1" || n.Kind != imdn.Display || n.Status != "displayed" {
			t.Errorf("%v %+v", err, n)
		}
		read(msgs[1], true) // once more, and further back
		read(msgs[0], true)
		if n := len(r.records(store.KindReceipt)); n != 2 {
			t.Errorf("%d receipts", n)
		}
		quiet := wrapped("quietly")
		quiet.Body = bytes.Replace(quiet.Body, []byte("mid1"), []byte("mid2"), 1)
		r.send(quiet)
		msgs = r.records(store.KindMessage)
		read(msgs[2], false)
		receipts = r.records(store.KindReceipt)
		if last := receipts[len(receipts)-1]; len(receipts) != 3 || last.To != bob || last.MetaValue(store.MetaPeer) != alice || len(last.Body) != 0 || last.Ref != msgs[2].ID {
			t.Errorf("receipts %+v", receipts)
		}
		o := say("the next")
		o.From, o.To = bob, alice
		r.send(o)
		if got := phone.text(); got != "the next" { // neither an empty message nor a receipt
			t.Errorf("the phone got %q", got)
		}
		r.eventually("the index knows that bob has read it", func() bool {
			talk, err := r.store.Talk(ctx, bob, alice)
			return err == nil && talk.Read == msgs[2].Seq
		})
	})
}

// What a page has taken has an outcome, and a SIP device that comes for the first time does not get it, also after a restart.
func TestTook(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, nil)
		one, two := r.post(Post{Text: "one"}), r.post(Post{Text: "two"})
		edit := r.must(r.service.Edit(context.Background(), r.change(two), "two!", ""))
		r.service.Took(alice, page, []*store.Record{one, two}) // its own are not delivered to anybody
		r.service.Took(bob, "web:bob", []*store.Record{one, two, edit})
		r.eventually("three outcomes", func() bool { return len(r.records(store.KindDelivery)) == 3 })
		for i, o := range r.records(store.KindDelivery) {
			if m := []*store.Record{one, two, edit}[i]; o.Ref != m.ID || o.Device != "web:bob" || o.To != bob || o.MetaValue(store.MetaOutcome) != store.OutcomeDelivered || o.MetaValue(metaMessageSeq) != strconv.FormatInt(m.Seq, 10) {
				t.Errorf("outcome %+v", o)
			}
		}
		r.stop()
		// As if the cursors had not been saved.
		r.run()
		if err := r.store.SetSetting(context.Background(), settingCursors, []byte("0")); err != nil {
			t.Fatal(err)
		}
		r.stop()
		r.run()
		var cursors []store.Cursor
		if err := r.store.AllCursors(context.Background(), func(c store.Cursor) error { cursors = append(cursors, c); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(cursors) != 1 || cursors[0].Device != "" || cursors[0].Seq < edit.Seq {
			t.Errorf("cursors %+v, want that of the account alone", cursors)
		}
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		r.post(Post{Text: "three"})
		if got := phone.text(); got != "three" {
			t.Errorf("the phone got %q", got)
		}
	})
}

// A SIP client that asks for it hears, once, that a page has its message, unless a device of the receiver's has said so.
func TestTookTellsWhoAsked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var hidden atomic.Bool
		r := startPages(t, func(o *Options) {
			o.Hidden = func(owner, from string) bool { return hidden.Load() && owner == bob && from == alice }
		})
		phone := r.signIn(alice, "urn:uuid:phone", nil)
		n := 0
		// asks has alice's phone say something under a name of its own, and returns its record.
		asks := func(want string) *store.Record {
			t.Helper()
			n++
			o := wrapped("asks")
			o.CallID = fmt.Sprint("call", n)
			o.Body = bytes.Replace(o.Body, []byte("mid1"), fmt.Appendf(nil, "mid%d", n), 1)
			o.Body = bytes.Replace(o.Body, []byte("positive-delivery, display"), []byte(want), 1)
			r.send(o)
			msgs := r.records(store.KindMessage)
			return &msgs[len(msgs)-1]
		}
		// receipts waits until nothing is under way.
		receipts := func() []store.Record {
			time.Sleep(time.Minute) // of the bubble's clock
			return r.records(store.KindReceipt)
		}
		first := asks("positive-delivery, display")
		both := []*store.Record{first}
		r.service.Took(bob, "web:one", both)
		r.service.Took(bob, "web:two", both)
		got := phone.next()
		m, err := cpim.Parse(got.Body())
		if err != nil || got.Get(sip.HContentType) != cpim.ContentType || m.ContentType() != imdn.ContentType || m.From().URI != "sip:"+bob {
			t.Fatalf("%v\n%s", err, got.Bytes())
		}
		if n, err := imdn.Parse(m.Content); err != nil || n.MessageID != "mid1" || n.Kind != imdn.Delivery || n.Status != "delivered" {
			t.Errorf("%v %+v", err, n)
		}
		if list := receipts(); len(list) != 1 || list[0].Ref != first.ID || list[0].From != bob || list[0].To != alice || !strings.HasPrefix(list[0].Device, "web:") {
			t.Fatalf("receipts %+v", list)
		}
		r.service.Took(bob, "web:three", both) // long after
		if list := receipts(); len(list) != 1 {
			t.Errorf("receipts %+v", list)
		}
		r.stop()
		r.run() // a new window of repeats
		r.service.repeats = newRepeats(r.service.o.Window)
		r.service.Took(bob, "web:four", both)
		if list := receipts(); len(list) != 1 {
			t.Errorf("after a restart: receipts %+v", list)
		}
		r.signIn(alice, "urn:uuid:phone", nil)
		// Not asked for.
		r.service.Took(bob, "web:one", []*store.Record{asks("display"), asks("negative-delivery")})
		// A device of bob's has said so itself.
		byPhone := asks("positive-delivery")
		o := say("receipt")
		o.From, o.To, o.CallID = bob, alice, "receipt"
		o.ContentType, o.Body = imdn.ContentType, imdn.Notification{MessageID: fmt.Sprint("mid", n), Kind: imdn.Delivery, Status: "delivered", DateTime: time.Now()}.Bytes()
		r.send(o)
		if list := receipts(); len(list) != 2 || list[1].Ref != byPhone.ID {
			t.Fatalf("receipts %+v", list)
		}
		r.service.Took(bob, "web:one", []*store.Record{byPhone})
		if list := receipts(); len(list) != 2 {
			t.Errorf("receipts %+v", list)
		}
		// Read but not told: bob wants nobody to know.
		if err := r.service.MarkRead(context.Background(), bob, "web:one", alice, byPhone.Seq, false); err != nil {
			t.Fatal(err)
		}
		// Bob looks offline to alice, so nothing of his is there.
		hidden.Store(true)
		unseen := asks("positive-delivery, display")
		r.service.Took(bob, "web:one", []*store.Record{unseen})
		if list := receipts(); len(list) != 3 || list[2].To != bob {
			t.Errorf("receipts %+v", list)
		}
		if err := r.service.MarkRead(context.Background(), bob, "web:one", alice, unseen.Seq, true); err != nil {
			t.Fatal(err)
		}
		if list := receipts(); len(list) != 4 || len(list[3].Body) != 0 {
			t.Errorf("receipts %+v", list)
		}
		hidden.Store(false)
		last := asks("positive-delivery")
		r.service.Took(bob, "web:one", []*store.Record{last})
		if list := receipts(); len(list) != 5 || list[4].Ref != last.ID {
			t.Errorf("receipts %+v", list)
		}
	})
}

// Whoever is spoken to may be written as people write addresses.
func TestAddressesAsPeopleWriteThem(t *testing.T) {
	bubble(t, func(t *testing.T) {
		typing := make(chan string, 1)
		r := startPages(t, func(o *Options) { o.Typing = func(from, to string, _ bool) { typing <- from + " to " + to } })
		ctx := context.Background()
		const to = " SIP:bob@EXAMPLE.com. "
		rec, _, err := r.service.Post(ctx, Post{From: alice, To: to, Text: "hello", RequestID: "1"})
		if err != nil || rec.To != bob {
			t.Fatalf("%+v %v", rec, err)
		}
		if again, _, err := r.service.Post(ctx, Post{From: alice, To: bob, Text: "hello", RequestID: "1"}); err != nil || again.ID != rec.ID {
			t.Errorf("%+v %v", again, err)
		}
		if err := r.service.SetTyping(ctx, alice, to, true); err != nil {
			t.Error(err)
		}
		if got := <-typing; got != alice+" to "+bob {
			t.Error(got)
		}
		o := say("hello")
		o.From, o.To = bob, alice
		r.send(o)
		msgs := r.records(store.KindMessage)
		if err := r.service.MarkRead(ctx, alice, page, to, msgs[1].Seq, true); err != nil {
			t.Fatal(err)
		}
		if list := r.records(store.KindReceipt); len(list) != 1 || list[0].To != bob || list[0].Ref != msgs[1].ID {
			t.Errorf("receipts %+v", list)
		}
		for _, to := range []string{"", "bob", "bob@example.com:5060", "tel:+49"} {
			_, _, post := r.service.Post(ctx, Post{From: alice, To: to, Text: "hello"})
			for _, err := range []error{post, r.service.SetTyping(ctx, alice, to, true), r.service.MarkRead(ctx, alice, page, to, 1, true)} {
				if errs.KindOf(err) != errs.Invalid || !strings.Contains(errs.Reason(err), "alice@example.com") {
					t.Errorf("%q: %v", to, err)
				}
			}
		}
	})
}

// closeness says how close people are: those in know at once, the others when the store is asked.
type closeness struct {
	known, asked map[string]policy.Level
	err          error
}

func (c closeness) Known(_, watcher string) (policy.Level, bool) {
	l, ok := c.known[watcher]
	return l, ok
}

func (c closeness) Level(_ context.Context, _, watcher string) (policy.Level, policy.Reason, error) {
	return c.asked[watcher], policy.Reason{}, c.err
}

// Who is blocked does not make a device or a page show that he writes, and hears what everybody hears.
func TestTypingOfTheBlocked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const dave = "dave@example.com"
		var mu sync.Mutex
		var told []string
		r := startPages(t, func(o *Options) {
			o.Levels = closeness{known: map[string]policy.Level{alice: policy.Colleague, carol: policy.Blocked}, asked: map[string]policy.Level{dave: policy.Blocked, "eve@example.com": policy.Team}}
			o.Typing = func(from, to string, active bool) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, from+" "+to+" "+strconv.FormatBool(active))
			}
		})
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		for _, from := range []string{carol, dave, "eve@example.com", alice} {
			o := say("typing " + from)
			o.From, o.ContentType = from, iscomposing.ContentType
			o.Body = iscomposing.State{State: "active"}.Bytes()
			if res := r.send(o); res.Status != 200 {
				t.Errorf("%s: %+v", from, res)
			}
		}
		for _, want := range []string{"eve@example.com", alice} {
			m := phone.next()
			if from, _ := m.From(); from.URI.AOR() != want || m.Get(sip.HContentType) != iscomposing.ContentType {
				t.Errorf("want %s\n%s", want, m.Bytes())
			}
		}
		ctx := context.Background()
		for _, active := range []bool{true, true, true, false, false} { // devices are told of changes, pages of all
			if err := r.service.SetTyping(ctx, alice, bob, active); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.service.SetTyping(ctx, carol, bob, true); err != nil {
			t.Fatal(err)
		}
		r.post(Post{Text: "written"})
		for _, want := range []string{"active", "idle"} {
			if s, err := iscomposing.Parse(phone.next().Body()); err != nil || s.State != want {
				t.Errorf("%v %+v, want %s", err, s, want)
			}
		}
		if got := phone.text(); got != "written" {
			t.Errorf("the phone got %q", got)
		}
		mu.Lock()
		defer mu.Unlock()
		want := []string{"eve@example.com bob@example.com true", "alice@example.com bob@example.com true"}
		for _, active := range []string{"true", "true", "true", "false", "false"} {
			want = append(want, "alice@example.com bob@example.com "+active)
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %q\nwant %q", told, want)
		}
	})
}

// A device that takes little gets the beginning and where the whole is.
func TestSmallDevice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, func(o *Options) { o.Clients = programs{limits: map[string]int{"urn:uuid:desk": 500}} })
		desk, phone := r.signIn(bob, "urn:uuid:desk", nil), r.signIn(bob, "urn:uuid:phone", nil)
		long := strings.TrimSpace(strings.Repeat("many words ", 100))
		rec := r.post(Post{Text: long})
		if got := phone.text(); got != long {
			t.Errorf("the phone got %q", got)
		}
		if got := desk.text(); len(got) > 500 || !strings.HasPrefix(got, "many words many words") || !strings.HasSuffix(got, "… (whole text: https://chat.example.com/m/"+rec.ID.String()+")") {
			t.Errorf("the desk phone got %q", got)
		}
		r.must(r.service.Edit(context.Background(), r.change(rec), long+"!", ""))
		if got := desk.text(); len(got) > 500 || !strings.HasPrefix(got, "Edited: many") || !strings.HasSuffix(got, rec.ID.String()+")") {
			t.Errorf("the desk phone got %q", got)
		}
		o := say("of a SIP client")
		o.Body = []byte(long)
		r.send(o)
		if got := desk.text(); len(got) > 500 || !strings.Contains(got, "whole text") {
			t.Errorf("the desk phone got %q", got)
		}
	})
}

// cabinet keeps one file of alice's.
type cabinet struct {
	mu       sync.Mutex
	recorded map[string]int64
}

func (c *cabinet) Claim(_ context.Context, from, _, fid string) (*store.File, error) {
	if from != alice || fid != "f1" {
		return nil, errs.Say(errs.New(errs.NotFound, "file: no such file"), "there is no such file")
	}
	return &store.File{ID: "f1", Owner: alice, Name: "cat.png", Type: "image/png", Size: 1234567, Width: 30, Height: 20, Thumbnail: store.BlobHash{1}, SHA256: store.BlobHash{2}}, nil
}

func (c *cabinet) Recorded(fid string, seq int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recorded[fid] = seq
}

func (c *cabinet) Own(url, from string) (string, bool) {
	return "f1", url == "https://chat.example.com/files/f1/up" && from == alice
}

func (c *cabinet) Link(fid, name, receiver string) (string, time.Time) {
	return "https://chat.example.com/files/" + fid + "/" + name + "?k=" + receiver, time.Time{}
}

// Files go both ways between pages and SIP clients.
func TestFiles(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := &cabinet{recorded: map[string]int64{}}
		r := startPages(t, func(o *Options) {
			o.Files = box
			o.Clients = programs{agents: map[string]string{"urn:uuid:phone": "Linphone/5"}}
		})
		ctx := context.Background()
		phone, desk := r.signIn(bob, "urn:uuid:phone", nil), r.signIn(bob, "urn:uuid:desk", nil)
		const link = "https://chat.example.com/files/f1/cat.png?k=" + bob
		fetches := func(m *sip.Message) {
			t.Helper()
			body := m.Body()
			if w, err := cpim.Parse(body); err == nil {
				body = w.Content
			}
			if d, err := rcsft.Parse(body); err != nil || d.Files[0].URL != link {
				t.Errorf("%v\n%s", err, m.Bytes())
			}
		}
		rec := r.post(Post{File: &content.File{ID: "f1"}})
		fetches(phone.next())
		if got := desk.text(); got != "📎 cat.png (1.2 MB)\n"+link {
			t.Errorf("the desk phone got %q", got)
		}
		f := content.Read(rec).File
		if f == nil || f.ID != "f1" || f.Name != "cat.png" || f.Width != 30 || !f.Small || strings.Contains(f.URL, "k=") {
			t.Errorf("file %+v", f)
		}
		box.mu.Lock()
		if box.recorded["f1"] != rec.Seq {
			t.Errorf("recorded: %v, want %d", box.recorded, rec.Seq)
		}
		box.mu.Unlock()
		r.post(Post{File: &content.File{ID: "f1"}, Caption: "look"})
		if got := desk.text(); got != "look\n📎 cat.png (1.2 MB)\n"+link {
			t.Errorf("the desk phone got %q", got)
		}
		if w, err := cpim.Parse(phone.next().Body()); err != nil || !strings.HasPrefix(w.ContentType(), "multipart/mixed") || !strings.Contains(string(w.Content), "\r\n\r\nlook\r\n") || !strings.Contains(string(w.Content), link) {
			t.Errorf("%v %+v", err, w)
		}
		if _, _, err := r.service.Post(ctx, Post{From: bob, To: alice, File: &content.File{ID: "f1"}}); errs.KindOf(err) != errs.NotFound {
			t.Errorf("somebody else's file: %v", err)
		}
		// A SIP client that has uploaded it here, and one that has uploaded it elsewhere.
		for _, url := range []string{"https://chat.example.com/files/f1/up", "https://elsewhere.example/1"} {
			o := say(url)
			d := rcsft.Document{Files: []rcsft.Entry{{Name: "x.png", Size: 5, URL: url}}}
			o.ContentType, o.Body = rcsft.ContentType, d.Bytes()
			r.send(o)
		}
		fetches(phone.next())
		if m := phone.next(); !strings.Contains(string(m.Body()), "https://elsewhere.example/1") || m.Get(sip.HContentType) != rcsft.ContentType {
			t.Errorf("\n%s", m.Bytes())
		}
		msgs := r.records(store.KindMessage)
		ours, other := content.Read(&msgs[len(msgs)-2]).File, content.Read(&msgs[len(msgs)-1]).File
		if ours.ID != "f1" || ours.Name != "cat.png" || other.ID != "" || other.URL != "https://elsewhere.example/1" {
			t.Errorf("files %+v, %+v", ours, other)
		}
		for _, want := range []string{"📎 cat.png (1.2 MB)\n" + link, "📎 x.png (5 bytes)\nhttps://elsewhere.example/1"} {
			if got := desk.text(); got != want {
				t.Errorf("the desk phone got %q, want %q", got, want)
			}
		}
	})
}

// What nobody waits for any more is recorded all the same, or not, but never half.
func TestPostGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, nil)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, _, err := r.service.Post(ctx, Post{From: alice, To: bob, Text: "hello", RequestID: "1"})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
		if rec := r.post(Post{Text: "hello", RequestID: "1"}); string(rec.Body) != "hello" {
			t.Errorf("%+v", rec)
		}
		if n := len(r.records(store.KindMessage)); n != 1 {
			t.Errorf("%d records", n)
		}
	})
}
