package file

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/rcsft"
)

// Bounds of an upload of a SIP client beside the file: the parts around it.
const (
	envelope = 1 << 20 // bytes
	maxParts = 8
)

// rcs is the door for SIP clients (GSMA RCC.07 §3.2.5, as liblinphone does it): an empty POST that finds out how to sign in, then one
// with the file in multipart/form-data (RFC 7578). The answer is the document that the client puts into its message.
func (d *door) rcs(w http.ResponseWriter, r *http.Request) {
	if d.o.SignIn == nil {
		d.fail(w, r, errs.New(errs.Forbidden, "file: SIP clients do not upload here"))
		return
	}
	who := d.o.SignIn(r)
	for _, c := range who.Challenges {
		w.Header().Add("WWW-Authenticate", c)
	}
	if who.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(who.RetryAfter))
	}
	switch {
	case who.Status == http.StatusUnauthorized:
		d.fail(w, r, errs.Say(errs.New(errs.Unauthorized, "file: a SIP client has to sign in"), "Sign in with the SIP account"))
		return
	case who.Status >= 500:
		d.fail(w, r, errs.New(errs.Unavailable, "file: signing in: %d", who.Status))
		return
	case who.Status != 0:
		d.fail(w, r, errs.Say(errs.New(errs.Forbidden, "file: signing in: %d %s", who.Status, who.Reason), who.Warning))
		return
	}
	if r.ContentLength == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	f, err := d.take(r, who.Identity.AOR, &patient{Reader: r.Body, c: http.NewResponseController(w)})
	if err != nil {
		d.fail(w, r, err)
		return
	}
	link, until := d.link(d.host(r), f.ID, f.Name, f.Owner)
	doc := rcsft.Document{Files: []rcsft.Entry{{Name: f.Name, Type: f.Type, Size: f.Size, URL: link, Until: until}}}
	body := doc.Bytes()
	w.Header().Set("Content-Type", rcsft.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the file is there all the same
}

// host is the address of the door as the client has it.
func (d *door) host(r *http.Request) string {
	if d.o.Address != "" {
		return d.o.Address
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// take makes a file of a request with multipart/form-data.
func (d *door) take(r *http.Request, owner string, body io.Reader) (*store.File, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, errs.Say(errs.New(errs.Invalid, "file: an upload as %q", shorten(r.Header.Get("Content-Type"))), "A file comes as multipart/form-data")
	}
	announcedSize := r.ContentLength
	if announcedSize > d.o.MaxSize+envelope {
		return nil, d.tooLarge(announcedSize)
	}
	if announcedSize < 0 || announcedSize > d.o.MaxSize { // chunked, or with the envelope around it
		announcedSize = d.o.MaxSize
	}
	parts := multipart.NewReader(io.LimitReader(body, d.o.MaxSize+envelope), params["boundary"])
	for range maxParts {
		part, err := parts.NextRawPart()
		if err != nil {
			return nil, malformed(err)
		}
		if part.FileName() == "" || strings.EqualFold(part.FormName(), "Thumbnail") {
			continue // the id of the transfer, a small picture: we make our own
		}
		u := Upload{Owner: owner, Name: part.FileName(), Type: part.Header.Get("Content-Type"), Size: announcedSize}
		id, err := d.begin(r.Context(), u, "")
		if err != nil {
			return nil, err
		}
		return d.takePart(r.Context(), owner, id, part)
	}
	return nil, malformed(io.EOF)
}

func malformed(err error) error {
	if errors.Is(err, errSlow) {
		return err
	}
	return errs.Say(errs.New(errs.Invalid, "file: reading multipart/form-data: %w", err), "There is no file in the request")
}

// takePart streams the file. What does not arrive whole is gone: such a client begins again.
func (d *door) takePart(ctx context.Context, owner, id string, part io.Reader) (*store.File, error) {
	f, err := d.own(ctx, owner, id)
	if err != nil {
		return nil, err
	}
	limited := &most{part, d.o.MaxSize}
	n, err := d.o.Blobs.Append(ctx, id, 0, limited)
	d.metrics.bytes.WithLabelValues("in").Add(float64(n))
	if err != nil {
		d.remove(ctx, f)
		switch {
		case errors.Is(err, errLong):
			return nil, d.tooLarge(d.o.MaxSize + 1)
		case errors.Is(err, store.ErrNoSpace):
			d.o.Logger.Error("file: an upload was refused", "err", err)
			return nil, d.explain(err)
		case errs.KindOf(err) == errs.Internal: // the line
			return nil, errs.New(errs.Invalid, "file: an upload was cut off: %w", err)
		}
		return nil, err
	}
	g, err := d.finish(ctx, f)
	if err != nil {
		d.remove(ctx, f)
		return nil, err
	}
	return g, nil
}
