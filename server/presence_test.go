package server

import (
	"testing"
	"time"

	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/service/registrar"
	"github.com/parley-im/parley/wire/pidf"
)

// A refresh of a registration does not make another document of a line that is much the same.
func TestDeviceCache(t *testing.T) {
	var c deviceCache
	c.init()
	const ms = time.Millisecond
	step := func(rtt time.Duration, throughput pidf.Throughput, want time.Duration) {
		t.Helper()
		b := &registrar.Binding{AOR: "alice@example.com", Device: "d"}
		list := c.swap(b.AOR, []*registrar.Binding{b}, func(*registrar.Binding) compose.Device {
			return compose.Device{ID: "d", Line: pidf.Line{RTT: rtt, Throughput: throughput}}
		})
		if len(list) != 1 || list[0].device.Line.RTT != want {
			t.Errorf("%v is told as %v, want %v", rtt, list[0].device.Line.RTT, want)
		}
		again := c.swap(b.AOR, []*registrar.Binding{b}, func(*registrar.Binding) compose.Device {
			t.Error("a binding is described twice")
			return compose.Device{}
		})
		if len(again) != 1 || again[0].device.Line.RTT != want {
			t.Errorf("%v", again)
		}
	}
	step(20*ms, pidf.Fast, 20*ms)
	step(50*ms, pidf.Fast, 20*ms)
	step(10*ms, pidf.Fast, 20*ms)
	step(100*ms, pidf.Fast, 100*ms)
	step(50*ms, pidf.Medium, 50*ms)
	step(0, pidf.Medium, 0)
	step(400*ms, pidf.Medium, 400*ms)
	step(1000*ms, pidf.Medium, 1000*ms) // slow now
	if list := c.swap("alice@example.com", nil, nil); list != nil || len(c.m) != 0 {
		t.Errorf("%v is kept of somebody who has gone", c.m)
	}
}
