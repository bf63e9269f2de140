package committer

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// Prepare completes a record before it is queued and refuses what a database might refuse later, because there it would
// take the whole batch with it.
func Prepare(r *store.Record) error {
	for _, s := range [...]string{r.Kind, r.From, r.To, r.Device, r.ContentType} {
		if len(s) > store.MaxText || !Clean(s) {
			return errs.New(errs.Invalid, "committer: a field of the record is too long or not text")
		}
	}
	if r.Kind == "" {
		return errs.New(errs.Invalid, "committer: a record needs a kind")
	}
	if len(r.Body) > store.MaxBody {
		return errs.New(errs.Invalid, "committer: the body of the record is %d bytes, the limit is %d", len(r.Body), store.MaxBody)
	}
	size := 0
	for k, v := range r.Meta {
		size += len(k) + len(v)
		if !Clean(k) {
			return errs.New(errs.Invalid, "committer: a key of Meta is not text")
		}
		if !Clean(v) { // a header of a peer may hold anything; that is no reason to lose the message
			r.Meta[k] = strings.ReplaceAll(strings.ToValidUTF8(v, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
	if size > store.MaxMeta {
		return errs.New(errs.Invalid, "committer: Meta is %d bytes, the limit is %d", size, store.MaxMeta)
	}
	if r.ID.IsZero() {
		r.ID = id.New()
	}
	if r.At.IsZero() {
		r.At = time.Now()
	}
	r.At = time.UnixMicro(r.At.UnixMicro()).UTC()
	r.Hash = r.Sum()
	return nil
}

// Clean says that s can be a text value in both databases.
func Clean(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// Size is what a queued record costs in memory, about.
func Size(r *store.Record) int { return len(r.Body) + 512 }
