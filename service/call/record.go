package call

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/mime"
	"github.com/parley-im/parley/wire/sdp"
	"github.com/parley-im/parley/wire/sip"
)

// How calls end (store.MetaOutcome of a call.end record).
const (
	outcomeHungUp      = "hung up"        // answered, then ended by one side
	outcomeBusy        = "busy"           // 486, 600
	outcomeDeclined    = "declined"       // 603, 403
	outcomeNoAnswer    = "no answer"      // rang until somebody gave up: 408, 480 or the proxy's own clock
	outcomeCancelled   = "cancelled"      // the caller gave up
	outcomeAbsent      = "absent"         // no device was there
	outcomeQuiet       = "do not disturb" // the callee does not want to be disturbed: a missed call
	outcomeFailed      = "failed"         // any other refusal
	outcomeLost        = "lost"           // answered, and nobody was heard of again
	outcomeClosed      = "closed"         // an administrator disabled or removed one of the parties
	outcomeInterrupted = "interrupted"    // open when the server stopped
)

// metaMedia lists the kinds of media that the caller offered, as "audio,video".
const metaMedia = "media"

// outcomeOf names the end of a call that was not answered.
func outcomeOf(o route.Outcome) string {
	switch {
	case o.Cancelled, o.Status == 487:
		return outcomeCancelled
	case o.Status == 486, o.Status == 600:
		return outcomeBusy
	case o.Status == 603, o.Status == 403:
		return outcomeDeclined
	case o.NoAnswer, o.Status == 408, o.Status == 480, o.Status == 0:
		return outcomeNoAnswer
	}
	return outcomeFailed
}

// end records the end of a call, once. Its device is the one that answered.
func (s *Service) end(c *call, outcome string, status int, reason string) {
	if !s.forget(c) {
		return
	}
	s.tell()
	s.mu.Lock()
	answered, device, expiry := c.answered, c.device, c.expiry
	s.mu.Unlock()
	if expiry != nil {
		expiry.Stop()
	}
	rec := &store.Record{Kind: store.KindCallEnd, From: c.from, To: c.to, Device: device, Ref: c.id, Meta: map[string]string{store.MetaOutcome: outcome}}
	if !answered.IsZero() {
		rec.Meta[store.MetaDuration] = strconv.FormatInt(time.Since(answered).Milliseconds(), 10)
	}
	if status != 0 {
		rec.Meta[store.MetaStatus] = strconv.Itoa(status)
	}
	if reason != "" {
		rec.Meta[store.MetaReason] = strings.ToValidUTF8(strings.Clone(reason), "\uFFFD")
	}
	s.append(rec)
}

// append keeps trying: the call has ended, whatever the log can do now.
func (s *Service) append(rec *store.Record) {
	s.o.Store.Append(rec, func(err error) {
		if err == nil || !errs.KindOf(err).Temporary() {
			return
		}
		// A record of its own: the log may still be at work on the one that it has refused.
		again := &store.Record{Kind: rec.Kind, From: rec.From, To: rec.To, Device: rec.Device, Ref: rec.Ref, Meta: rec.Meta}
		s.o.Transactions.After(time.Second, func() { s.append(again) })
	})
}

// Load closes the calls that were open when the server stopped: nobody saw how they ended. It waits for the index to be
// there, which may take long when it was lost, so calls may come and go meanwhile.
func (s *Service) Load(ctx context.Context) error {
	if err := store.Indexed(ctx, s.o.Store, s.before); err != nil {
		return err
	}
	open, err := s.o.Store.OpenCalls(ctx)
	if err != nil {
		return errs.Wrap(errs.Unavailable, err, "call: reading open calls")
	}
	// Ascending; what came since the start is still going on.
	open = slices.DeleteFunc(open, func(r store.Record) bool { return r.Seq > s.before })
	for i := range open {
		s.append(&store.Record{
			Kind: store.KindCallEnd, From: open[i].From, To: open[i].To, Ref: open[i].ID,
			Meta: map[string]string{store.MetaOutcome: outcomeInterrupted},
		})
	}
	return nil
}

// Interrupt closes the calls that are open when the server stops. The parties may go on without us; their
// records cannot.
func (s *Service) Interrupt() {
	s.mu.Lock()
	open := make([]*call, 0, len(s.calls))
	for _, c := range s.calls {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		s.end(c, outcomeInterrupted, 0, "")
	}
}

// media lists what an offer contains; "" for an INVITE without one.
func media(m *sip.Message) string {
	body, ct := m.Body(), m.Get(sip.HContentType)
	if mime.IsMultipart(ct) {
		parts, _ := mime.Multipart(ct, body, mime.DefaultLimits)
		for _, p := range parts {
			if strings.HasPrefix(strings.ToLower(p.ContentType), "application/sdp") {
				body = p.Body
			}
		}
	}
	offer, err := sdp.Parse(body)
	if err != nil {
		return ""
	}
	var kinds []string
	for _, md := range offer.Media {
		if md.Port != 0 && !slices.Contains(kinds, md.Type) {
			kinds = append(kinds, strings.Clone(md.Type))
		}
	}
	return strings.Join(kinds, ",")
}
