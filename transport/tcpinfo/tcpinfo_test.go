package tcpinfo

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	since := time.Now()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if _, err := near.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	// What comes back acknowledges it.
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(near, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	line, ok := Read(near.(*net.TCPConn))
	if ok != (runtime.GOOS == "linux") {
		t.Fatalf("got %+v, %v", line, ok)
	}
	// A thousand bytes do not fill a connection.
	if ok && (line.RTT <= 0 || line.RTT > time.Since(since) || line.Rate == 0 || !line.AtLeast) {
		t.Errorf("got %+v on a connection %v old", line, time.Since(since))
	}
	_ = near.Close()
	if line, ok := Read(near.(*net.TCPConn)); ok {
		t.Errorf("got %+v after the end", line)
	}
}

func BenchmarkRead(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		Read(c.(*net.TCPConn))
	}
}
