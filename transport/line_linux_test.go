package transport

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// host is a network of its own, whose only way out is a packet device. What do runs sees that network.
type host struct {
	work chan func()
	tun  *os.File
}

// newHost makes one; the test is skipped where that is not permitted.
func newHost(t *testing.T, addr string) *host {
	// Package net finds out once what this machine can do: it must not do so in there, where there is not even a loopback.
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	h := &host{work: make(chan func())}
	made := make(chan struct{})
	go func() {
		// The thread is in the new network for good: it ends with this goroutine.
		runtime.LockOSThread()
		h.tun, err = isolate(netip.MustParseAddr(addr))
		close(made)
		for f := range h.work {
			f()
		}
	}()
	<-made
	t.Cleanup(func() { close(h.work) })
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV):
		t.Skipf("only root, with /dev/net/tun, can make a network to test on: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	return h
}

func (h *host) do(f func()) {
	done := make(chan struct{})
	h.work <- func() { defer close(done); f() }
	<-done
}

// isolate moves this thread to a new network with one device.
func isolate(addr netip.Addr) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	defer func() { _ = unix.Close(sock) }()
	for _, step := range []struct {
		fd  int
		req uint
		set func(r *unix.Ifreq) error
	}{
		{fd, unix.TUNSETIFF, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI); return nil }},
		{sock, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(addr.AsSlice()) }},
		{sock, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{sock, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		r, err := unix.NewIfreq("line0")
		if err == nil {
			err = step.set(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(step.fd, step.req, r)
		}
		if err != nil {
			_ = unix.Close(fd)
			return nil, err
		}
	}
	return os.NewFile(uintptr(fd), "line0"), nil
}

// connect lays a line between two hosts: every packet is delay under way, and no more than rate bytes per second (0: any
// number) pass in one direction. A slow machine makes it slower, never faster.
func connect(t *testing.T, a, b *host, delay time.Duration, rate int) {
	t.Cleanup(func() {
		_ = a.tun.Close()
		_ = b.tun.Close()
	})
	go carry(a.tun, b.tun, delay, rate)
	go carry(b.tun, a.tun, delay, rate)
}

type packet struct {
	b  []byte
	at time.Time
}

func carry(from, to *os.File, delay time.Duration, rate int) {
	way := make(chan packet, 1024)
	go func() {
		defer close(way)
		for {
			b := make([]byte, 2048)
			n, err := from.Read(b)
			if err != nil {
				return
			}
			way <- packet{b[:n], time.Now().Add(delay)}
		}
	}()
	var free time.Time // when the last packet was through
	for p := range way {
		var takes time.Duration
		if rate > 0 {
			takes = time.Duration(len(p.b)) * time.Second / time.Duration(rate)
		}
		at := free.Add(takes)
		if at.Before(p.at) {
			at = p.at
		}
		<-time.After(time.Until(at))
		free = time.Now()
		_, _ = to.Write(p.b) // into a network that is gone, or after the end
	}
}

// farAway serves a layer on one host, has a client on the other say something, and returns both ends.
func farAway(t *testing.T, delay time.Duration, rate int) (f Flow, c *peerConn, e *ear, since time.Time) {
	here, there := newHost(t, "10.77.0.1"), newHost(t, "10.77.0.2")
	connect(t, here, there, delay, rate)
	var l *Layer
	var nc net.Conn
	var err error
	here.do(func() { l, err = Listen(Options{TCP: []string{"10.77.0.1:5060"}}) })
	if err != nil {
		t.Fatal(err)
	}
	e = newEar()
	t.Cleanup(run(t, l, e))
	since = time.Now()
	there.do(func() { nc, err = net.DialTimeout("tcp", "10.77.0.1:5060", time.Minute) })
	if err != nil {
		t.Fatal(err)
	}
	c = over(t, nc)
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	c.say(request("far", 10))
	return arrived(t, e), c, e, since
}

// arrived waits longer than others do: the line is slow.
func arrived(t *testing.T, e *ear) Flow {
	t.Helper()
	select {
	case g := <-e.messages:
		return g.f
	case <-time.After(time.Minute):
		t.Fatal("no message came over the line")
		panic("unreachable")
	}
}

func TestLineFarAway(t *testing.T) {
	const delay = 120 * time.Millisecond
	f, c, e, since := farAway(t, delay, 0)
	if err := f.Send(request("back", 1000)); err != nil {
		t.Fatal(err)
	}
	c.hear()
	// What comes back acknowledges it.
	c.say(request("again", 10))
	arrived(t, e)
	line, ok := f.Line()
	t.Logf("%+v", line)
	if !ok || line.RTT < 2*delay || line.RTT > time.Since(since) {
		t.Errorf("round trip %v, %v, over a line of %v", line.RTT, ok, 2*delay)
	}
	// A thousand bytes in a quarter of a second are few, but there was no more to send.
	if line.Rate == 0 || !line.AtLeast {
		t.Errorf("a line that was never filled is taken for one of %d bytes/s", line.Rate)
	}
}

func TestLineSlow(t *testing.T) {
	const rate = 16_000 // bytes/s: 128 kbit/s
	f, c, _, _ := farAway(t, 5*time.Millisecond, rate)
	for i := range 6 {
		if err := f.Send(request(id(i), 8000)); err != nil {
			t.Fatal(err)
		}
	}
	for range 6 {
		c.hear()
	}
	line, ok := f.Line()
	t.Logf("%+v", line)
	// The line's rate is that of packets, headers included, and its measure is a little blurred.
	if !ok || line.AtLeast || line.Rate == 0 || line.Rate > 2*rate {
		t.Errorf("got %+v, %v over a line of %d bytes/s", line, ok, rate)
	}
}
