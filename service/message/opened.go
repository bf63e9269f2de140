package message

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
	"github.com/parley-im/parley/wire/iscomposing"
	"github.com/parley-im/parley/wire/mime"
	"github.com/parley-im/parley/wire/sip"
)

// opened is an opened body.
type opened struct {
	contentType string
	body        []byte
	typing      bool               // not recorded; body is already rebuilt from RFC 3994's elements alone
	active      bool               // of a typing notice: somebody writes
	known       bool               // of a typing notice: SIP devices know it already
	messageID   string             // imdn.Message-ID
	receipt     *imdn.Notification // the body is a receipt
}

// open unpacks and judges what o carries. The Result is a refusal, or nil.
func (s *Service) open(o *Outgoing) (opened, *Result) {
	body, err := mime.Inflate(o.Encoding, o.Body, s.o.MaxBody)
	switch {
	case errors.Is(err, mime.ErrTooLarge):
		return opened{}, &Result{Status: 413, Warning: "the message is larger than " + strconv.Itoa(s.o.MaxBody>>10) + " kB; send it as a file"}
	case errors.Is(err, mime.ErrEncoding):
		return opened{}, &Result{Status: 415, Accept: mime.Encodings, Warning: "the content encoding is not known here"}
	case err != nil:
		return opened{}, &Result{Status: 400, Warning: "the message body cannot be unpacked"}
	}
	c := opened{contentType: o.ContentType, body: body}
	if c.contentType == "" && len(body) > 0 {
		return c, &Result{Status: 400, Warning: "the message has no Content-Type"}
	}
	switch media := mediaType(c.contentType); {
	case media == iscomposing.ContentType:
		return openTyping(c)
	case media == imdn.ContentType:
		return openReceipt(c, body)
	case media == cpim.ContentType:
		return s.openCPIM(o, c)
	case mime.IsMultipart(media):
		if _, err := mime.Multipart(c.contentType, body, mime.DefaultLimits); err != nil {
			return c, &Result{Status: 400, Warning: "the multipart body is malformed or nested too deep"}
		}
	}
	return c, nil
}

// openCPIM looks inside the wrapper (RFC 3862). Whom it names as sender must be who signed in.
func (s *Service) openCPIM(o *Outgoing, c opened) (opened, *Result) {
	m, err := cpim.Parse(c.body)
	if err != nil {
		return c, &Result{Status: 400, Warning: "the CPIM message is malformed"}
	}
	for _, from := range m.Senders() {
		if !s.isSender(o.From, from.URI) {
			return c, &Result{Status: 403, Warning: "the From inside the message is not who signed in"}
		}
	}
	c.messageID, _ = imdn.Request(m)
	switch mediaType(m.ContentType()) {
	case iscomposing.ContentType:
		state, err := iscomposing.Parse(m.Content)
		if err != nil {
			return c, &Result{Status: 400, Warning: "the typing notice is malformed"}
		}
		// Nothing of the wrapper but the addresses and the time survives: the rest could carry text.
		clean := cpim.Message{
			Headers: []cpim.Header{
				{Name: "From", Value: "<sip:" + o.From + ">"}, {Name: "To", Value: "<sip:" + o.To + ">"},
				{Name: "DateTime", Value: time.Now().UTC().Format(time.RFC3339)},
			},
			ContentHeaders: []cpim.Header{{Name: "Content-Type", Value: iscomposing.ContentType}},
			Content:        state.Bytes(),
		}
		c.typing, c.active, c.contentType, c.body = true, state.State == "active", cpim.ContentType, clean.Bytes()
	case imdn.ContentType:
		return openReceipt(c, m.Content)
	}
	return c, nil
}

func openTyping(c opened) (opened, *Result) {
	state, err := iscomposing.Parse(c.body)
	if err != nil {
		return c, &Result{Status: 400, Warning: "the typing notice is malformed"}
	}
	c.typing, c.active, c.contentType, c.body = true, state.State == "active", iscomposing.ContentType, state.Bytes()
	return c, nil
}

func openReceipt(c opened, doc []byte) (opened, *Result) {
	n, err := imdn.Parse(doc)
	if err != nil {
		return c, &Result{Status: 400, Warning: "the receipt is malformed"}
	}
	c.receipt = &n
	return c, nil
}

// isSender tells whether uri is the AOR or a GRUU of aor. CPIM addresses may be im: or pres: URIs.
func (s *Service) isSender(aor, uri string) bool {
	for _, scheme := range []string{"im:", "pres:"} {
		if len(uri) > len(scheme) && strings.EqualFold(uri[:len(scheme)], scheme) {
			uri = "sip:" + uri[len(scheme):]
		}
	}
	u, err := sip.ParseURI(uri)
	if err != nil {
		return false
	}
	owner, _, ok := s.o.Devices.Resolve(u)
	return ok && owner == aor
}

// receivable judges the receiver's account.
func receivable(o *Outgoing, u *store.User, err error) *Result {
	switch {
	case errors.Is(err, errs.NotFound):
		return &Result{Status: 404, Warning: "there is no user " + o.To + " here"}
	case err != nil:
		r := unrecorded()
		return &r
	case u.Disabled:
		return &Result{Status: 480, Warning: "the account of " + o.To + " is disabled"}
	}
	return nil
}

// unrecorded is the refusal of what could not be recorded.
func unrecorded() Result {
	return Result{
		Status: 500, RetryAfter: 5, Reason: "Message Not Recorded", lost: true,
		Warning: "the message could not be recorded and was not delivered; try again in a few seconds",
	}
}

// unrecordable is the refusal for an error of the log.
func unrecordable(err error) Result {
	if errs.KindOf(err) == errs.Invalid {
		return Result{Status: 400, Warning: "the headers of the message are too long to be recorded, or are not text", lost: true}
	}
	return unrecorded()
}

// newRecord is the entry of the log for o.
func (s *Service) newRecord(o *Outgoing, c opened) *store.Record {
	r := &store.Record{
		ID: id.New(), Kind: store.KindMessage, From: o.From, To: o.To, Device: o.Device,
		ContentType: c.contentType, Body: c.body, Meta: make(map[string]string, 8),
	}
	if c.receipt != nil {
		r.Kind = store.KindReceipt
		r.Meta[store.MetaOutcome] = c.receipt.Status
		r.Meta[store.MetaMessageID] = c.receipt.MessageID
		r.Ref = s.repeats.find(messageKey(s.repeats.seed, o.To, o.From, c.receipt.MessageID))
	} else {
		set(r, store.MetaMessageID, c.messageID)
	}
	set(r, store.MetaCallID, o.CallID)
	set(r, store.MetaFromTag, o.FromTag)
	set(r, store.MetaCSeq, o.CSeq)
	set(r, store.MetaRequestID, o.RequestID)
	set(r, store.MetaGRUU, o.ToDevice)
	set(r, metaDisplay, o.Display)
	set(r, store.MetaSubject, o.Headers.Subject)
	set(r, store.MetaPriority, o.Headers.Priority)
	set(r, store.MetaLanguage, o.Headers.Language)
	set(r, metaDisposition, o.Headers.Disposition)
	set(r, metaInReplyTo, o.Headers.InReplyTo)
	if o.Expires >= 0 {
		r.Meta[metaExpires] = strconv.FormatInt(time.Now().Add(max(o.Expires, answerWithin)).UnixMilli(), 10)
	}
	return r
}

// Keys of Meta that only this package reads.
const (
	metaDisplay     = "display"     // display name in From
	metaDisposition = "disposition" // Content-Disposition
	metaInReplyTo   = "in_reply_to" // In-Reply-To
	metaExpires     = "expires"     // Unix time in ms after which it is not delivered any more
	metaInDialog    = "in_dialog"   // passed inside a dialog: never delivered by us
	metaMessageSeq  = "message_seq" // of an outcome: Seq of its message
	metaUnrecorded  = "unrecorded"  // of an outcome: Seq of the last message to the device before it whose outcome may not be in the log
)

// set keeps only what is there: most messages have few of these.
func set(r *store.Record, key, value string) {
	if value != "" {
		r.Meta[key] = strings.ReplaceAll(strings.ToValidUTF8(strings.Clone(value), "\uFFFD"), "\x00", "\uFFFD")
	}
}

// mediaType is the type without parameters, in lower case.
func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// Text is what a person would read in a record, for the index of words; "" when there is nothing to read.
func Text(r *store.Record) string { return content.Words(r) }
