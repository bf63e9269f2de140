package device

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/sip"
)

func TestLineOf(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		rtt     time.Duration
		rate    uint64
		atLeast bool
		want    pidf.Line
		slow    bool
	}{
		{0, 0, false, pidf.Line{}, false},
		{40 * time.Microsecond, 0, false, pidf.Line{RTT: ms}, false},
		{85 * ms, 0, true, pidf.Line{RTT: 100 * ms}, false},
		{100 * ms, 0, false, pidf.Line{RTT: 100 * ms}, false},
		{500 * ms, 0, false, pidf.Line{RTT: 500 * ms}, false},
		{500*ms + 1, 0, false, pidf.Line{RTT: 1000 * ms}, true},
		{650 * ms, 1 << 20, false, pidf.Line{RTT: 1000 * ms, Throughput: pidf.Fast}, true},
		{41 * time.Second, 0, false, pidf.Line{RTT: 50 * time.Second}, true},
		{51 * time.Second, 0, false, pidf.Line{RTT: time.Minute}, true},
		{math.MaxInt64, 0, false, pidf.Line{RTT: time.Minute}, true},
		{-1, 0, false, pidf.Line{}, false},

		// 256 kbit/s are 32,000 bytes/s.
		{0, 31_999, false, pidf.Line{Throughput: pidf.Slow}, true},
		{0, 32_000, false, pidf.Line{Throughput: pidf.Medium}, false},
		{0, 249_999, false, pidf.Line{Throughput: pidf.Medium}, false},
		{0, 250_000, false, pidf.Line{Throughput: pidf.Fast}, false},
		{0, math.MaxUint64, false, pidf.Line{Throughput: pidf.Fast}, false},
		// A line that was not filled is never called slow.
		{0, 1, true, pidf.Line{}, false},
		{0, 31_999, true, pidf.Line{}, false},
		{0, 32_000, true, pidf.Line{Throughput: pidf.Medium}, false},
		{0, 250_000, true, pidf.Line{Throughput: pidf.Fast}, false},
	} {
		got := lineOf(c.rtt, c.rate, c.atLeast)
		if got != c.want || Slow(got) != c.slow {
			t.Errorf("%v, %d bytes/s, at least %v: %+v, slow %v; want %+v", c.rtt, c.rate, c.atLeast, got, Slow(got), c.want)
		}
	}
}

func TestMaxMessage(t *testing.T) {
	const limit = 65_536
	fast, bad, far := pidf.Line{Throughput: pidf.Fast}, pidf.Line{Throughput: pidf.Slow}, pidf.Line{RTT: time.Second}
	for _, c := range []struct {
		class     pidf.DeviceClass
		line      pidf.Line
		transport string
		limit     uint32
		want      uint32
	}{
		{pidf.DeskPhone, fast, "tls", limit, 1000},
		{pidf.DeskPhone, fast, "udp", limit, 500},
		{pidf.DeskPhone, bad, "udp", limit, 500},
		{pidf.DeskPhone, fast, "udp", 400, 400},
		{pidf.Phone, fast, "tls", limit, 8000},
		{pidf.Phone, fast, "udp", limit, 4000},
		{pidf.Phone, bad, "tls", limit, 8000},
		{pidf.Tablet, fast, "tls", limit, limit},
		{pidf.Tablet, bad, "tls", limit, 16_000},
		{pidf.Desktop, fast, "tcp", limit, limit},
		{pidf.Desktop, pidf.Line{}, "tcp", limit, limit},
		{pidf.Desktop, far, "tcp", limit, 16_000},
		{pidf.Desktop, fast, "udp", limit, 4000},
		{pidf.Browser, fast, "wss", limit, limit},
		{pidf.Browser, fast, "wss", 0, 0},
		{"", pidf.Line{}, "tcp", limit, limit},
		{"", pidf.Line{}, "tcp", 0, 0},
		{"", pidf.Line{}, "udp", limit, 4000},
		{"", far, "tls", 0, 16_000},
	} {
		if got := maxMessage(c.class, c.line, c.transport, c.limit); got != c.want {
			t.Errorf("%q %+v over %s, limit %d: %d, want %d", c.class, c.line, c.transport, c.limit, got, c.want)
		}
	}
}

func TestOf(t *testing.T) {
	since := time.Unix(1_700_000_000, 0)
	r := Registration{
		ID: "urn:uuid:1", Contact: "sip:alice@example.com;gr=urn:uuid:1", UserAgent: "LinphoneiOS/4.6.5 (iPad) LinphoneSDK/5.2.45",
		Params:    sip.Params(`;+sip.instance="<urn:uuid:1>";+sip.mobility="mobile";audio;video;+sip.message`),
		Transport: "tls", Q: 700, Since: since, RTT: 45 * time.Millisecond, Rate: 20_000, Limit: 65_536,
	}
	want := compose.Device{
		ID: "urn:uuid:1", Contact: "sip:alice@example.com;gr=urn:uuid:1", Class: pidf.Tablet,
		Line: pidf.Line{RTT: 50 * time.Millisecond, Throughput: pidf.Slow}, MaxMessage: 16_000,
		Service: &pidf.ServiceCaps{Audio: pidf.Yes, Video: pidf.Yes, Message: pidf.Yes},
		Caps:    &pidf.DeviceCaps{Mobility: pidf.Support{Yes: []string{"mobile"}}},
		Q:       700, Since: since,
	}
	if d := cmp.Diff(want, Of(&r)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	r.AtLeast = true
	if d := Of(&r); d.Line.Throughput != "" || d.MaxMessage != 65_536 {
		t.Errorf("a line that was not filled: %+v, %d", d.Line, d.MaxMessage)
	}
	// The connection of a plain WebSocket is that of the proxy which does TLS.
	r = Registration{ID: "plain", Transport: "ws", RTT: time.Second, Rate: 1, Limit: 65_536}
	if d := Of(&r); d.Class != pidf.Browser || d.Line != (pidf.Line{}) || d.MaxMessage != 65_536 || d.Service != nil || d.Caps != nil {
		t.Errorf("behind a proxy: %+v", d)
	}
}
