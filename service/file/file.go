// Package file keeps the files that people send each other: uploads that go on where they broke off, who may fetch what, small
// pictures of pictures, and the door for SIP clients that move files over HTTP (GSMA RCC.07, as liblinphone does it).
//
// A file belongs to one conversation, and can be fetched by its two sides once a message that names it is in the log.
package file

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/base/size"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/rcsft"
)

// Defaults of Options, and what is no option.
const (
	DefaultMaxSize = 100 << 20
	DefaultFiles   = 100                 // files of one person that no message names
	linkLife       = 30 * 24 * time.Hour // of an address without a session; each delivery makes a new one
	claimWithin    = 24 * time.Hour      // a file that no message names then is removed
	quotaTimes     = 5                   // files of one person that no message names have so many times MaxSize bytes together
	maxRecorded    = 10_000              // records of files that wait to be noted; the others are found in the log
)

// Log finds records; store.Index fills it.
type Log interface {
	Search(ctx context.Context, q store.Query) ([]store.Record, error)
	store.Waiter
}

// Users knows who exists; store.Users fills it.
type Users interface {
	User(ctx context.Context, aor string) (*store.User, error)
}

// Options are what a Service is made of. All but About and the last block are required.
type Options struct {
	Files store.Files
	Blobs store.Blobs
	Users Users
	Log   Log
	// About finds what was done to messages; nil: nothing is. A file whose message was taken back cannot be fetched any more.
	About func(ctx context.Context, ids ...id.ID) ([]store.Record, error)
	Head  func() int64 // of the log; required with About
	Key   []byte       // under which addresses without a session are made; 32 bytes that outlive a restart

	// SignIn asks a SIP client over HTTP for the password of its account; nil: such clients cannot upload. It must not keep r.
	SignIn func(r *http.Request) auth.Result
	// Lines are those of the devices of somebody that are there now, as far as from may know; nil: nothing is known.
	Lines func(ctx context.Context, from, aor string) []Line
	// Address is that of the door, "https://chat.example.com:8443"; "" when there is none: then SIP clients get no files.
	Address    string
	MaxSize    int64         // bytes of one file; default 100 MB
	MaxFiles   int           // files of one person that no message names; default 100
	Keep       time.Duration // after which a file is removed although a message names it; 0: never
	Types      []string      // media types that are taken, see Types; none: all
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: metrics are kept but not shown
}

// Service is the one way in for files.
type Service struct {
	o        Options
	types    types
	metrics  *metrics
	pictures chan struct{} // room for one picture that is being read
	queues   queues
	wake     chan struct{} // something waits in recorded

	mu       sync.Mutex // guards what is below
	recorded map[string]int64
	writing  map[string]*writing
}

// New makes a service; Serve runs it. The error has kind Invalid: types.
func New(o Options) (*Service, error) {
	if o.Files == nil || o.Blobs == nil || o.Users == nil || o.Log == nil || len(o.Key) == 0 {
		return nil, errs.New(errs.Invalid, "file: store, users, log and key are needed")
	}
	if o.MaxSize <= 0 {
		o.MaxSize = DefaultMaxSize
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = DefaultFiles
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	t, err := ParseTypes(o.Types)
	if err != nil {
		return nil, err
	}
	return &Service{o: o, types: t, metrics: newMetrics(o.Registerer), pictures: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		recorded: map[string]int64{}, writing: map[string]*writing{}}, nil
}

// Serve notes what the message service tells, and removes what nobody needs, until ctx ends.
func (s *Service) Serve(ctx context.Context) error {
	sweep := time.NewTicker(time.Hour)
	defer sweep.Stop()
	first := time.NewTimer(5 * time.Minute) // a start has better things to do
	defer first.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			s.noteRecorded(last)
			return nil
		case <-s.wake:
			s.noteRecorded(ctx)
		case <-first.C:
			s.Sweep(ctx)
		case <-sweep.C:
			s.noteRecorded(ctx) // what failed
			s.Sweep(ctx)
		}
	}
}

// newID is 128 bits of chance.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func isID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 16 && strings.ToLower(id) == id
}

// unknown is the one answer for what is not there, is not the caller's, or may not be fetched yet.
func unknown(id string) error {
	return errs.Say(errs.New(errs.NotFound, "file: no file %q for the caller", shorten(id)), "There is no such file")
}

// shorten bounds what a caller can make us log.
func shorten(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

// name is the name of a file as it is kept.
func name(given string) string {
	if n := rcsft.CleanName(given); n != "" {
		return n
	}
	return "file"
}

// active tells whether an account exists and may do something now.
func (s *Service) active(ctx context.Context, aor string) (*store.User, error) {
	u, err := s.o.Users.User(ctx, aor)
	if err != nil {
		return nil, err
	}
	if u.Disabled {
		return nil, errs.New(errs.Forbidden, "file: the account %s is disabled", aor)
	}
	return u, nil
}

// own is a file of somebody's own.
func (s *Service) own(ctx context.Context, owner, id string) (*store.File, error) {
	if !isID(id) {
		return nil, unknown(id)
	}
	f, err := s.o.Files.File(ctx, id)
	if errors.Is(err, errs.NotFound) || err == nil && f.Owner != owner {
		return nil, unknown(id)
	}
	return f, err
}

// File is a file that somebody may fetch, else an error of kind NotFound.
func (s *Service) File(ctx context.Context, aor, id string) (*store.File, error) {
	if !isID(id) {
		return nil, unknown(id)
	}
	f, err := s.o.Files.File(ctx, id)
	if errors.Is(err, errs.NotFound) {
		return nil, unknown(id)
	}
	if err != nil {
		return nil, err
	}
	if err := s.may(ctx, aor, f); err != nil {
		return nil, err
	}
	return f, nil
}

// may tells whether somebody may fetch a file: one of its two sides, when the message is in the log, and was said in the time of this account.
func (s *Service) may(ctx context.Context, aor string, f *store.File) error {
	if aor == "" || aor != f.Owner && aor != f.Conversation || !f.Complete() || f.Conversation == "" {
		return unknown(f.ID)
	}
	if f.Recorded == 0 {
		seq, err := s.findRecord(ctx, f)
		if err != nil {
			return err
		}
		if f.Recorded = seq; seq == 0 {
			return unknown(f.ID)
		}
	}
	u, err := s.active(ctx, aor)
	switch {
	case errors.Is(err, errs.NotFound) || errors.Is(err, errs.Forbidden):
		return unknown(f.ID)
	case err != nil:
		return err
	case f.Recorded <= u.Since: // said to somebody who had this address before
		return unknown(f.ID)
	}
	stands, err := s.stands(ctx, f)
	if err == nil && !stands {
		err = unknown(f.ID)
	}
	return err
}

// stands tells whether a message that names a recorded file was not taken back.
func (s *Service) stands(ctx context.Context, f *store.File) (bool, error) {
	if s.o.About == nil {
		return true, nil
	}
	if err := store.Indexed(ctx, s.o.Log, s.o.Head()); err != nil {
		return false, errs.Wrap(errs.Unavailable, err, "file: waiting for the index")
	}
	q := s.naming(f)
	q.After, q.Limit = f.Recorded-1, 1
	for range 2 { // the first that names it, then those soon after
		list, err := s.o.Log.Search(ctx, q)
		if err != nil {
			return false, fmt.Errorf("file: looking for the message with a file: %w", err)
		}
		list = slices.DeleteFunc(list, func(r store.Record) bool { return !names(&r, f) })
		ids := make([]id.ID, len(list))
		for i := range list {
			ids[i] = list[i].ID
		}
		if len(ids) > 0 {
			about, err := s.o.About(ctx, ids...)
			if err != nil {
				return false, fmt.Errorf("file: looking for what was done to a message: %w", err)
			}
			for _, a := range about {
				if a.Kind == store.KindRetract && a.From == f.Owner {
					ids = slices.DeleteFunc(ids, func(m id.ID) bool { return m == a.Ref })
				}
			}
		}
		if len(ids) > 0 {
			return true, nil
		}
		q.After, q.Limit = f.Recorded, logPage
	}
	return false, nil
}

// naming finds messages that may name a claimed file.
func (s *Service) naming(f *store.File) store.Query {
	q := store.Query{Person: f.Owner, With: f.Conversation, Since: f.Created.Add(-clockSlack), Kinds: []string{store.KindMessage}, Limit: logPage}
	if f.Owner == f.Conversation {
		q.With = ""
	}
	return q
}

// names tells whether a message names a file.
func names(r *store.Record, f *store.File) bool {
	return r.From == f.Owner && r.To == f.Conversation && r.MetaValue(store.MetaFile) == f.ID
}

// Recorded is told by the message service that a message that names a file is in the log. It does not block. Whoever may, fetches it
// from now on; should this process end before that is noted, the log says it.
func (s *Service) Recorded(id string, seq int64) {
	s.mu.Lock()
	if _, known := s.recorded[id]; known || len(s.recorded) < maxRecorded {
		s.recorded[id] = seq
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// noteRecorded writes down what Recorded was told.
func (s *Service) noteRecorded(ctx context.Context) {
	s.mu.Lock()
	seqs := make(map[string]int64, len(s.recorded))
	for id, seq := range s.recorded {
		seqs[id] = seq
	}
	s.mu.Unlock()
	if len(seqs) == 0 {
		return
	}
	if err := s.o.Files.RecordFiles(ctx, seqs); err != nil {
		if ctx.Err() == nil {
			s.o.Logger.Warn("file: it is not noted which messages name files; the log knows", "files", len(seqs), "err", err)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range seqs {
		delete(s.recorded, id)
	}
}

// Bounds of a look into the log.
const (
	clockSlack = time.Hour // by which the clock may have been set back since the file was made
	logPage    = 500
	logPages   = 20
)

// findRecord is the Seq of the message that names a claimed file, 0 when there is none.
func (s *Service) findRecord(ctx context.Context, f *store.File) (int64, error) {
	s.mu.Lock()
	seq, ok := s.recorded[f.ID]
	s.mu.Unlock()
	if ok {
		return seq, nil
	}
	q := s.naming(f)
	for range logPages {
		list, err := s.o.Log.Search(ctx, q)
		if err != nil {
			return 0, fmt.Errorf("file: looking for the message with a file: %w", err)
		}
		for i := range list {
			if r := &list[i]; names(r, f) {
				s.Recorded(f.ID, r.Seq)
				return r.Seq, nil
			}
		}
		if len(list) < logPage {
			break
		}
		q.After = list[len(list)-1].Seq
	}
	return 0, nil
}

// Claim binds a complete file of somebody to the conversation with somebody else, for a message that is to be recorded. It may be said
// again. A file that they may fetch from another conversation is passed on: that makes a new file, with the same content. Both are
// AORs. Errors: NotFound for what is not theirs or not complete, Conflict for an upload for another conversation.
func (s *Service) Claim(ctx context.Context, from, to, id string) (*store.File, error) {
	if !isID(id) {
		return nil, unknown(id)
	}
	f, err := s.o.Files.File(ctx, id)
	if errors.Is(err, errs.NotFound) || err == nil && !f.Complete() {
		return nil, unknown(id)
	}
	if err != nil {
		return nil, err
	}
	if f.Owner == from && (f.Conversation == "" || f.Conversation == to) {
		if err := s.o.Files.ClaimFile(ctx, id, to); err != nil {
			return nil, err
		}
		f.Conversation = to
		return f, nil
	}
	if err := s.may(ctx, from, f); err != nil {
		if f.Owner == from && errors.Is(err, errs.NotFound) {
			return nil, errs.Say(errs.New(errs.Conflict, "file: file %s is for another conversation", id), "This file was uploaded for another conversation")
		}
		return nil, err
	}
	return s.passOn(ctx, f, from, to)
}

func (s *Service) quota() store.FileQuota {
	return store.FileQuota{Files: s.o.MaxFiles, Bytes: quotaTimes * s.o.MaxSize}
}

// explain finds words for people for what the store refuses.
func (s *Service) explain(err error) error {
	if errors.Is(err, errs.TooMany) {
		return errs.Say(err, fmt.Sprintf("There are too many files that were uploaded and not sent: at most %d of %s together; send or cancel some first",
			s.o.MaxFiles, size.Text(quotaTimes*s.o.MaxSize)))
	}
	if errors.Is(err, store.ErrNoSpace) {
		return errs.Say(err, "The server has no room for files at the moment")
	}
	return err
}
