package file

import (
	"context"
	"errors"
	"io"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/size"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// Upload is what is to come.
type Upload struct {
	Owner        string // AOR
	Conversation string // address of the other side
	Name         string // of the file
	Type         string // media type; what it really is, is found out
	Size         int64  // bytes
}

// ErrMissing (Conflict) is wrapped when bytes of an upload are missing.
var ErrMissing = errs.New(errs.Conflict, "file: bytes are missing")

// CreateUpload begins an upload and returns its id. Errors: Invalid for a size or type that is not taken, NotFound when there is no
// such other side, TooMany beyond the quota.
func (s *Service) CreateUpload(ctx context.Context, u Upload) (id string, err error) {
	to, err := sip.ParseAOR(u.Conversation)
	if err != nil {
		return "", err
	}
	if _, err := s.o.Users.User(ctx, to); errors.Is(err, errs.NotFound) {
		return "", errs.Say(err, "There is no such person")
	} else if err != nil {
		return "", err
	}
	return s.begin(ctx, u, to)
}

// begin adds the file of an upload, for a conversation or for one that is not known yet.
func (s *Service) begin(ctx context.Context, u Upload, to string) (id string, err error) {
	switch {
	case u.Size < 0:
		return "", errs.Say(errs.New(errs.Invalid, "file: %d bytes", u.Size), "A file has no negative size")
	case u.Size > s.o.MaxSize:
		return "", s.tooLarge(u.Size)
	case !s.types.take(u.Type): // it may be worse, but it does not get better
		return "", s.refused(u.Type)
	}
	f := store.File{ID: newID(), Owner: u.Owner, Conversation: to, Name: name(u.Name), Type: announced(u.Type), Size: u.Size}
	if err := s.o.Files.AddFile(ctx, f, s.quota()); err != nil {
		return "", s.explain(err)
	}
	s.metrics.uploads.WithLabelValues("begun").Inc()
	return f.ID, nil
}

func (s *Service) tooLarge(n int64) error {
	s.metrics.uploads.WithLabelValues("size").Inc()
	return errs.Say(errs.New(errs.Invalid, "file: %d bytes, and %d is the limit", n, s.o.MaxSize), "Files here have at most "+size.Text(s.o.MaxSize))
}

func (s *Service) refused(kind string) error {
	s.metrics.uploads.WithLabelValues("type").Inc()
	return errs.Say(errs.New(errs.Invalid, "file: the type %q is not taken", shorten(kind)), "Files of this type are not taken here")
}

// writing is a request that writes an upload.
type writing struct {
	stop context.CancelFunc
	done chan struct{}
}

// takeOver makes ctx the one that writes an upload; who wrote it before is stopped: a client that comes again knows that its line was cut
// before this server does.
func (s *Service) takeOver(ctx context.Context, id string, stop context.CancelFunc) (*writing, error) {
	w := &writing{stop, make(chan struct{})}
	for {
		s.mu.Lock()
		old := s.writing[id]
		if old == nil {
			s.writing[id] = w
		}
		s.mu.Unlock()
		if old == nil {
			return w, nil
		}
		old.stop()
		select {
		case <-old.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *Service) leave(id string, w *writing) {
	s.mu.Lock()
	delete(s.writing, id)
	s.mu.Unlock()
	close(w.done)
}

// errLong is what a reader says that has more than was announced.
var errLong = errors.New("file: more bytes than announced")

// most gives at most n bytes, and errLong when there are more.
type most struct {
	r io.Reader
	n int64
}

func (m *most) Read(p []byte) (int, error) {
	if int64(len(p)) > m.n+1 {
		p = p[:m.n+1]
	}
	n, err := m.r.Read(p)
	if int64(n) > m.n {
		n, err = int(m.n), errLong
	}
	m.n -= int64(n)
	return n, err
}

// Write puts what r gives behind the first offset bytes of an upload and returns how many bytes are there then, with an error as
// well. stop is called when another request goes on with the same upload; r must end soon after. Errors: NotFound, Conflict when
// another number of bytes is there, Invalid when r has more than was announced: then the upload is gone.
func (s *Service) Write(ctx context.Context, owner, id string, offset int64, r io.Reader, stop func()) (int64, error) {
	f, err := s.own(ctx, owner, id)
	if err != nil {
		return 0, err
	}
	if f.Complete() {
		if offset == f.Size {
			return f.Size, nil
		}
		return f.Size, errs.Say(errs.New(errs.Conflict, "file: upload %s is complete", id), "The upload is complete")
	}
	if offset < 0 || offset > f.Size {
		n, err := s.size(ctx, id)
		if err == nil {
			err = errs.New(errs.Conflict, "file: upload %s has %d bytes and not %d", id, n, offset)
		}
		return n, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.takeOver(ctx, id, func() { cancel(); stop() })
	if err != nil {
		return 0, err
	}
	defer s.leave(id, w)
	n, err := s.o.Blobs.Append(ctx, id, offset, &most{r, f.Size - offset})
	s.metrics.bytes.WithLabelValues("in").Add(float64(max(n-offset, 0)))
	switch {
	case errors.Is(err, errLong):
		s.remove(ctx, f)
		return 0, errs.Say(errs.New(errs.Invalid, "file: upload %s has more than the %d bytes that were announced", id, f.Size),
			"The file has more bytes than were announced; the upload was removed")
	case errors.Is(err, store.ErrNoSpace):
		s.remove(ctx, f)
		s.o.Logger.Error("file: an upload was refused", "err", err)
	}
	return n, s.explain(err)
}

// Size is how many bytes of an upload are there.
func (s *Service) Size(ctx context.Context, owner, id string) (int64, error) {
	f, err := s.own(ctx, owner, id)
	if err != nil {
		return 0, err
	}
	if f.Complete() {
		return f.Size, nil
	}
	return s.size(ctx, id)
}

func (s *Service) size(ctx context.Context, id string) (int64, error) {
	p, err := s.o.Blobs.Part(ctx, id)
	if errors.Is(err, errs.NotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return p.Size(), p.Close()
}

// CancelUpload removes an upload, or a file that no message names yet. NotFound.
func (s *Service) CancelUpload(ctx context.Context, owner, id string) error {
	f, err := s.own(ctx, owner, id)
	if err != nil {
		return err
	}
	if f.Recorded == 0 && f.Complete() && f.Conversation != "" {
		if f.Recorded, err = s.findRecord(ctx, f); err != nil {
			return err
		}
	}
	if f.Recorded > 0 {
		return errs.Say(errs.New(errs.Conflict, "file: file %s is in a message", id), "The file is in a message")
	}
	s.mu.Lock()
	w := s.writing[id]
	s.mu.Unlock()
	if w != nil {
		w.stop()
		select {
		case <-w.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := s.o.Files.RemoveFiles(ctx, id); err != nil {
		return err
	}
	return s.o.Blobs.Discard(ctx, id)
}

// remove takes an upload back that cannot become anything. What it leaves, the sweeper finds.
func (s *Service) remove(ctx context.Context, f *store.File) {
	ctx = context.WithoutCancel(ctx)
	err := errors.Join(s.o.Files.RemoveFiles(ctx, f.ID), s.o.Blobs.Discard(ctx, f.ID), s.o.Blobs.Discard(ctx, small(f.ID)))
	if err != nil {
		s.o.Logger.Warn("file: an upload was not removed at once", "file", f.ID, "err", err)
	}
}

// CompleteUpload checks an upload against its size and, unless that is "", against its SHA-256 in hexadecimal; it finds out what it is. It
// may be said again. Errors: NotFound; ErrMissing, then the upload may go on; Invalid for another hash, or a type that is not taken:
// then the upload is gone.
func (s *Service) CompleteUpload(ctx context.Context, owner, id, sum string) (*store.File, error) {
	want, ok := store.ParseBlobHash(sum)
	if sum != "" && !ok {
		return nil, errs.Say(errs.New(errs.Invalid, "file: %q is no SHA-256", shorten(sum)), "A SHA-256 has 64 hexadecimal digits")
	}
	if _, err := s.own(ctx, owner, id); err != nil {
		return nil, err // nobody else stops who writes it
	}
	w, err := s.takeOver(ctx, id, func() {}) // who says it twice at once, hears the same twice
	if err != nil {
		return nil, err
	}
	defer s.leave(id, w)
	f, err := s.own(ctx, owner, id) // as it is now
	if err != nil {
		return nil, err
	}
	if f.Complete() {
		if sum != "" && want != f.SHA256 {
			return nil, wrongSum(id)
		}
		return f, nil
	}
	if f.Size == 0 {
		if _, err := s.o.Blobs.Append(ctx, id, 0, eof{}); err != nil {
			return nil, s.explain(err)
		}
	}
	return s.check(ctx, f, sum, want)
}

// check is CompleteUpload for an upload that is not complete yet.
func (s *Service) check(ctx context.Context, f *store.File, sum string, want store.BlobHash) (*store.File, error) {
	id := f.ID
	got, n, err := s.o.Blobs.Sum(ctx, id)
	if errors.Is(err, errs.NotFound) || err == nil && n < f.Size {
		return nil, errs.Say(errs.New(errs.Conflict, "file: upload %s has %d of %d bytes: %w", id, n, f.Size, ErrMissing), "Bytes of the file are missing; go on with the upload")
	}
	if err != nil {
		return nil, err
	}
	if sum != "" && want != got || n > f.Size {
		s.remove(ctx, f)
		s.metrics.uploads.WithLabelValues("hash").Inc()
		return nil, wrongSum(id)
	}
	return s.finish(ctx, f)
}

func wrongSum(id string) error {
	return errs.Say(errs.New(errs.Invalid, "file: upload %s has another SHA-256", id), "The file did not arrive as it was sent; upload it again")
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// finish makes a file of an upload of which all bytes are there.
func (s *Service) finish(ctx context.Context, f *store.File) (*store.File, error) {
	kind, err := s.look(ctx, f)
	if err != nil {
		return nil, err
	}
	if !s.types.take(kind) {
		s.remove(ctx, f)
		return nil, s.refused(kind)
	}
	f.Type = kind
	if isPicture(kind) {
		s.picture(ctx, f)
	}
	if f.SHA256, f.Size, err = s.o.Blobs.Commit(ctx, f.ID); err != nil {
		return nil, s.explain(err)
	}
	if err := s.o.Files.CompleteFile(ctx, *f); err != nil {
		return nil, err
	}
	s.metrics.uploads.WithLabelValues("complete").Inc()
	return f, nil
}

// look finds out what the bytes of an upload are.
func (s *Service) look(ctx context.Context, f *store.File) (kind string, err error) {
	p, err := s.o.Blobs.Part(ctx, f.ID)
	if err != nil {
		return "", err
	}
	defer p.Close()
	head := make([]byte, sniffed)
	n, err := io.ReadFull(p, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", errs.Wrap(errs.Unavailable, err, "file: reading an upload")
	}
	return kindOf(head[:n], f.Type, f.Name), nil
}
