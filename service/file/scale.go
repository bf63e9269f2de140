package file

import (
	"image"
	"image/color"
	"image/draw"
)

// scale makes a picture small enough that its longer side has at most so many pixels; a smaller one keeps its size. Each pixel is
// the mean of those it stands for. What is transparent becomes white.
func scale(src image.Image, side int) *image.RGBA {
	b := src.Bounds()
	w, h := fit(b.Dx(), b.Dy(), side)
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	sums := make([]uint64, 3*w)
	row := image.NewRGBA(image.Rect(0, 0, b.Dx(), 1))
	column := make([]int, b.Dx()) // the pixel of out to which a column belongs
	count := make([]uint64, w)
	for x := range column {
		column[x] = x * w / b.Dx()
		count[column[x]]++
	}
	for y := range h {
		clear(sums)
		// The rows of src that belong to row y of out; one at least, because h is not larger.
		from, to := (y*b.Dy()+h-1)/h, ((y+1)*b.Dy()+h-1)/h
		for sy := from; sy < to; sy++ {
			draw.Draw(row, row.Rect, image.White, image.Point{}, draw.Src)
			draw.Draw(row, row.Rect, src, image.Pt(b.Min.X, b.Min.Y+sy), draw.Over) // knows the common kinds of pictures
			for x, c := range column {
				p := row.Pix[4*x : 4*x+3 : 4*x+3]
				s := sums[3*c : 3*c+3 : 3*c+3]
				s[0] += uint64(p[0])
				s[1] += uint64(p[1])
				s[2] += uint64(p[2])
			}
		}
		for x := range w {
			n := count[x] * uint64(to-from)
			out.SetRGBA(x, y, color.RGBA{mean(sums[3*x], n), mean(sums[3*x+1], n), mean(sums[3*x+2], n), 255})
		}
	}
	return out
}

func mean(sum, n uint64) uint8 { return uint8((sum + n/2) / n) } //nolint:gosec // a mean of bytes

// fit is the size of a picture whose longer side has at most so many pixels, one pixel at least.
func fit(w, h, side int) (int, int) {
	if w <= side && h <= side {
		return w, h
	}
	if w >= h {
		return side, max(1, h*side/w)
	}
	return max(1, w*side/h), side
}

// turn turns a picture to how it is seen, by its orientation in EXIF: 1 to 8, 1 and others as it is.
func turn(src *image.RGBA, orientation int) *image.RGBA {
	if orientation < 2 || orientation > 8 {
		return src
	}
	w, h := src.Rect.Dx(), src.Rect.Dy()
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	if orientation >= 5 {
		out = image.NewRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			tx, ty := x, y
			switch orientation {
			case 2: // mirrored
				tx = w - 1 - x
			case 3: // upside down
				tx, ty = w-1-x, h-1-y
			case 4: // mirrored, upside down
				ty = h - 1 - y
			case 5: // mirrored along the diagonal
				tx, ty = y, x
			case 6: // to be turned to the right
				tx, ty = h-1-y, x
			case 7:
				tx, ty = h-1-y, w-1-x
			case 8: // to be turned to the left
				tx, ty = y, w-1-x
			}
			out.SetRGBA(tx, ty, src.RGBAAt(x, y))
		}
	}
	return out
}
