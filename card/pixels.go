package card

import (
	"fmt"
	"image"
	"image/color"
	"math"
)

// Picture is an image.Image with the orientation that its file asks for. The
// decoders of package data return it; a card with orient: exif heeds it.
type Picture struct {
	image.Image
	Orientation int  // EXIF's 1..8; 0 unknown
	Studio      bool // a YCbCr image is in the range of television, 16..235, as WebP's lossy pictures are
}

// raster is 8-bit pixels, interleaved: c values a pixel, rgb or gray.
type raster struct {
	h, w, c int
	px      []uint8
}

// geometry is where the pixels of one picture go.
type geometry struct {
	rh, rw int // after resizing
	y0, x0 int // of the input's first pixel in the resized picture; negative: fill or zeros before it
	fill   uint8
}

// geometry finds sizes for a picture of h x w.
func (p *Prep) geometry(h, w int) (geometry, error) {
	g := geometry{rh: h, rw: w}
	if h < 1 || w < 1 {
		return g, fmt.Errorf("empty picture of %d x %d pixels", h, w)
	}
	if r := p.resize; r != nil {
		switch r.Mode {
		case "stretch":
			g.rh, g.rw = r.Size.H, r.Size.W
		case "shorter": // as torchvision: the longer side is truncated
			if h < w {
				g.rh, g.rw = r.Size.H, int(int64(r.Size.H)*int64(w)/int64(h))
			} else {
				g.rh, g.rw = int(int64(r.Size.H)*int64(h)/int64(w)), r.Size.H
			}
		case "letterbox":
			s := min(float64(r.Size.H)/float64(h), float64(r.Size.W)/float64(w))
			g.rh = min(r.Size.H, max(1, int(math.RoundToEven(float64(h)*s))))
			g.rw = min(r.Size.W, max(1, int(math.RoundToEven(float64(w)*s))))
			// Into the box first, then the crop out of the box.
			g.y0, g.x0 = -((r.Size.H - g.rh) / 2), -((r.Size.W - g.rw) / 2)
			g.fill = uint8(r.Fill)
			g.y0 += centre(r.Size.H, p.h)
			g.x0 += centre(r.Size.W, p.w)
			return g, nil
		}
		if g.rh > MaxSide || g.rw > MaxSide || int64(g.rh)*int64(g.rw) > MaxPixels {
			return g, fmt.Errorf("resized to %d x %d pixels: %w", g.rw, g.rh, ErrTooLarge)
		}
	}
	if p.crop == (Size{}) {
		if g.rh != p.h || g.rw != p.w {
			field := "input.crop"
			if p.resize == nil {
				field = "input.resize"
			}
			return g, fmt.Errorf("%w: %s (the picture is %d x %d pixels after resizing, width by height, and the input takes %d x %d)", ErrMissing, field, g.rw, g.rh, p.w, p.h)
		}
		return g, nil
	}
	// Centred as torchvision does, zeros around what is too small.
	g.y0, g.x0 = centre(g.rh, p.h), centre(g.rw, p.w)
	return g, nil
}

// centre is the offset of a centred window of n in a line of size. Where the line is
// the larger, half pixels go to even as Python's round does; else the smaller pad comes first.
func centre(size, n int) int {
	if size < n {
		return -((n - size) / 2)
	}
	return int(math.RoundToEven(float64(size-n) / 2))
}

// Pixels writes the picture's pixels as the input wants them, but for the
// normalisation, into dst, [Prep.Len] bytes: planes [C,H,W], or [H,W,C] for layout
// nhwc. Transparency is dropped, as Pillow's convert("RGB") does; 16-bit samples
// keep their upper 8 bits.
func (p *Prep) Pixels(dst []uint8, img image.Image) error {
	if len(dst) != p.Len() {
		return fmt.Errorf("pixels: %d bytes for an input of %d values", len(dst), p.Len())
	}
	turn, toRGB := 1, jpegRGB
	if q, ok := img.(*Picture); ok {
		img, turn = q.Image, q.Orientation
		if q.Studio {
			toRGB = studioRGB
		}
	}
	b := img.Bounds()
	if b.Dx() < 1 || b.Dy() < 1 || int64(b.Dx())*int64(b.Dy()) > MaxPixels {
		return fmt.Errorf("picture of %d x %d pixels: %w", b.Dx(), b.Dy(), ErrTooLarge)
	}
	h, w := b.Dy(), b.Dx()
	if !p.orient || turn < 2 || turn > 8 {
		turn = 1
	}
	if turn >= 5 {
		h, w = w, h
	}
	g, err := p.geometry(h, w)
	if err != nil {
		return err
	}
	r := rasterOf(img, p.c, toRGB)
	if turn > 1 {
		r = r.turn(turn)
	}
	if p.resize != nil && (g.rh != r.h || g.rw != r.w) {
		r = r.resize(g.rh, g.rw, p.resize.Filter)
	}
	p.place(dst, r, g)
	return nil
}

// place crops or pads r into dst and puts the channels into the card's order.
func (p *Prep) place(dst []uint8, r raster, g geometry) {
	n := p.h * p.w
	if g.y0 < 0 || g.x0 < 0 || g.y0+p.h > r.h || g.x0+p.w > r.w {
		for i := range dst {
			dst[i] = g.fill
		}
	}
	ya, yb := max(0, -g.y0), min(p.h, r.h-g.y0)
	xa, xb := max(0, -g.x0), min(p.w, r.w-g.x0)
	for y := ya; y < yb; y++ {
		src := r.px[((y+g.y0)*r.w+g.x0+xa)*r.c:]
		switch {
		case p.c == 1:
			copy(dst[y*p.w+xa:y*p.w+xb], src)
		default:
			r0, b0 := 0, 2
			if p.bgr {
				r0, b0 = 2, 0
			}
			if p.nhwc {
				d := dst[(y*p.w+xa)*3:]
				for x := 0; x < 3*(xb-xa); x += 3 {
					d[x], d[x+1], d[x+2] = src[x+r0], src[x+1], src[x+b0]
				}
				break
			}
			d0, d1, d2 := dst[y*p.w:], dst[n+y*p.w:], dst[2*n+y*p.w:]
			for x, s := xa, 0; x < xb; x, s = x+1, s+3 {
				d0[x], d1[x], d2[x] = src[s+r0], src[s+1], src[s+b0]
			}
		}
	}
}

// gray is Pillow's L: ITU-R 601-2 luma in 16-bit fixed point.
func gray(r, g, b uint8) uint8 {
	return uint8((uint32(r)*19595 + uint32(g)*38470 + uint32(b)*7471 + 0x8000) >> 16)
}

// jpegRGB is the conversion of libjpeg (jdcolor.c): each product rounded to 16 bits
// before it is added. color.YCbCrToRGB differs by one grey level here and there.
func jpegRGB(y, cb, cr uint8) (r, g, b uint8) {
	l, u, v := int32(y), int32(cb)-128, int32(cr)-128
	clip := func(v int32) uint8 { return uint8(min(max(v, 0), 255)) }
	return clip(l + (91881*v+32768)>>16), clip(l + (-22554*u-46802*v+32768)>>16), clip(l + (116130*u+32768)>>16)
}

// studioRGB is the conversion for the range of television, in libwebp's fixed point
// (src/dsp/yuv.h).
func studioRGB(y, cb, cr uint8) (r, g, b uint8) {
	hi := func(v uint8, k int) int { return int(v) * k >> 8 }
	clip := func(v int) uint8 { return uint8(min(max(v>>6, 0), 255)) }
	l := hi(y, 19077)
	return clip(l + hi(cr, 26149) - 14234), clip(l - hi(cb, 6419) - hi(cr, 13320) + 8708), clip(l + hi(cb, 33050) - 17685)
}

// rasterOf copies the image's pixels, converted to gray (c 1) or rgb (c 3); toRGB
// converts those of YCbCr images.
func rasterOf(img image.Image, c int, toRGB func(y, cb, cr uint8) (r, g, b uint8)) raster {
	if m, ok := img.(*image.NYCbCrA); ok {
		img = &m.YCbCr
	}
	b := img.Bounds()
	r := raster{h: b.Dy(), w: b.Dx(), c: c}
	r.px = make([]uint8, r.h*r.w*c)
	var put func(i int, cr, cg, cb uint8)
	if c == 1 {
		put = func(i int, cr, cg, cb uint8) { r.px[i] = gray(cr, cg, cb) }
	} else {
		put = func(i int, cr, cg, cb uint8) { r.px[3*i], r.px[3*i+1], r.px[3*i+2] = cr, cg, cb }
	}
	i := 0
	switch m := img.(type) {
	case *image.Gray:
		for y := range r.h {
			row := m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):]
			if c == 1 {
				copy(r.px[y*r.w:(y+1)*r.w], row)
				continue
			}
			for x := range r.w {
				put(i, row[x], row[x], row[x])
				i++
			}
		}
	case *image.YCbCr:
		if fancy(m) {
			cb, cr := make([]uint8, r.w+2), make([]uint8, r.w+2)
			for y := range r.h {
				chroma(cb, m, m.Cb, y)
				chroma(cr, m, m.Cr, y)
				for x, v := range m.Y[y*m.YStride:][:r.w] {
					a, b, c := toRGB(v, cb[x], cr[x])
					put(i, a, b, c)
					i++
				}
			}
			break
		}
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				yi, ci := m.YOffset(x, y), m.COffset(x, y)
				cr, cg, cb := toRGB(m.Y[yi], m.Cb[ci], m.Cr[ci])
				put(i, cr, cg, cb)
				i++
			}
		}
	case *image.NRGBA:
		for y := range r.h {
			row := m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):]
			for x := range r.w {
				put(i, row[4*x], row[4*x+1], row[4*x+2])
				i++
			}
		}
	case *image.Paletted:
		pal := make([][3]uint8, 256)
		for k, col := range m.Palette {
			if k < 256 {
				n := color.NRGBAModel.Convert(col).(color.NRGBA)
				pal[k] = [3]uint8{n.R, n.G, n.B}
			}
		}
		for y := range r.h {
			row := m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):]
			for x := range r.w {
				v := pal[row[x]]
				put(i, v[0], v[1], v[2])
				i++
			}
		}
	default:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				switch q := img.At(x, y).(type) {
				case color.Gray16:
					v := uint8(q.Y >> 8)
					put(i, v, v, v)
				case color.NRGBA64:
					put(i, uint8(q.R>>8), uint8(q.G>>8), uint8(q.B>>8))
				default:
					n := color.NRGBAModel.Convert(q).(color.NRGBA)
					put(i, n.R, n.G, n.B)
				}
				i++
			}
		}
	}
	return r
}

// fancy reports whether the colour of m is interpolated, as libjpeg and libwebp do by
// default where it is held at half the resolution; otherwise it is repeated.
func fancy(m *image.YCbCr) bool {
	if m.Rect.Min != (image.Point{}) {
		return false
	}
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio422:
		return m.Rect.Dx() > 4 // libjpeg wants more than two colour samples a line
	case image.YCbCrSubsampleRatio440:
		return true
	}
	return false
}

// chroma writes line y of a colour plane of m, at full width, into dst (the width and
// one more): the triangle filter of libjpeg's jdsample.c, its roundings included.
func chroma(dst []uint8, m *image.YCbCr, plane []uint8, y int) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	line := func(k int) []uint8 { return plane[k*m.CStride:] }
	if m.SubsampleRatio == image.YCbCrSubsampleRatio422 {
		n, s := (w+1)/2, line(y)
		dst[0], dst[2*n-1] = s[0], s[n-1]
		for i := range n {
			v := 3 * int(s[i])
			if i > 0 {
				dst[2*i] = uint8((v + int(s[i-1]) + 1) >> 2)
			}
			if i < n-1 {
				dst[2*i+1] = uint8((v + int(s[i+1]) + 2) >> 2)
			}
		}
		return
	}
	// Three parts of the line that holds y, one of the nearer neighbour.
	k := y / 2
	near := min(max(k-1+y%2*2, 0), (h+1)/2-1)
	a, b := line(k), line(near)
	if m.SubsampleRatio == image.YCbCrSubsampleRatio440 {
		for i := range w {
			dst[i] = uint8((3*int(a[i]) + int(b[i]) + 1 + y%2) >> 2)
		}
		return
	}
	n := (w + 1) / 2
	sum := func(i int) int { return 3*int(a[i]) + int(b[i]) }
	last, this := sum(0), sum(0)
	for i := range n {
		next := this
		if i < n-1 {
			next = sum(i + 1)
		}
		dst[2*i] = uint8((3*this + last + 8) >> 4)
		dst[2*i+1] = uint8((3*this + next + 7) >> 4)
		last, this = this, next
	}
}

// turn applies an EXIF orientation of 2 to 8.
func (r raster) turn(o int) raster {
	d := raster{h: r.h, w: r.w, c: r.c, px: make([]uint8, len(r.px))}
	if o >= 5 {
		d.h, d.w = r.w, r.h
	}
	for y := range d.h {
		for x := range d.w {
			var sy, sx int
			switch o {
			case 2:
				sy, sx = y, r.w-1-x
			case 3:
				sy, sx = r.h-1-y, r.w-1-x
			case 4:
				sy, sx = r.h-1-y, x
			case 5:
				sy, sx = x, y
			case 6:
				sy, sx = r.h-1-x, y
			case 7:
				sy, sx = r.h-1-x, r.w-1-y
			case 8:
				sy, sx = x, r.w-1-y
			}
			copy(d.px[(y*d.w+x)*r.c:(y*d.w+x+1)*r.c], r.px[(sy*r.w+sx)*r.c:])
		}
	}
	return d
}
