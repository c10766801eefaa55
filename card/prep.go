package card

import (
	"fmt"
	"image"
	"math"
	"strings"

	"whit/tensor"
)

// Prep is a card compiled for an input of fixed shape. It works in two steps,
// geometry in 8-bit pixels and normalisation by table, so that a caller may keep
// the small pixels and normalise at every read. Safe for concurrent use.
type Prep struct {
	c      int // channels: 1 or 3
	h, w   int // of the input
	nhwc   bool
	bgr    bool
	resize *Resize
	crop   Size
	orient bool
	lut    [][256]float32 // one a channel, in the card's order
}

// Shape is the input's shape without N: [C,H,W], or [H,W,C] for layout nhwc.
func (p *Prep) Shape() []int {
	if p.nhwc {
		return []int{p.h, p.w, p.c}
	}
	return []int{p.c, p.h, p.w}
}

// Len is the number of values of one sample, and of its pixels in bytes.
func (p *Prep) Len() int { return p.c * p.h * p.w }

// Orient reports whether pictures are to be turned as their EXIF orientation says;
// an image.Image does not carry it: the decoder applies it (see [Orientation]).
func (p *Prep) Orient() bool { return p.orient }

// Identity reports whether a picture of h x w pixels of the card's colour passes
// without geometry, so that its bytes are the pixels.
func (p *Prep) Identity(h, w int) bool {
	if h != p.h || w != p.w {
		return false
	}
	g, err := p.geometry(h, w)
	return err == nil && g.rh == h && g.rw == w && g.y0 == 0 && g.x0 == 0
}

// layoutOf finds channels, height and width of an input shape without N that fits
// the card's colour: [C,H,W], [H,W,C], or for gray [H,W] and [H*W] if the card
// gives the size.
func (c Card) layoutOf(shape []int) (ch, h, w int, nhwc bool, err error) {
	ch = c.Channels()
	conflict := func(format string, a ...any) error {
		return fmt.Errorf("%w: %s", ErrConflict, fmt.Sprintf(format, a...))
	}
	for _, d := range shape {
		if d < 1 || d > MaxPixels {
			return 0, 0, 0, false, conflict("an input of shape %v takes no pictures", shape)
		}
	}
	switch len(shape) {
	case 3:
		first, last := shape[0] == ch, shape[2] == ch
		switch {
		case c.Input.Layout == "nhwc" && last, c.Input.Layout == "" && last && !first:
			h, w, nhwc = shape[0], shape[1], true
		case c.Input.Layout != "nhwc" && first:
			h, w = shape[1], shape[2]
		case c.Input.Layout != "" && (first || last):
			return 0, 0, 0, false, conflict("input.layout is %s, but the input has the shape %v", c.Input.Layout, shape)
		default:
			return 0, 0, 0, false, conflict("input.color %s has %d channels, but the input has the shape %v", c.Input.Color, ch, shape)
		}
	case 2:
		if ch != 1 {
			return 0, 0, 0, false, conflict("input.color %s has %d channels, but the input has the shape %v", c.Input.Color, ch, shape)
		}
		h, w = shape[0], shape[1]
	case 1: // a vector: the card must say the size
		s := c.Input.Crop
		if r := c.Input.Resize; s == (Size{}) && r != nil && r.Mode != "shorter" {
			s = r.Size
		}
		if s == (Size{}) {
			if q := int(math.Sqrt(float64(shape[0] / ch))); q*q*ch == shape[0] { // a square is the one shape that needs no telling
				s = Size{q, q}
			} else {
				return 0, 0, 0, false, fmt.Errorf("%w: input.resize.size (the input is a vector of %d)", ErrMissing, shape[0])
			}
		}
		if s.H > MaxSide || s.W > MaxSide || s.H*s.W*ch != shape[0] {
			return 0, 0, 0, false, conflict("%d x %d pixels of color %s do not make an input of %d values", s.H, s.W, c.Input.Color, shape[0])
		}
		h, w, nhwc = s.H, s.W, c.Input.Layout == "nhwc"
	default:
		return 0, 0, 0, false, conflict("an input of shape %v takes no pictures", shape)
	}
	if h > MaxSide || w > MaxSide || h*w > MaxPixels {
		return 0, 0, 0, false, fmt.Errorf("input of %d x %d pixels: %w", h, w, ErrTooLarge)
	}
	return ch, h, w, nhwc, nil
}

// Prepare compiles the card for an input of the given shape without N: [C,H,W],
// [H,W,C], for gray [H,W], or a vector. Fields that are missing are listed in an
// ErrMissing; a shape that does not fit is an ErrConflict.
func (c Card) Prepare(shape []int) (*Prep, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if m := c.Missing(); len(m) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrMissing, strings.Join(m, ", "))
	}
	ch, h, w, nhwc, err := c.layoutOf(shape)
	if err != nil {
		return nil, err
	}
	p := &Prep{c: ch, h: h, w: w, nhwc: nhwc, bgr: c.Input.Color == "bgr", crop: c.Input.Crop, orient: c.Input.Orient == "exif"}
	out := Size{h, w}
	if r := c.Input.Resize; r != nil {
		q := *r
		if q.Size == (Size{}) {
			q.Size = out
		}
		p.resize = &q
		if c.Input.Crop == (Size{}) && q.Mode != "shorter" && q.Size != out {
			return nil, fmt.Errorf("%w: input.resize.size is %dx%d and there is no crop, but the input takes %dx%d", ErrConflict, q.Size.H, q.Size.W, h, w)
		}
	}
	if s := c.Input.Crop; s != (Size{}) && s != out {
		return nil, fmt.Errorf("%w: input.crop is %dx%d, but the input takes %dx%d", ErrConflict, s.H, s.W, h, w)
	}
	p.lut = make([][256]float32, ch)
	at := func(v []float64, i int) float64 {
		if len(v) == 1 {
			return v[0]
		}
		return v[i]
	}
	for i := range p.lut {
		m, s := at(c.Input.Mean, i), at(c.Input.Std, i)
		for v := range 256 {
			x := float64(float64(v)*c.Input.Scale) - m
			p.lut[i][v] = float32(x / s)
		}
	}
	return p, nil
}

// Validate checks the card against the shape of the model's image input, without
// N; an unknown dimension is below 1. What is missing passes: see [Card.Missing].
// A conflict, and a number of labels that is not that of classes (below 1:
// unknown), is an ErrConflict.
func (c Card) Validate(shape []int, classes int) error {
	if err := c.check(); err != nil {
		return err
	}
	if n := len(c.Labels); n > 0 && classes > 0 && n != classes {
		return fmt.Errorf("%w: %d labels, but the output has %d classes", ErrConflict, n, classes)
	}
	if c.Input.Color == "" {
		return nil
	}
	ch := c.Channels()
	known := true
	for _, d := range shape {
		known = known && d >= 1
	}
	if known {
		d := c.Clone() // what is missing has no say here
		if d.Input.Scale == 0 {
			d.Input.Scale = 1
		}
		if d.Input.Mean == nil {
			d.Input.Mean = []float64{0}
		}
		if d.Input.Std == nil {
			d.Input.Std = []float64{1}
		}
		if len(d.Missing()) > 0 {
			d.Input.Resize = nil
		}
		_, err := d.Prepare(shape)
		return err
	}
	if len(shape) == 3 {
		first, last := shape[0], shape[2]
		if !(first == ch || first < 1) && !(last == ch || last < 1) {
			return fmt.Errorf("%w: input.color %s has %d channels, but the input has the shape %v", ErrConflict, c.Input.Color, ch, shape)
		}
	}
	return nil
}

// Floats normalises pixels, Len bytes as [Prep.Pixels] writes them, into dst, Len
// values: x = (pixel·scale - mean)/std in float64, rounded once.
func (p *Prep) Floats(dst []float32, px []uint8) {
	dst, px = dst[:p.Len()], px[:p.Len()]
	if p.nhwc && p.c == 3 {
		for i := 0; i < len(px); i += 3 {
			dst[i], dst[i+1], dst[i+2] = p.lut[0][px[i]], p.lut[1][px[i+1]], p.lut[2][px[i+2]]
		}
		return
	}
	n := p.h * p.w
	for c := range p.c {
		t := &p.lut[c]
		d, s := dst[c*n:c*n+n], px[c*n:c*n+n]
		for i, v := range s {
			d[i] = t[v]
		}
	}
}

// Preprocess turns a picture into the input: dst is one sample or the one slot of
// a batch, [C,H,W], [1,C,H,W] and so on, of type float32, float16, float64, or
// uint8 where scale is 1, mean 0 and std 1.
func (c Card) Preprocess(dst *tensor.Tensor, img image.Image) error {
	shape := []int(dst.Shape)
	if len(shape) == 4 || len(shape) == 2 && shape[0] == 1 { // [1,C,H,W], [1,K]
		if shape[0] != 1 {
			return fmt.Errorf("preprocess: one picture into a batch of %d", shape[0])
		}
		shape = shape[1:]
	}
	p, err := c.Prepare(shape)
	if err != nil {
		return err
	}
	px := make([]uint8, p.Len())
	if err := p.Pixels(px, img); err != nil {
		return err
	}
	switch dst.DType {
	case tensor.Float32:
		p.Floats(tensor.Of[float32](dst), px)
	case tensor.Float16, tensor.BFloat16, tensor.Float64:
		f := make([]float32, p.Len())
		p.Floats(f, px)
		tensor.Convert(dst, tensor.From(f, dst.Shape...))
	case tensor.Uint8:
		for i := range p.lut {
			for v, x := range p.lut[i] {
				if x != float32(v) {
					return fmt.Errorf("%w: the input takes uint8, so scale must be 1, mean 0 and std 1", ErrConflict)
				}
			}
		}
		copy(dst.Bytes(), px)
	default:
		return fmt.Errorf("preprocess: an input of type %v takes no pictures", dst.DType)
	}
	return nil
}
