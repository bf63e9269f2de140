package file

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// How long a line may stand still, and the slowest that is waited for.
const (
	stillWithin = time.Minute
	slowestRate = 8 << 10 // bytes in a second that somebody fetches
	leastRate   = 1 << 10 // bytes in a second that somebody sends, over leastOver
	leastOver   = time.Minute
)

// offsetHeader tells how many bytes of an upload are there.
const offsetHeader = "Upload-Offset"

// policyHeader keeps what is shown in its place from doing anything.
const policyHeader = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"

// Handler is the door for the bytes, under /files/. caller says who is signed in; who is not can only fetch what an address without a
// session opens, and upload as a SIP client, with a password of its own.
func (s *Service) Handler(caller func(*http.Request) (aor string, ok bool)) http.Handler {
	d := &door{s, caller}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /files/rcs", d.rcs)
	mux.HandleFunc("PUT /files/uploads/{id}", d.put)
	mux.HandleFunc("HEAD /files/uploads/{id}", d.head)
	mux.HandleFunc("GET /files/{id}/{name}", d.get)
	return mux
}

type door struct {
	*Service
	caller func(*http.Request) (aor string, ok bool)
}

// reasonHeader names the kind of an error, as the API does.
const reasonHeader = "Parley-Reason"

// fail answers with a sentence for people, and with the kind of the error for programs.
func (d *door) fail(w http.ResponseWriter, r *http.Request, err error) {
	kind := errs.KindOf(err)
	if (kind == errs.Internal || kind == errs.Unavailable) && r.Context().Err() == nil && !errors.Is(err, errSlow) {
		d.o.Logger.Error("file: a request failed", "method", r.Method, "err", err)
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set(reasonHeader, strings.ReplaceAll(kind.String(), " ", "-"))
	http.Error(w, errs.Reason(err), kind.HTTP())
}

var errNobody = errs.New(errs.Unauthorized, "file: nobody has signed in")

// signedIn is who calls, "" after it has answered.
func (d *door) signedIn(w http.ResponseWriter, r *http.Request) string {
	aor, ok := d.caller(r)
	if !ok || aor == "" {
		d.fail(w, r, errNobody)
		return ""
	}
	return aor
}

// errSlow (Unavailable) is for uploads that come too slowly: each holds a connection, and whoever sends a byte now and then would hold
// it for ever.
var errSlow = errs.Say(errs.New(errs.Unavailable, "file: an upload comes too slowly"), "The upload came too slowly: at least 1 kB in a second is needed")

// errStopped (Conflict) is for a request that another one goes on with.
var errStopped = errs.Say(errs.New(errs.Conflict, "file: another request goes on with the upload: %w", os.ErrDeadlineExceeded), "Another request goes on with this upload")

// patient is a body whose line may stand still for a while only and be slow, but not too slow, and that can be stopped.
type patient struct {
	io.Reader
	c       *http.ResponseController
	stopped atomic.Bool

	// Since the rate was looked at last: bytes that came, and how long they were waited for. What this server takes its time for is
	// nobody's fault.
	came   int
	waited time.Duration
}

func (p *patient) Read(b []byte) (int, error) {
	begun := time.Now()
	_ = p.c.SetReadDeadline(begun.Add(stillWithin)) // a connection without deadlines is not cut
	if p.stopped.Load() {                           // a moment ago: the deadline that stop has set is gone
		return 0, errStopped
	}
	n, err := p.Reader.Read(b)
	p.came += n
	p.waited += time.Since(begun)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && p.stopped.Load():
		return n, errStopped
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, errSlow
	case err == nil && p.waited >= leastOver:
		if float64(p.came) < leastRate*p.waited.Seconds() {
			return n, errSlow
		}
		p.came, p.waited = 0, 0
	}
	return n, err
}

// stop ends a Read that waits, and all that follow.
func (p *patient) stop() {
	p.stopped.Store(true)
	_ = p.c.SetReadDeadline(time.Unix(1, 0)) // as in Read
}

// put takes bytes of an upload.
func (d *door) put(w http.ResponseWriter, r *http.Request) {
	aor := d.signedIn(w, r)
	if aor == "" {
		return
	}
	offset := int64(0)
	if text := r.Header.Get(offsetHeader); text != "" {
		var err error
		if offset, err = strconv.ParseInt(text, 10, 64); err != nil || offset < 0 {
			d.fail(w, r, errs.Say(errs.New(errs.Invalid, "file: Upload-Offset %q", shorten(text)), "Upload-Offset is a number of bytes"))
			return
		}
	}
	body := &patient{Reader: r.Body, c: http.NewResponseController(w)}
	n, err := d.Write(r.Context(), aor, r.PathValue("id"), offset, body, body.stop)
	if err == nil || errs.KindOf(err) == errs.Conflict {
		w.Header().Set(offsetHeader, strconv.FormatInt(n, 10))
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// head tells how many bytes are there.
func (d *door) head(w http.ResponseWriter, r *http.Request) {
	aor := d.signedIn(w, r)
	if aor == "" {
		return
	}
	n, err := d.Size(r.Context(), aor, r.PathValue("id"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	w.Header().Set(offsetHeader, strconv.FormatInt(n, 10))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

// get gives a file, or its small picture.
func (d *door) get(w http.ResponseWriter, r *http.Request) {
	f, err := d.fetch(r)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	h, contentType, inline := f.SHA256, "", false
	fileName := f.Name
	if r.PathValue("name") == thumbnail {
		h, contentType, inline = f.Thumbnail, "image/jpeg", true
		fileName = "thumbnail.jpg"
	} else {
		contentType, inline = served(f.Type)
	}
	b, err := d.o.Blobs.Open(r.Context(), h)
	if err != nil {
		if errors.Is(err, errs.NotFound) && !h.IsZero() {
			d.o.Logger.Error("file: the content of a file is missing", "file", f.ID, "sha256", h)
		}
		d.fail(w, r, errs.Say(err, "There is no such file"))
		return
	}
	defer b.Close()
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(stillWithin + time.Duration(b.Size()/slowestRate)*time.Second)) // as in patient
	defer func() { _ = c.SetWriteDeadline(time.Time{}) }()                                                // the connection may go on to be a stream
	head := w.Header()
	head.Set("Content-Type", contentType)
	head.Set("Content-Disposition", disposition(inline, fileName))
	head.Set("Content-Security-Policy", policyHeader)
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer") // the address may have a token in it
	head.Set("Cache-Control", "private, max-age=3600")
	head.Set("ETag", `"`+h.String()+`"`)
	http.ServeContent(counted{w, d.metrics.bytes.WithLabelValues("out")}, r, "", f.Created, b) // RFC 9110 §13, §14
}

// counted counts what is sent.
type counted struct {
	http.ResponseWriter
	n interface{ Add(float64) }
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(float64(n))
	return n, err
}

// Unwrap lets http.ResponseController find the connection.
func (c counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// fetch finds out which file is asked for, and whether by somebody who may: with a token, or with a session.
func (d *door) fetch(r *http.Request) (*store.File, error) {
	id := r.PathValue("id")
	if k := r.URL.Query().Get("k"); k != "" {
		return d.opened(r.Context(), id, k)
	}
	aor, ok := d.caller(r)
	if !ok || aor == "" {
		return nil, errNobody
	}
	return d.File(r.Context(), aor, id)
}

// opened is the file that a token opens.
func (s *Service) opened(ctx context.Context, id, token string) (*store.File, error) {
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
	for _, side := range []string{f.Owner, f.Conversation} {
		switch genuine, now := s.holds(token, id, side); {
		case genuine && now:
			if err := s.may(ctx, side, f); err != nil {
				return nil, err
			}
			return f, nil
		case genuine:
			return nil, errs.Say(errs.New(errs.NotFound, "file: the address of %s is too old", id), "This address of the file is too old; the message has a newer one when it is delivered again")
		}
	}
	return nil, unknown(id)
}

// disposition tells whether a browser shows or saves it, and the name (RFC 6266, RFC 8187): in ASCII for old clients, and as it is.
func disposition(inline bool, fileName string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f || r == '"' || r == '\\' || r == '%' || r == ';' {
			return '_'
		}
		return r
	}, fileName)
	kind := "attachment"
	if inline {
		kind = "inline"
	}
	escaped := strings.NewReplacer("+", "%20", "*", "%2A", "'", "%27", "(", "%28", ")", "%29").Replace(url.QueryEscape(fileName))
	return kind + `; filename="` + ascii + `"; filename*=UTF-8''` + escaped
}
