package message

import (
	"strconv"
	"time"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
	"github.com/parley-im/parley/wire/rcsft"
	"github.com/parley-im/parley/wire/sip"
)

// ServeSIP is the handler of MESSAGE (RFC 3428 §7): we are the UAS of the sender.
func (s *Service) ServeSIP(r *route.Request) {
	if r.Loose || r.InDialog() {
		s.inDialog(r)
		return
	}
	to, device, ok := s.o.Devices.Resolve(r.URI())
	if !ok {
		reply(r, Result{Status: 404, Warning: "this address names no device here"})
		return
	}
	o := outgoing(r)
	o.To, o.ToDevice = to, device
	switch media := mediaType(o.ContentType); media {
	case cpim.ContentType, imdn.ContentType, rcsft.ContentType:
		s.learn(r, program{wrapped: media != rcsft.ContentType, rcs: media != cpim.ContentType})
	}
	s.Send(o, func(res Result) { reply(r, res) })
}

// learn notes what the device behind a request's flow has shown to know.
func (s *Service) learn(r *route.Request, knows program) {
	aor, flow := r.Identity.AOR, r.Flow
	w := s.shardOf(aor)
	w.post(func() {
		box := w.boxes[aor]
		if box == nil || !box.loaded || flow.ID() == 0 {
			return
		}
		for _, t := range s.o.Devices.Devices(aor) {
			if d := box.outboxes[t.Device]; d != nil && t.Hop.Flow == flow {
				d.program.wrapped = d.program.wrapped || knows.wrapped
				d.program.rcs = d.program.rcs || knows.rcs
			}
		}
	})
}

// outgoing reads what a MESSAGE says, and drops every header that is not recorded.
func outgoing(r *route.Request) Outgoing {
	m := r.Msg
	o := Outgoing{
		From: r.Identity.AOR, Device: r.Identity.Device,
		ContentType: m.Get(sip.HContentType), Encoding: m.Get(sip.HContentEncoding), Body: m.Body(),
		Headers: Headers{
			Subject: m.Get(sip.HSubject), Priority: m.Get(sip.HPriority), Language: m.Get(sip.HContentLanguage),
			Disposition: m.Get(sip.HContentDisposition), InReplyTo: m.Get(sip.HInReplyTo),
		},
		Expires: -1,
		CallID:  m.CallID(), FromTag: m.FromTag(),
	}
	if from, err := m.From(); err == nil {
		o.Display = from.Display
	}
	if cseq, err := m.CSeq(); err == nil {
		o.CSeq = strconv.FormatUint(uint64(cseq.Seq), 10)
	}
	if n, ok := m.Int(sip.HExpires); ok {
		o.Expires = time.Duration(n) * time.Second
	}
	return o
}

func reply(r *route.Request, res Result) {
	var opts []route.Option
	if res.Warning != "" {
		opts = append(opts, route.Warn(res.Warning))
	}
	if res.RetryAfter > 0 {
		opts = append(opts, route.RetryAfter(res.RetryAfter))
	}
	if res.Accept != "" {
		opts = append(opts, route.Header(sip.HAcceptEncoding, res.Accept))
	}
	r.Reply(res.Status, res.Reason, opts...)
}
