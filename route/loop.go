package route

import (
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/parley-im/parley/wire/sip"
)

// Loop refuses a request that has been here before and would go the same way
// again. RFC 5393 §4.2.2. A request that came back with another Request-URI or
// Route spirals, and passes.
func Loop(h *Home) Step {
	return Step{
		Name: "loop",
		Why:  "before the request costs an authentication or a fork",
		Handler: HandlerFunc(func(r *Request) {
			if looped(r.Msg, h) {
				r.Reply(482, "")
				return
			}
			r.Next()
		}),
	}
}

// looped compares the second part of each branch of ours with what this
// request would get now.
func looped(m *sip.Message, h *Home) bool {
	want := ""
	for v := range m.Values(sip.HVia) {
		// Other people's Via values are not parsed: RFC 5393 §4.2.4.
		i := strings.LastIndex(v, "."+loopMark)
		if i < 0 {
			continue
		}
		via, err := sip.ParseVia(v)
		if err != nil || !h.Listener(via.Host, via.Port) {
			continue
		}
		if want == "" {
			want = loopValue(m)
		}
		if strings.HasSuffix(via.Branch(), "."+want) {
			return true
		}
	}
	return false
}

// loopMark begins the second part of our branches.
const loopMark = "L"

// loopValue is the second part of the branch: a hash over what decides where
// the request goes, Request-URI and Route, and over what tells requests apart,
// Call-ID and CSeq number. Never the method: CANCEL must share the branch.
// RFC 5393 §4.2.1 and §4.2.4.
func loopValue(m *sip.Message) string {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := uint32(0)
	add := func(s string) {
		sum = crc32.Update(sum, table, []byte(s))
		sum = crc32.Update(sum, table, []byte{0})
	}
	add(m.RequestURI())
	for v := range m.Values(sip.HRoute) {
		add(v)
	}
	add(m.CallID())
	add(m.FromTag())
	add(m.ToTag())
	if seq, err := m.CSeq(); err == nil {
		add(strconv.FormatUint(uint64(seq.Seq), 10))
	}
	return loopMark + strconv.FormatUint(uint64(sum), 36)
}
