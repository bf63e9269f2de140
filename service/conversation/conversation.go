// Package conversation reads what was said: the list of somebody's conversations, pages of one of them, one message with what
// became of it, and search. It shows to people only what they said or what was said to them, since their account was made.
package conversation

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// Limits of what is asked for at once.
const (
	MaxPage    = 200      // conversations or messages; 0: DefaultPage
	MaxFound   = 100      // messages that a search returns; 0: DefaultFound
	MaxDraft   = 64 << 10 // bytes
	MaxUnread  = 100      // are counted
	pageOfFind = 200      // records that a search looks at together
	mostLooked = 5000

	DefaultPage  = 50
	DefaultFound = 30
)

// indexWithin is how long an answer waits for the index, which is milliseconds behind. When it is made anew, which takes longer, the
// answer holds what is there, and says so by its position.
const indexWithin = 2 * time.Second

// Store is what is read here.
type Store interface {
	Head() int64
	Get(ctx context.Context, seqs ...int64) ([]store.Record, error)
	Find(ctx context.Context, rid id.ID) (*store.Record, error)
}

// Index finds things in the log.
type Index interface {
	store.Waiter
	Position() int64
	Conversation(ctx context.Context, a, b string, before int64, limit int) ([]store.Record, error)
	Search(ctx context.Context, q store.Query) ([]store.Record, error)
}

// Options are what a Service is made of.
type Options struct {
	Log    Store
	Index  Index
	Talks  store.Talks
	Drafts store.Drafts
	// User returns an account; the error is errs.NotFound when there is none.
	User func(ctx context.Context, aor string) (*store.User, error)
	// Taken is the position up to which any device of an account has taken everything.
	Taken func(ctx context.Context, aor string) (int64, error)
	// TellsRead says whether an account lets others know what it has read.
	TellsRead func(ctx context.Context, aor string) (bool, error)
	// DraftChanged is told of a draft that a device has changed. It does not block.
	DraftChanged func(owner, device, peer string)
}

// Service reads what was said.
type Service struct {
	o      Options
	within time.Duration // indexWithin; longer in tests
}

// New makes a Service.
func New(o Options) *Service { return &Service{o, indexWithin} }

// Said is a message or a call as it stands now.
type Said struct {
	store.Record
	About []store.Record // edits, retractions and reactions, ascending
}

// Conversation is one conversation as its owner has it.
type Conversation struct {
	Peer          string // address of the other side
	Name          string // of the other side in the directory; "" when unknown
	Known         bool   // the other side has an account here
	Last          *Said  // nil: nothing was said
	Unread        int    // at most MaxUnread
	Read          int64  // position up to which the owner has read
	PeerRead      int64  // and the other side
	PeerDelivered int64  // up to which a device of the other side has everything
	Draft         *store.Draft
}

// List is a page of conversations.
type List struct {
	Conversations []Conversation
	More          bool
	Next          int64 // before of the next page
	Position      int64 // everything up to here is in it
}

// errNoMessage is for what does not exist, and the same for what is somebody else's.
func errNoMessage(rid string) error {
	return errs.Say(errs.New(errs.NotFound, "conversation: no message %s", rid), "there is no such message")
}

// limit checks how much is asked for.
func limit(n, otherwise, most int) (int, error) {
	switch {
	case n == 0:
		return otherwise, nil
	case n < 0 || n > most:
		return 0, errs.Say(errs.New(errs.Invalid, "conversation: limit %d", n), "the limit is too large, or below 0")
	}
	return n, nil
}

// settle waits until the index has all that was recorded, and returns the position up to which it has.
func (s *Service) settle(ctx context.Context) (int64, error) {
	head := s.o.Log.Head()
	if s.o.Index.Position() >= head {
		return head, nil
	}
	soon, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	if err := store.Indexed(soon, s.o.Index, head); err != nil && ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return min(head, s.o.Index.Position()), nil
}

// owner returns who asks. Errors: Unauthorized when the account is gone.
func (s *Service) owner(ctx context.Context, aor string) (*store.User, error) {
	u, err := s.o.User(ctx, aor)
	if errors.Is(err, errs.NotFound) {
		return nil, errs.Say(errs.New(errs.Unauthorized, "conversation: %s is gone", aor), "the account does not exist any more")
	}
	return u, err
}

// List returns the owner's conversations, the one with the newest message first: those whose newest message is before a
// position; 0: from the newest. Errors: Invalid, Unavailable.
func (s *Service) List(ctx context.Context, owner string, before int64, most int) (List, error) {
	most, err := limit(most, DefaultPage, MaxPage)
	if err != nil {
		return List{}, err
	}
	u, err := s.owner(ctx, owner)
	if err != nil {
		return List{}, err
	}
	position, err := s.settle(ctx)
	if err != nil {
		return List{}, err
	}
	talks, err := s.o.Talks.Talks(ctx, owner, before, most+1)
	if err != nil {
		return List{}, err
	}
	l := List{Position: position}
	if i := slices.IndexFunc(talks, func(t store.Talk) bool { return t.Last <= u.Since }); i >= 0 {
		talks = talks[:i] // said to an earlier account of the name
	}
	if len(talks) > most {
		talks, l.More = talks[:most], true
	}
	if len(talks) > 0 {
		l.Next = talks[len(talks)-1].Last
	}
	drafts, err := s.drafts(ctx, owner)
	if err != nil {
		return List{}, err
	}
	l.Conversations, err = s.fill(ctx, u, talks, drafts)
	return l, err
}

func (s *Service) drafts(ctx context.Context, owner string) (map[string]*store.Draft, error) {
	list, err := s.o.Drafts.Drafts(ctx, owner)
	if err != nil {
		return nil, err
	}
	m := make(map[string]*store.Draft, len(list))
	for i := range list {
		m[list[i].Peer] = &list[i]
	}
	return m, nil
}

// Get returns one conversation, also when nothing was said in it yet. Errors: Invalid for what is no address, Unavailable.
func (s *Service) Get(ctx context.Context, owner, peer string) (Conversation, error) {
	peer, err := sip.ParseAOR(peer)
	if err != nil {
		return Conversation{}, err
	}
	u, err := s.owner(ctx, owner)
	if err != nil {
		return Conversation{}, err
	}
	if _, err := s.settle(ctx); err != nil {
		return Conversation{}, err
	}
	t, err := s.o.Talks.Talk(ctx, owner, peer)
	if err != nil {
		return Conversation{}, err
	}
	if t.Last <= u.Since {
		t = store.Talk{}
	}
	t.Owner, t.Peer = owner, peer
	drafts := map[string]*store.Draft{}
	d, err := s.o.Drafts.Draft(ctx, owner, peer)
	switch {
	case err == nil:
		drafts[peer] = d
	case !errors.Is(err, store.ErrNotFound):
		return Conversation{}, err
	}
	list, err := s.fill(ctx, u, []store.Talk{t}, drafts)
	if err != nil {
		return Conversation{}, err
	}
	return list[0], nil
}

// fill makes conversations of what the index has of them.
func (s *Service) fill(ctx context.Context, u *store.User, talks []store.Talk, drafts map[string]*store.Draft) ([]Conversation, error) {
	last, err := s.lastOf(ctx, u, talks)
	if err != nil {
		return nil, err
	}
	list := make([]Conversation, 0, len(talks))
	for _, t := range talks {
		c := Conversation{Peer: t.Peer, Read: t.Read, Draft: drafts[t.Peer], Last: last[t.Peer]}
		switch peer, err := s.o.User(ctx, t.Peer); {
		case err == nil:
			c.Name, c.Known = peer.Name, !peer.Disabled
		case !errors.Is(err, errs.NotFound):
			return nil, err
		}
		if t.Last > 0 {
			if err := s.watermarks(ctx, u, t, &c); err != nil {
				return nil, err
			}
		}
		list = append(list, c)
	}
	return list, nil
}

// watermarks fills how far both sides are.
func (s *Service) watermarks(ctx context.Context, u *store.User, t store.Talk, c *Conversation) (err error) {
	t.Read = max(t.Read, u.Since) // what was said to an earlier account is nobody's to read
	if c.Unread, err = s.o.Talks.Unread(ctx, t, MaxUnread); err != nil {
		return err
	}
	if t.Peer == t.Owner {
		c.Unread, c.PeerRead, c.PeerDelivered = 0, t.Last, t.Last
		return nil
	}
	theirs, err := s.o.Talks.Talk(ctx, t.Peer, t.Owner)
	if err != nil {
		return err
	}
	c.PeerRead = theirs.Sent // who has answered has read what was said before
	tells, err := s.o.TellsRead(ctx, t.Peer)
	if err != nil {
		return err
	}
	if tells {
		c.PeerRead = max(theirs.Read, theirs.Sent)
	}
	taken, err := s.o.Taken(ctx, t.Peer)
	if err != nil {
		return err
	}
	if c.PeerDelivered = max(min(taken, t.Last), c.PeerRead); c.PeerDelivered >= t.Sent || t.Sent <= u.Since {
		return nil
	}
	// Positions of devices are saved a moment later than what became of a message is in the log.
	newest, err := s.o.Log.Get(ctx, t.Sent)
	if err != nil || len(newest) == 0 {
		return err
	}
	fates, err := s.o.Talks.Fates(ctx, newest[0].ID)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(fates, func(r store.Record) bool {
		return r.Kind == store.KindDelivery && r.MetaValue(store.MetaOutcome) == store.OutcomeDelivered
	}) {
		c.PeerDelivered = t.Sent
	}
	return nil
}

// lastOf reads the newest message of each conversation. One that is void has another one before it.
func (s *Service) lastOf(ctx context.Context, u *store.User, talks []store.Talk) (map[string]*Said, error) {
	var seqs []int64
	for _, t := range talks {
		if t.Last > 0 {
			seqs = append(seqs, t.Last)
		}
	}
	if len(seqs) == 0 {
		return nil, nil
	}
	records, err := s.o.Log.Get(ctx, seqs...)
	if err != nil {
		return nil, err
	}
	bySeq := make(map[int64]int, len(records))
	for i := range records {
		bySeq[records[i].Seq] = i
	}
	for _, t := range talks {
		if _, there := bySeq[t.Last]; there || t.Last == 0 {
			continue
		}
		before, err := s.o.Index.Conversation(ctx, t.Owner, t.Peer, t.Last, 1)
		if err != nil {
			return nil, err
		}
		if len(before) > 0 && before[0].Seq > u.Since {
			records = append(records, before[0])
		}
	}
	list, err := s.changes(ctx, records)
	if err != nil {
		return nil, err
	}
	last := make(map[string]*Said, len(list))
	for i := range list {
		last[peerOf(&list[i].Record, u.AOR)] = &list[i]
	}
	return last, nil
}

// changes adds to messages what was done to them, and to answers that what they answer was retracted.
func (s *Service) changes(ctx context.Context, records []store.Record) ([]Said, error) {
	list := make([]Said, len(records))
	ids := make([]id.ID, 0, len(records))
	at := make(map[id.ID]int, len(records))
	answers := map[id.ID][]int{}
	for i := range records {
		list[i].Record = records[i]
		ids = append(ids, records[i].ID)
		at[records[i].ID] = i
		if to, err := id.Parse(records[i].MetaValue(store.MetaReplyTo)); err == nil {
			ids = append(ids, to)
			answers[to] = append(answers[to], i)
		}
	}
	if len(ids) == 0 {
		return list, nil
	}
	about, err := s.o.Talks.About(ctx, ids...)
	if err != nil {
		return nil, err
	}
	for _, r := range about {
		if i, ok := at[r.Ref]; ok {
			list[i].About = append(list[i].About, r)
		}
		if r.Kind != store.KindRetract {
			continue
		}
		for _, i := range answers[r.Ref] {
			list[i].About = append(list[i].About, r)
		}
	}
	return list, nil
}

// peerOf is the other side, as owner sees it.
func peerOf(r *store.Record, owner string) string {
	if r.From == owner {
		return r.To
	}
	return r.From
}
