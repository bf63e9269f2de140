package dialog

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/transport"
)

// rowVersion is the first byte of Row.Data. A new format gets a new one; the
// old ones stay readable.
//
// Version 1: strings and addresses with their length in front, numbers as
// uvarints, in the order of encode; what the Source keeps comes last.
const rowVersion = 1

const (
	rowPending = 1 << iota
	rowAdmin
	rowSecure
)

const maxRoutes = 64

// encode is Row.Data; ours is our Contact. s.mu is held.
func (s *Subscription) encode(ours string, kept []byte) []byte {
	var bits uint64
	for i, set := range []bool{s.state == Pending, s.watcher.Admin, s.d.Secure} {
		if set {
			bits |= 1 << i
		}
	}
	var local, remote []byte
	if s.flow.Kind() == transport.UDP { // a connection cannot be made again
		local, _ = s.flow.Local().MarshalBinary()
		remote, _ = s.flow.Remote().MarshalBinary()
	}
	b := make([]byte, 0, 512+len(kept))
	b = append(b, rowVersion)
	for _, v := range []uint64{bits, uint64(s.d.LocalSeq), uint64(s.d.RemoteSeq), uint64(len(s.d.Routes))} {
		b = binary.AppendUvarint(b, v)
	}
	for _, v := range append([]string{
		s.d.Local, s.d.CallID, s.d.Remote, s.d.LocalURI, s.d.RemoteURI, s.d.Target, s.resource, s.eventID, s.mediaRow, s.require,
		s.watcher.AOR, s.watcher.Device, ours, string(local), string(remote)}, s.d.Routes...) {
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
	}
	b = binary.AppendUvarint(b, uint64(len(kept)))
	return append(b, kept...)
}

// reader takes a row apart; after an error everything is zero.
type reader struct {
	b   string
	bad bool
}

func (r *reader) number(limit uint64) uint64 {
	// A uvarint has ten bytes at most.
	v, n := binary.Uvarint([]byte(r.b[:min(len(r.b), binary.MaxVarintLen64)]))
	if n <= 0 || v > limit {
		r.bad, r.b = true, ""
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	n := int(r.number(uint64(len(r.b))))
	if n > len(r.b) {
		r.bad, r.b = true, ""
		return ""
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) addr() (a netip.AddrPort) {
	if v := r.text(); v != "" && a.UnmarshalBinary([]byte(v)) != nil {
		r.bad = true
	}
	return a
}

// decode makes the subscription of a row, and what its Source kept.
func (n *Notifier) decode(row *Row) (*Subscription, []byte, error) {
	if len(row.Data) == 0 || row.Data[0] != rowVersion {
		return nil, nil, errs.New(errs.Invalid, "dialog: a subscription was saved in an unknown format")
	}
	r := reader{b: string(row.Data[1:])}
	s := &Subscription{n: n, expires: n.instant(row.Expires), state: Active}
	bits := r.number(math.MaxUint64)
	if bits&rowPending != 0 {
		s.state = Pending
	}
	s.watcher.Admin, s.d.Secure = bits&rowAdmin != 0, bits&rowSecure != 0
	// RFC 3261 §8.1.1.5: CSeq is less than 2**31.
	s.d.LocalSeq = uint32(r.number(math.MaxInt32-2*seqJump)) + seqJump
	s.d.RemoteSeq = uint32(r.number(math.MaxUint32))
	routes := int(r.number(maxRoutes))
	for _, p := range []*string{&s.d.Local, &s.d.CallID, &s.d.Remote, &s.d.LocalURI, &s.d.RemoteURI, &s.d.Target, &s.resource, &s.eventID, &s.mediaRow,
		&s.require, &s.watcher.AOR, &s.watcher.Device, &s.ours} {
		*p = r.text()
	}
	local, remote := r.addr(), r.addr()
	for range routes {
		s.d.Routes = append(s.d.Routes, r.text())
	}
	kept := r.text()
	if r.bad || r.b != "" || s.d.Local != row.Tag || s.d.Local == "" || s.d.CallID == "" || s.d.Target == "" || s.resource == "" {
		return nil, nil, errs.New(errs.Invalid, "dialog: a subscription was not saved whole")
	}
	if remote.IsValid() && n.o.UDPFlow != nil {
		s.flow, _ = n.o.UDPFlow(local, remote)
	}
	s.own()
	s.mediaRow = n.share(s.mediaRow)
	list := []*string{&s.require, &s.watcher.Device, &s.ours}
	if !strings.Contains(s.d.RemoteURI, s.watcher.AOR) {
		list = append(list, &s.watcher.AOR)
	}
	compact(list...)
	if d := 24 * time.Hour * 365; time.Until(row.Expires) > d {
		s.expires = n.instant(time.Now().Add(n.o.Max))
	}
	var blob []byte
	if kept != "" {
		blob = []byte(kept)
	}
	return s, blob, nil
}
