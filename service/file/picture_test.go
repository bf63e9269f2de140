package file

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/parley-im/parley/store"
)

func encodePNG(m image.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

var tinyPNG = encodePNG(image.NewGray(image.Rect(0, 0, 2, 1)))

// corners is a picture whose left half is red and right half blue, the lower half of both darker.
func corners(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.NRGBA{255, 0, 0, 255}
			if x >= w/2 {
				c = color.NRGBA{0, 0, 255, 255}
			}
			if y >= h/2 {
				c.R, c.B = c.R/3, c.B/3
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

// thumbnailOf uploads a picture and fetches its small one.
func (r *rig) thumbnailOf(name string, data []byte) (image.Image, int, int) {
	r.t.Helper()
	f := r.send(name, "", data)
	if f.Thumbnail.IsZero() {
		r.t.Fatalf("%s (%s) has no small picture", name, f.Type)
	}
	a := r.ask(bob, "GET", ThumbnailPath(f), nil)
	r.wantStatus(a, 200)
	m, err := jpeg.Decode(bytes.NewReader(a.body))
	if err != nil || a.Header.Get("Content-Type") != "image/jpeg" {
		r.t.Fatal(err, a.Header)
	}
	return m, f.Width, f.Height
}

// near compares colours as JPEG keeps them.
func near(a color.Color, b color.NRGBA) bool {
	r, g, bl, _ := a.RGBA()
	close := func(x uint32, y uint8) bool { d := int(x>>8) - int(y); return d > -30 && d < 30 }
	return close(r, b.R) && close(g, b.G) && close(bl, b.B)
}

func TestThumbnails(t *testing.T) {
	r := newRig(t, nil)
	var asJPEG, asGIF bytes.Buffer
	if err := jpeg.Encode(&asJPEG, corners(1000, 500), nil); err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(&asGIF, corners(700, 1400), nil); err != nil {
		t.Fatal(err)
	}
	wide := image.NewRGBA64(image.Rect(5, 7, 5005, 57)) // transparent: white
	for _, c := range []struct {
		name             string
		data             []byte
		w, h, small, low int
	}{
		{"a.png", encodePNG(corners(960, 480)), 960, 480, 480, 240},
		{"a.jpg", asJPEG.Bytes(), 1000, 500, 480, 240},
		{"a.gif", asGIF.Bytes(), 700, 1400, 240, 480},
		{"small.png", encodePNG(corners(64, 48)), 64, 48, 64, 48},
		{"wide.png", encodePNG(wide), 5000, 50, 480, 4},
		{"line.png", encodePNG(image.NewGray(image.Rect(0, 0, 1, 3000))), 1, 3000, 1, 480},
	} {
		m, w, h := r.thumbnailOf(c.name, c.data)
		if w != c.w || h != c.h || m.Bounds().Dx() != c.small || m.Bounds().Dy() != c.low {
			t.Errorf("%s: %d × %d, small %v", c.name, w, h, m.Bounds())
		}
		switch c.name {
		case "wide.png":
			if !near(m.At(100, 2), color.NRGBA{255, 255, 255, 255}) {
				t.Errorf("%s: %v", c.name, m.At(100, 2))
			}
		case "line.png":
		default:
			x, y := m.Bounds().Dx(), m.Bounds().Dy()
			if !near(m.At(x/4, y/4), color.NRGBA{255, 0, 0, 255}) || !near(m.At(3*x/4, y/4), color.NRGBA{0, 0, 255, 255}) || !near(m.At(x/4, 3*y/4), color.NRGBA{85, 0, 0, 255}) {
				t.Errorf("%s: %v %v %v", c.name, m.At(x/4, y/4), m.At(3*x/4, y/4), m.At(x/4, 3*y/4))
			}
		}
	}
	if n := testutil.ToFloat64(r.metrics.thumbnails.WithLabelValues("made")); n != 6 {
		t.Error(n)
	}
}

// withOrientation puts an EXIF block with an orientation into a JPEG.
func withOrientation(data []byte, o uint16, order binary.AppendByteOrder) []byte {
	mark := "MM"
	if order == binary.AppendByteOrder(binary.LittleEndian) {
		mark = "II"
	}
	tiff := order.AppendUint32(order.AppendUint16([]byte(mark), 42), 8)
	tiff = order.AppendUint16(tiff, 2)
	for _, e := range []struct{ tag, value uint16 }{{0x0110, 1}, {0x0112, o}} {
		tiff = order.AppendUint16(order.AppendUint16(tiff, e.tag), 3)
		tiff = order.AppendUint16(order.AppendUint16(order.AppendUint32(tiff, 1), e.value), 0)
	}
	body := append([]byte("Exif\x00\x00"), tiff...)
	seg := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(body)+2))
	return append(append(append([]byte{}, data[:2]...), append(seg, body...)...), data[2:]...)
}

// TestOrientation: a small picture is as people see the picture, whichever way the camera was held.
func TestOrientation(t *testing.T) {
	r := newRig(t, nil)
	// Where the bright red corner, at the top left of what is stored, is seen.
	for o, c := range map[uint16]struct{ right, low bool }{1: {false, false}, 2: {true, false}, 3: {true, true}, 4: {false, true},
		5: {false, false}, 6: {true, false}, 7: {true, true}, 8: {false, true}, 9: {false, false}} {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, corners(400, 200), nil); err != nil {
			t.Fatal(err)
		}
		order := binary.AppendByteOrder(binary.BigEndian)
		if o%2 == 0 {
			order = binary.LittleEndian
		}
		m, w, h := r.thumbnailOf("x.jpg", withOrientation(b.Bytes(), o, order))
		wantW, wantH := 400, 200
		if o >= 5 && o <= 8 {
			wantW, wantH = 200, 400
		}
		x, y := wantW/4, wantH/4
		if c.right {
			x = 3 * wantW / 4
		}
		if c.low {
			y = 3 * wantH / 4
		}
		if w != wantW || h != wantH || m.Bounds().Dx() != wantW || !near(m.At(x, y), color.NRGBA{255, 0, 0, 255}) {
			t.Errorf("orientation %d: %d × %d, %v at %d,%d", o, w, h, m.At(x, y), x, y)
		}
	}
}

// hugePNG says it is so large; its data is little.
func hugePNG(w, h uint32) []byte {
	data := bytes.Clone(tinyPNG)
	binary.BigEndian.PutUint32(data[16:], w)
	binary.BigEndian.PutUint32(data[20:], h)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	return data
}

// TestBombs: pictures that would take more memory than there is are files like others, without a small picture, and broken ones too.
func TestBombs(t *testing.T) {
	r := newRig(t, nil)
	var progressive bytes.Buffer
	if err := jpeg.Encode(&progressive, corners(16, 16), nil); err != nil {
		t.Fatal(err)
	}
	bomb := bytes.Clone(progressive.Bytes())
	at := bytes.Index(bomb, []byte{0xff, 0xc0})
	bomb[at+1] = 0xc2
	binary.BigEndian.PutUint16(bomb[at+5:], 6000)
	binary.BigEndian.PutUint16(bomb[at+7:], 6000) // 36 megapixels, and 576 MB of coefficients
	for _, c := range []struct {
		name   string
		data   []byte
		result string
		w, h   int
	}{
		{"huge", hugePNG(100_000, 100_000), "refused", 100_000, 100_000},
		{"just too large", hugePNG(8000, 5001), "refused", 8000, 5001},
		{"progressive", bomb, "refused", 6000, 6000},
		{"absurd", hugePNG(1<<31-1, 1<<31-1), "failed", 0, 0},
		{"no data", hugePNG(4000, 4000), "failed", 4000, 4000},
		{"cut off", encodePNG(corners(100, 100))[:60], "failed", 100, 100},
		{"head only", []byte("\x89PNG\r\n\x1a\n"), "failed", 0, 0},
		{"gif", []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), "refused", 65535, 65535},
	} {
		before := testutil.ToFloat64(r.metrics.thumbnails.WithLabelValues(c.result))
		f := r.send(c.name, "", c.data)
		if !f.Thumbnail.IsZero() || f.Width != c.w || f.Height != c.h || testutil.ToFloat64(r.metrics.thumbnails.WithLabelValues(c.result)) != before+1 {
			t.Errorf("%s: %d × %d, thumbnail %q", c.name, f.Width, f.Height, f.Thumbnail)
		}
		if a := r.ask(bob, "GET", Path(f.ID, f.Name), nil); !bytes.Equal(a.body, c.data) {
			t.Errorf("%s: %s", c.name, a.Status)
		}
	}
}

func FuzzJPEGHead(f *testing.F) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, corners(8, 8), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(withOrientation(b.Bytes(), 6, binary.BigEndian))
	f.Add(withOrientation(b.Bytes(), 8, binary.LittleEndian))
	f.Fuzz(func(t *testing.T, data []byte) {
		if h := readJPEGHead(bytes.NewReader(data)); h.orientation < 0 || h.orientation > 8 {
			t.Fatal(h)
		}
		kindOf(data, "text/plain", "x")
	})
}

// TestPicturesInTurn: somebody who sends many pictures at once does not keep those of others waiting for all of them.
func TestPicturesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parts := &noParts{}
		s := &Service{pictures: make(chan struct{}, 1), metrics: newMetrics(nil), o: Options{Blobs: parts, Logger: slog.New(slog.DiscardHandler)}}
		s.pictures <- struct{}{} // one is being read
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		read := func(owner string) {
			all.Go(func() { s.picture(ctx, &store.File{ID: owner, Owner: owner, Type: "image/png"}) })
			synctest.Wait()
		}
		for range 5 {
			read(alice)
		}
		read(bob)
		<-s.pictures
		all.Wait()
		if want := []string{alice, bob, alice, alice, alice, alice}; !slices.Equal(parts.asked, want) {
			t.Errorf("in the order %v", parts.asked)
		}
		s.pictures <- struct{}{}
		read(alice)
		read(alice)
		cancel()
		all.Wait()
		if len(parts.asked) != 6 || len(s.queues.m) != 0 {
			t.Errorf("%v are read, %d people wait", parts.asked, len(s.queues.m))
		}
	})
}

// noParts has nothing, and notes what it was asked for, by one at a time.
type noParts struct {
	store.Blobs
	asked []string
}

func (p *noParts) Part(_ context.Context, part string) (store.Blob, error) {
	p.asked = append(p.asked, part)
	return nil, store.ErrNotFound
}
