package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRealClients is the matrix itself. It takes a minute and many programs, so it runs only when it is asked for.
func TestRealClients(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("PARLEY_CLIENTS") == "" {
		reason := "real clients were not run: that takes a minute and was not asked for (make clients, or PARLEY_CLIENTS=1)"
		if lines := missing(root); len(lines) > 0 {
			reason += "; it would fail here, for want of " + strings.Join(lines, "; ")
		}
		t.Skip(reason)
	}
	if lines := missing(root); len(lines) > 0 {
		t.Fatalf("programs are missing:\n%s", strings.Join(lines, "\n"))
	}
	if err := runClients(t.Context(), root, options{}); err != nil {
		t.Fatal(err)
	}
}

func TestToneIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tone.wav")
	for _, want := range []int{baresipTone, linphoneTone, 1000} {
		if err := writeTone(path, float64(want), 2); err != nil {
			t.Fatal(err)
		}
		s, err := readSound(path)
		if err != nil {
			t.Fatal(err)
		}
		frequency, share, err := s.tone()
		if err != nil || frequency != want || share < 0.99 {
			t.Errorf("a tone of %d Hz was heard as %d Hz with a share of %.2f, error %v", want, frequency, share, err)
		}
	}
}

// The checks of a call must be able to fail: another tone, silence, noise, and a call that was too short.
func TestToneIsNotFound(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "other.wav")
	if err := writeTone(path, baresipTone, 2); err != nil {
		t.Fatal(err)
	}
	if text, err := heardTone("somebody", path, linphoneTone); err == nil {
		t.Errorf("the wrong tone passes: %s", text)
	}
	if err := writeTone(path, baresipTone, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := readSound(path); err == nil {
		t.Error("an empty recording passes")
	}
	quiet := sound{rate: sampleRate, samples: make([]float64, 2*sampleRate)}
	if _, _, err := quiet.tone(); !errors.Is(err, errSilence) {
		t.Errorf("silence gives %v", err)
	}
	noise := sound{rate: sampleRate}
	for i, x := 0, uint32(1); i < 2*sampleRate; i++ {
		x = x*1664525 + 1013904223
		noise.samples = append(noise.samples, float64(x)/(1<<31)-1)
	}
	if frequency, share, err := noise.tone(); err == nil && share > 0.5 {
		t.Errorf("noise passes as %d Hz with a share of %.2f", frequency, share)
	}
	if _, _, err := (sound{rate: sampleRate, samples: make([]float64, 100)}).tone(); err == nil {
		t.Error("a recording of 12 ms passes")
	}
}

// A program that was ended leaves zeros where the sizes belong.
func TestUnfinishedRecording(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tone.wav")
	if err := writeTone(path, 600, 2); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[4:], "\x00\x00\x00\x00")
	copy(b[40:], "\x00\x00\x00\x00")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := heardTone("somebody", path, 600); err != nil {
		t.Errorf("%s: %v", text, err)
	}
}

func TestNetstrings(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("5:hello,0:,3:a,b,7:short"))
	for _, want := range []string{"hello", "", "a,b"} {
		if got, err := readNetstring(r); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := readNetstring(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a netstring that is cut off gives %v", err)
	}
	for _, bad := range []string{"x:hello,", "-1:,", "5:hello;", "99999999:a,"} {
		if got, err := readNetstring(bufio.NewReader(strings.NewReader(bad))); err == nil {
			t.Errorf("%q gives %q", bad, got)
		}
	}
}

func TestJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		isMessage := func(e event) bool { return e.Event == "message" }
		go func() {
			for _, part := range []string{"chatter {\n{\"event\":\"reg", "istration\",\"state\":\"Ok\"}\n", "{\"event\":\"message\",\"text\":\"a\\u000ab\"}\n"} {
				_, _ = j.Write([]byte(part))
				synctest.Wait()
			}
		}()
		e, err := j.await(t.Context(), time.Second, 0, "message", isMessage)
		if err != nil || e.Text != "a\nb" {
			t.Fatalf("got %+v, %v", e, err)
		}
		if _, err := j.await(t.Context(), time.Second, j.mark(), "second message", isMessage); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a message that never comes gives %v", err)
		}
		j.end()
		if _, err := j.await(t.Context(), time.Hour, j.mark(), "message", isMessage); !errors.Is(err, errEnded) {
			t.Errorf("a program that has ended gives %v", err)
		}
	})
}

func TestSameText(t *testing.T) {
	for _, shown := range []string{"a\nb", "a\r\nb", "a\r\nb\r\n"} {
		if !same("a\nb", shown) {
			t.Errorf("%q is the text, with other line ends", shown)
		}
	}
	for _, shown := range []string{"", "a b", "a\nb ", "a\nbc", "a<br>b"} {
		if same("a\nb", shown) {
			t.Errorf("%q is not the text", shown)
		}
	}
}

func TestIsFrom(t *testing.T) {
	for _, shown := range []string{"sip:bob@rtc.test", "sips:bob@rtc.test", "bob@rtc.test", "sip:bob@rtc.test;gr=urn:uuid:1"} {
		if !isFrom(shown, "bob") {
			t.Errorf("%s is bob", shown)
		}
	}
	for _, shown := range []string{"sip:bobby@rtc.test", "sip:bob@rtc.test.example", "bob", ""} {
		if isFrom(shown, "bob") {
			t.Errorf("%s is not bob", shown)
		}
	}
}

func TestTarget(t *testing.T) {
	got, err := parseTarget("udp=a:1,tcp=a:2,tls=a:3,ws=ws://a:4/,wss=wss://a:5/,password=p=q")
	if err != nil || got.sipAddress("tcp") != "a:2" || got.sipAddress("tls") != "a:3" || got.password != "p=q" {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "udp=a:1", "udp=a:1,tcp=a:2,tls=a:3,ws=x,wss=y,password=p,more=1"} {
		if _, err := parseTarget(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestReportFails(t *testing.T) {
	r := &report{}
	r.check("a", "good", func() (string, error) { return "fine", nil })
	r.check("a", "bad", func() (string, error) { return "", errEnded })
	var table strings.Builder
	if failed := r.print(&table); failed != 1 || !strings.Contains(table.String(), "2 rows, 1 failed") {
		t.Errorf("%d failed:\n%s", failed, table.String())
	}
}

// A program that does not want to leave is ended, with what it started.
func TestStopEndsTheGroup(t *testing.T) {
	l := &lab{dir: t.TempDir()}
	out := &console{}
	p, err := l.start("stubborn", exec.Command("sh", "-c", "trap '' TERM; echo here; sleep 600 & wait; wait; wait"), out, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.await(t.Context(), time.Minute, "start", func(s string) bool { return strings.Contains(s, "here") }); err != nil {
		t.Fatal(err)
	}
	if _, err := p.stop(50*time.Millisecond, nil); err == nil {
		t.Error("it left by itself")
	}
	if p.running() {
		t.Error("it still runs")
	}
	l.close()
}
