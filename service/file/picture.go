package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"sync"

	"github.com/parley-im/parley/store"
)

// Bounds of pictures that are read.
const (
	maxPictureBytes = 50 << 20
	maxPixels       = 40_000_000
	maxDecoded      = 256 << 20 // bytes in memory
	thumbnailSide   = 480       // pixels of the longer side of a small picture
	thumbnailLevel  = 80        // quality of JPEG
)

// errHuge is said of a picture that is not read.
var errHuge = errors.New("file: the picture is too large to be read")

// isPicture tells whether a small picture can be made of a type.
func isPicture(kind string) bool {
	return kind == "image/jpeg" || kind == "image/png" || kind == "image/gif"
}

// queues lets each person do one thing at a time.
type queues struct {
	mu sync.Mutex
	m  map[string]*queue // of those who do something
}

type queue struct {
	mine chan struct{} // holds something while its person does something
	want int           // that is done or waits
}

// enter waits until a person's other things are done; false when ctx ended before. leave must be called then.
func (q *queues) enter(ctx context.Context, who string) (leave func(), ok bool) {
	q.mu.Lock()
	if q.m == nil {
		q.m = map[string]*queue{}
	}
	x := q.m[who]
	if x == nil {
		x = &queue{mine: make(chan struct{}, 1)}
		q.m[who] = x
	}
	x.want++
	q.mu.Unlock()
	drop := func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if x.want--; x.want == 0 {
			delete(q.m, who)
		}
	}
	select {
	case x.mine <- struct{}{}:
		return func() { <-x.mine; drop() }, true
	case <-ctx.Done():
		drop()
		return nil, false
	}
}

// small is the part of the small picture of a file.
func small(id string) string { return id + "-small" }

// picture finds the size of a picture and makes a small one. That there is none is no error: the file is what people want.
func (s *Service) picture(ctx context.Context, f *store.File) {
	// Of one person's pictures one waits, so that somebody else's comes after that one and not after all of them.
	leave, ok := s.queues.enter(ctx, f.Owner)
	if !ok {
		return
	}
	defer leave()
	select {
	case s.pictures <- struct{}{}: // one at a time: each may take maxDecoded
	case <-ctx.Done():
		return
	}
	defer func() { <-s.pictures }()
	result := "made"
	err := s.shrink(ctx, f)
	switch {
	case errors.Is(err, errHuge):
		result = "refused"
	case err != nil:
		result = "failed"
		s.o.Logger.Debug("file: no small picture", "file", f.ID, "err", err)
	}
	s.metrics.thumbnails.WithLabelValues(result).Inc()
}

func (s *Service) shrink(ctx context.Context, f *store.File) error {
	p, err := s.o.Blobs.Part(ctx, f.ID)
	if err != nil {
		return err
	}
	defer p.Close()
	data, width, height, err := shrink(p, f.Type)
	f.Width, f.Height = width, height
	if err != nil {
		return err
	}
	if err := s.o.Blobs.Discard(ctx, small(f.ID)); err != nil { // of a try that was cut off
		return err
	}
	if _, err := s.o.Blobs.Append(ctx, small(f.ID), 0, bytes.NewReader(data)); err != nil {
		return err
	}
	f.Thumbnail, _, err = s.o.Blobs.Commit(ctx, small(f.ID))
	return err
}

// shrink reads a picture and returns a small one as JPEG. Width and height are those of the picture as it is seen, 0 when it is none; they
// are there with errHuge as well.
func shrink(p store.Blob, kind string) (data []byte, width, height int, err error) {
	cfg, err := configOf(p, kind)
	if err != nil {
		return nil, 0, 0, err
	}
	if cfg.Width <= 0 || cfg.Height <= 0 || cfg.Width > 1<<20 || cfg.Height > 1<<20 {
		return nil, 0, 0, fmt.Errorf("file: a picture of %d × %d", cfg.Width, cfg.Height)
	}
	var h jpegHead
	if kind == "image/jpeg" {
		h = readJPEGHead(p)
	}
	if width, height = cfg.Width, cfg.Height; h.orientation >= 5 {
		width, height = height, width
	}
	pixels := int64(cfg.Width) * int64(cfg.Height)
	if p.Size() > maxPictureBytes || pixels > maxPixels || pixels*perPixel(cfg, kind, h.progressive) > maxDecoded {
		return nil, width, height, errHuge
	}
	img, err := decode(p, kind)
	if err != nil {
		return nil, width, height, err
	}
	if b := img.Bounds(); b.Dx() != cfg.Width || b.Dy() != cfg.Height {
		return nil, width, height, errors.New("file: a picture of another size than its head says")
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, turn(scale(img, thumbnailSide), h.orientation), &jpeg.Options{Quality: thumbnailLevel}); err != nil {
		return nil, width, height, fmt.Errorf("file: writing a small picture: %w", err)
	}
	return out.Bytes(), width, height, nil
}

// perPixel is how many bytes a decoder takes for a pixel at most.
func perPixel(cfg image.Config, kind string, progressive bool) int64 {
	switch {
	case kind == "image/jpeg" && progressive:
		return 16 // four bytes for each coefficient of three colours until all are there, and the picture
	case kind == "image/jpeg":
		return 4
	case kind == "image/gif":
		return 2
	}
	switch cfg.ColorModel {
	case color.RGBA64Model, color.NRGBA64Model, color.Gray16Model:
		return 8
	}
	return 4
}

func configOf(p io.ReadSeeker, kind string) (cfg image.Config, err error) {
	if _, err := p.Seek(0, io.SeekStart); err != nil {
		return cfg, err
	}
	switch kind {
	case "image/jpeg":
		return jpeg.DecodeConfig(p)
	case "image/png":
		return png.DecodeConfig(p)
	}
	return gif.DecodeConfig(p)
}

func decode(p io.ReadSeeker, kind string) (image.Image, error) {
	if _, err := p.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	switch kind {
	case "image/jpeg":
		return jpeg.Decode(p)
	case "image/png":
		return png.Decode(p)
	}
	return gif.Decode(p) // the first of its frames
}
