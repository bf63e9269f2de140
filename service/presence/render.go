package presence

import (
	"crypto/rand"
	"errors"
	"strings"

	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/rlmi"
)

// single is the body for a watch of one person. It is false when nothing is new. Bodies are shared by all who see the same.
func (w *watch) single(full bool, version uint32) (contentType string, body []byte, ok bool) {
	w.mu.Lock()
	en := &w.entries[0]
	v := en.e.views[en.level].Load()
	if v == nil || !full && v.version == en.seen {
		w.mu.Unlock()
		return "", nil, false
	}
	before := en.seen
	en.seen = v.version
	diff := w.diff
	w.mu.Unlock()
	if !diff {
		return pidf.ContentType, v.body, true
	}
	body, err := v.partial(!full && before != 0 && before == v.prior, version+1)
	if err != nil {
		return pidf.ContentType, v.body, true
	}
	return pidf.DiffContentType, body, true
}

// partial is the view as a document of a series (RFC 5263 §4.4, which counts versions from 1): what changed since the view
// before, if the watcher has that and it is shorter, else everything.
func (v *view) partial(next bool, version uint32) ([]byte, error) {
	to, err := pidf.Parse(v.body)
	if err != nil {
		return nil, err
	}
	full := to.AppendFull(nil, version)
	if !next || v.before == nil {
		return full, nil
	}
	from, err := pidf.Parse(v.before)
	if err != nil {
		return nil, err
	}
	if diff := pidf.AppendDiff(nil, from, to, version); len(diff) < len(full) {
		return diff, nil
	}
	return full, nil
}

// What a resource and a part cost in a body beside their texts, in bytes, about.
const (
	resourceBytes = 110
	partBytes     = 240
)

// row is one resource of a body that is being made.
type row struct {
	at        uint32
	uri, name string
	gone      bool   // there is nobody, or it was taken out of the list
	body      []byte // nil: nothing is said of the person now
}

// bundle is the body for a watch of a list (RFC 4662 §4.5): everybody in it at first, and then who has changed. What does
// not fit is told in the next ones; until then the full one names those people without an instance.
func (w *watch) bundle(full bool, version uint32) (contentType string, body []byte, more, ok bool) {
	w.mu.Lock()
	var rows []row
	size := 0
	full, w.list.whole = full || w.list.whole, false
	if full {
		rows, size = w.everybody()
	} else {
		rows, size = w.news()
	}
	uri, angled := w.list.uri, w.list.linphone
	more = len(w.list.dirty) > 0
	w.mu.Unlock()
	if len(rows) == 0 && !full {
		return "", nil, more, false
	}
	for {
		contentType, body, err := write(uri, version, full, angled, rows, size)
		if !errors.Is(err, rlmi.ErrBoundary) {
			return contentType, body, more, true
		}
	}
}

func write(uri string, version uint32, full, angled bool, rows []row, size int) (string, []byte, error) {
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails
	_, host, _ := strings.Cut(uri, "@")
	out := rlmi.NewWriter(make([]byte, 0, size+1024), rlmi.Boundary(random[:]), host)
	out.Angled = angled
	out.Start(uri, version, full)
	parts := 0
	for _, r := range rows {
		out.Resource(r.uri, r.name)
		switch {
		case r.gone:
			out.Instance("1", rlmi.Terminated, "noresource", 0)
		case r.body != nil:
			parts++
			out.Instance("1", rlmi.Active, "", parts)
		}
	}
	for _, r := range rows {
		if r.body != nil {
			out.PartBytes(pidf.ContentType, r.body)
		}
	}
	contentType := out.Type()
	body, err := out.Close()
	return contentType, body, err
}

// everybody are the rows of a full body (RFC 4662 §5.2), and about how many bytes that is; w.mu is held.
func (w *watch) everybody() (rows []row, size int) {
	l := w.list
	l.dirty = l.dirty[:0]
	for i := range w.entries {
		en := &w.entries[i]
		en.flags &^= dirty
		if en.flags&removed != 0 {
			w.free(uint32(i))
			continue
		}
		if en.flags&vacant != 0 {
			continue
		}
		// All are named, as far as that fits; those behind are added as if they were new (RFC 4662 §5.6.2).
		r := w.row(uint32(i))
		cost := resourceBytes + len(r.uri) + len(r.name)
		if size+cost > l.limit && len(rows) > 0 {
			en.seen = 0
			w.later(uint32(i))
			continue
		}
		size += cost
		rows = append(rows, r)
	}
	for i := range rows {
		r := &rows[i]
		w.entries[r.at].seen = 0
		if !w.fill(r, l.limit-size) {
			w.later(r.at)
		} else if r.body != nil {
			size += partBytes + len(r.body)
		}
	}
	return rows, size
}

// news are the rows of a partial body; w.mu is held.
func (w *watch) news() (rows []row, size int) {
	l := w.list
	left := l.dirty[:0]
	for _, at := range l.dirty {
		en := &w.entries[at]
		r := w.row(at)
		cost := resourceBytes + len(r.uri) + len(r.name)
		room := l.limit - size - cost
		if len(rows) == 0 {
			room = max(room, 1<<20) // however large it is, alone it goes
		}
		if room < 0 {
			left = append(left, at)
			continue
		}
		switch {
		case en.flags&removed != 0:
			r.gone = true
			w.free(at)
		case !w.fill(&r, room):
			left = append(left, at)
			continue
		}
		en.flags &^= dirty
		if !r.gone && r.body == nil {
			continue // it was told already, or nobody knows yet
		}
		rows = append(rows, r)
		if size += cost; r.body != nil {
			size += partBytes + len(r.body)
		}
	}
	clear(l.dirty[len(left):])
	if l.dirty = left; len(left) == 0 && cap(left) > 64 {
		l.dirty = nil
	}
	return rows, size
}

// fill takes what there is to tell of an entry, and notes that it was told; false when it does not fit into room.
func (w *watch) fill(r *row, room int) bool {
	en := &w.entries[r.at]
	if en.e == nil {
		r.gone, en.seen = true, absent // nobody whose state we could know
		return true
	}
	if en.e.exists.Load() == missing {
		r.gone, en.seen = true, absent
		return true
	}
	v := en.e.views[en.level].Load()
	if v == nil || v.version == en.seen {
		return true
	}
	if partBytes+len(v.body) > room {
		return false
	}
	r.body, en.seen = v.body, v.version
	return true
}

// later leaves an entry for the next body; w.mu is held.
func (w *watch) later(at uint32) {
	w.entries[at].flags |= dirty
	w.list.dirty = append(w.list.dirty, at)
}

// row begins the row of an entry; w.mu is held.
func (w *watch) row(at uint32) row {
	r := row{at: at}
	l := w.list
	if r.uri = l.odd[at]; r.uri == "" {
		r.uri = "sip:" + w.entries[at].e.aor
	}
	if int(at) < len(l.names) {
		r.name = l.names[at]
	}
	return r
}
