package presence

import (
	"bytes"
	"compress/zlib"
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/sip"
)

func deflated(s string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

// RFC 3903 §6, step by step.
func TestPublish(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.signIn(alice, "plain")
		a, b := r.phone(alice), r.phone(bob)
		w := b.subscribe(alice, "", "")
		w.sees(pidf.Available, 1)

		first := a.publish(document("busy"), "Expires: 600")
		tag := first.Get(sip.HSIPETag)
		if first.Status() != 200 || tag == "" || first.Get(sip.HExpires) != "600" {
			t.Fatalf("initial: %s", first.Bytes())
		}
		w.sees(pidf.Busy, 1)

		refreshed := a.publish("", "SIP-If-Match: "+tag, "Expires: 600")
		if next := refreshed.Get(sip.HSIPETag); refreshed.Status() != 200 || next == "" || next == tag {
			t.Fatalf("refresh: %s", refreshed.Bytes())
		}
		w.sees(pidf.Busy, 0)
		if m := a.publish("", "SIP-If-Match: "+tag); m.Status() != 412 {
			t.Errorf("stale: %s", m.Bytes())
		}
		tag = refreshed.Get(sip.HSIPETag)
		if m := b.publish(document("busy"), "SIP-If-Match: "+tag); m.Status() != 412 {
			t.Errorf("foreign: %s", m.Bytes())
		}
		modified := a.publish(document("meeting"), "SIP-If-Match: "+tag)
		if modified.Status() != 200 || modified.Get(sip.HExpires) != "3600" {
			t.Fatalf("modify: %s", modified.Bytes())
		}
		w.sees(pidf.InMeeting, 1)
		tag = modified.Get(sip.HSIPETag)
		removed := a.publish("", "SIP-If-Match: "+tag, "Expires: 0")
		if removed.Status() != 200 || removed.Get(sip.HExpires) != "0" || removed.Get(sip.HSIPETag) == "" {
			t.Fatalf("remove: %s", removed.Bytes())
		}
		w.sees(pidf.Available, 1)
		if m := a.publish("", "SIP-If-Match: "+removed.Get(sip.HSIPETag)); m.Status() != 412 {
			t.Errorf("refresh of what was removed: %s", m.Bytes())
		}

		a.publish(document("busy"), "Expires: 60")
		w.sees(pidf.Busy, 1)
		wait(61 * time.Second)
		w.sees(pidf.Available, 1)
		if n, bytes := r.publish.count.Load(), r.publish.bytes.Load(); n != 0 || bytes != 0 {
			t.Errorf("%d publications of %d bytes are held", n, bytes)
		}
	})
}

func TestPublishRefused(t *testing.T) {
	long := strings.Repeat("x", 33<<10)
	deep := strings.Repeat("<a>", 200) + strings.Repeat("</a>", 200)
	for _, c := range []struct {
		what    string
		uri     string
		body    string
		headers []string
		status  int
		header  string // that the answer has
	}{
		{"for somebody else", bob, document("busy"), nil, 403, "Warning"},
		{"for the domain", "example.com", document("busy"), nil, 403, "Warning"},
		{"no Event", alice, document("busy"), []string{"X-Event:"}, 489, "Allow-Events"},
		{"another Event", alice, document("busy"), []string{"Event: dialog"}, 489, "Allow-Events"},
		{"unknown tag", alice, document("busy"), []string{"SIP-If-Match: x.1"}, 412, ""},
		{"tag without a number", alice, document("busy"), []string{"SIP-If-Match: x"}, 412, ""},
		{"two tags", alice, document("busy"), []string{"SIP-If-Match: x, y"}, 400, "Warning"},
		{"empty tag", alice, document("busy"), []string{"SIP-If-Match: "}, 400, ""},
		{"too short", alice, document("busy"), []string{"Expires: 59"}, 423, "Min-Expires"},
		{"Expires past 32 bit", alice, document("busy"), []string{"Expires: 99999999999999999999"}, 400, ""},
		{"Expires no number", alice, document("busy"), []string{"Expires: soon"}, 400, ""},
		{"no body", alice, "", nil, 400, "Warning"},
		{"text", alice, "busy", []string{"Content-Type: text/plain"}, 415, "Accept"},
		{"partial document", alice, "<x/>", []string{"Content-Type: application/pidf-diff+xml"}, 415, "Accept"},
		{"no XML", alice, "busy", nil, 400, "Warning"},
		{"another XML", alice, "<a/>", nil, 400, "Warning"},
		{"cut off", alice, document("busy")[:200], nil, 400, "Warning"},
		{"DTD", alice, `<!DOCTYPE a [<!ENTITY b "c">]>` + document("busy"), nil, 400, "Warning"},
		{"deep", alice, strings.Replace(document("busy"), "<tuple", deep+"<tuple", 1), nil, 400, "Warning"},
		{"large", alice, strings.Replace(document("busy"), "<tuple", "<note>"+long+"</note><tuple", 1), nil, 413, "Warning"},
		{"large when unpacked", alice, deflated(strings.Repeat(" ", 10<<20)), []string{"Content-Encoding: deflate"}, 413, "Warning"},
		{"not packed", alice, document("busy"), []string{"Content-Encoding: gzip"}, 400, "Warning"},
		{"packed in an unknown way", alice, document("busy"), []string{"Content-Encoding: br"}, 415, "Accept-Encoding"},
		{"unknown extension", alice, document("busy"), []string{"Require: x"}, 420, "Unsupported"},
		{"good", alice, document("busy"), nil, 200, "SIP-ETag"},
		{"packed", alice, deflated(document("busy")), []string{"Content-Encoding: deflate"}, 200, "SIP-ETag"},
		{"with a Content-Type in capitals", alice, document("busy"), []string{"Content-Type: Application/PIDF+XML;charset=UTF-8"}, 200, "SIP-ETag"},
		{"too long is shortened", alice, document("busy"), []string{"Expires: 4000000000"}, 200, "SIP-ETag"},
	} {
		t.Run(c.what, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				headers := c.headers
				all := strings.Join(headers, "\n")
				if !strings.Contains(all, "Event:") {
					headers = append(headers, "Event: presence")
				}
				if !strings.Contains(all, "Content-Type:") && c.body != "" {
					headers = append(headers, "Content-Type: application/pidf+xml")
				}
				m := r.phone(alice).send("PUBLISH", c.uri, c.body, headers...)
				if m.Status() != c.status || c.header != "" && m.GetName(c.header) == "" {
					t.Fatalf("%s", m.Bytes())
				}
				want := int64(0)
				if c.status == 200 {
					want = 1
				}
				if n := r.publish.count.Load(); n != want {
					t.Errorf("%d publications are held", n)
				}
				if c.what == "too long is shortened" && m.Get(sip.HExpires) != "86400" {
					t.Errorf("%s", m.Bytes())
				}
			})
		})
	}
}

// One account may hold so many publications and no more, all together so many bytes.
func TestPublishLimits(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		a := r.phone(alice)
		var last *sip.Message
		for i := range 4 {
			m := a.publish(document("busy"))
			if want := map[bool]int{true: 200, false: 403}[i < 3]; m.Status() != want {
				t.Fatalf("%d: %s", i, m.Bytes())
			}
			if i < 3 {
				last = m
			}
		}
		if m := a.publish("", "SIP-If-Match: "+last.Get(sip.HSIPETag), "Expires: 0"); m.Status() != 200 {
			t.Fatal(m)
		}
		if m := a.publish(document("busy")); m.Status() != 200 {
			t.Errorf("after one was removed: %s", m.Bytes())
		}
		if m := r.phone(bob).publish(strings.Replace(document("busy"), "<tuple", "<note>"+strings.Repeat("x", 2000)+"</note><tuple", 1)); m.Status() != 500 || m.Get(sip.HRetryAfter) == "" {
			t.Errorf("beyond all: %s", m.Bytes())
		}
	}, func(r *rig) { r.opts.Limits.Publications, r.opts.Limits.PublishedBytes = 3, 3000 })
}

// What was published is there after a restart, also under a tag that was not saved any more.
func TestPublicationsSurvive(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.signIn(alice, "plain")
		a, b := r.phone(alice), r.phone(bob)
		first := a.publish(document("busy"))
		w := b.subscribe(alice, "", "")
		w.sees(pidf.Busy, 1)
		r.restart()
		w.sees(pidf.Busy, -1)
		second := a.publish("", "SIP-If-Match: "+first.Get(sip.HSIPETag))
		if second.Status() != 200 {
			t.Fatalf("refresh: %s", second.Bytes())
		}
		third := a.publish("", "SIP-If-Match: "+second.Get(sip.HSIPETag))
		r.restart()
		// As if the last write had been lost: a tag two PUBLISHes newer than the saved one.
		id, number, _ := strings.Cut(third.Get(sip.HSIPETag), ".")
		n, err := strconv.ParseUint(number, 36, 64)
		if err != nil {
			t.Fatal(err)
		}
		if m := a.publish(document("away"), "SIP-If-Match: "+id+"."+strconv.FormatUint(n+2, 36)); m.Status() != 200 {
			t.Errorf("a newer tag: %s", m.Bytes())
		}
		if m := a.publish("", "SIP-If-Match: "+third.Get(sip.HSIPETag)); m.Status() != 412 {
			t.Errorf("the older one: %s", m.Bytes())
		}
		if r.publish.count.Load() != 1 {
			t.Errorf("%d publications", r.publish.count.Load())
		}
		// A client that begins anew takes the place of what it published before the restart.
		r.restart()
		if m := a.publish(document("busy")); m.Status() != 200 || r.publish.count.Load() != 1 {
			t.Errorf("%d publications", r.publish.count.Load())
		}
		r.stop()
		rows := 0
		if err := r.store.Presence().Publications(context.Background(), func(*store.Publication) error { rows++; return nil }); err != nil || rows != 1 {
			t.Errorf("%d rows, %v", rows, err)
		}
		r.start()
	})
}

// A state by hand ends at its time, and is there after a restart.
func TestManual(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.signIn(alice, "plain")
		w := r.phone(bob).subscribe(alice, "", "")
		w.sees(pidf.Available, 1)
		self := Actor{Name: alice, Via: "api"}
		ctx := t.Context()
		if err := r.Set(ctx, self, alice, compose.Manual{State: pidf.DND, Note: "back at two", Until: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		settle()
		w.sees(pidf.DND, 1)
		if !r.Quiet(alice, bob) || r.Quiet(alice, alice) || r.Quiet(bob, alice) {
			t.Error("do not disturb does not hold")
		}
		r.restart()
		w.sees(pidf.DND, -1)
		if own, err := r.Own(ctx, self, alice); err != nil || own.Manual.Note != "back at two" || own.State.Availability != pidf.DND {
			t.Errorf("%+v, %v", own, err)
		}
		wait(time.Hour)
		w.sees(pidf.Available, 1)
		if r.Quiet(alice, bob) {
			t.Error("do not disturb has ended")
		}
		if err := r.Set(ctx, self, alice, compose.Manual{State: pidf.Offline}); err != nil {
			t.Fatal(err)
		}
		settle()
		w.sees(pidf.Offline, 1)
		if err := r.Set(ctx, self, alice, compose.Manual{}); err != nil {
			t.Fatal(err)
		}
		settle()
		w.sees(pidf.Available, 1)
	})
}

// A door, which never signs in, is heard after a restart as before.
func TestDoorAfterRestart(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.signIn(alice, "a")
		r.phone(alice).publish(document("busy"))
		w := r.phone(bob).subscribe(alice, "", "")
		w.sees(pidf.Busy, 1)
		wait(3 * time.Second)
		r.restart()
		w.sees(pidf.Busy, -1)
	})
}
