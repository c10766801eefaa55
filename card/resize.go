package card

import (
	"math"
	"strings"
)

// resize is r in h x w pixels. filter is one of Filters.
func (r raster) resize(h, w int, filter string) raster {
	switch {
	case filter == "pil-nearest":
		return r.pick(pilNearest(r.h, h), pilNearest(r.w, w))
	case filter == "cv-nearest":
		return r.pick(cvNearest(r.h, h), cvNearest(r.w, w))
	case strings.HasPrefix(filter, "pil-"):
		return r.pillow(h, w, pilFilters[filter])
	}
	return r.opencv(h, w, filter)
}

// pick takes the pixels at rows x cols.
func (r raster) pick(rows, cols []int) raster {
	d := raster{h: len(rows), w: len(cols), c: r.c, px: make([]uint8, len(rows)*len(cols)*r.c)}
	i := 0
	for _, y := range rows {
		for _, x := range cols {
			i += copy(d.px[i:i+r.c], r.px[(y*r.w+x)*r.c:])
		}
	}
	return d
}

// pilNearest is Pillow's affine scaling (Geometry.c, ImagingScaleAffine): the
// coordinate is a running sum.
func pilNearest(in, out int) []int {
	at := make([]int, out)
	s := float64(in) / float64(out)
	x := s * 0.5
	for i := range at {
		at[i] = min(int(x), in-1)
		x += s
	}
	return at
}

func cvNearest(in, out int) []int {
	at := make([]int, out)
	s := 1 / (float64(out) / float64(in))
	for i := range at {
		at[i] = min(int(math.Floor(float64(i)*s)), in-1)
	}
	return at
}

type pilFilter struct {
	support float64
	f       func(x float64) float64
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}

// The windows of Pillow's Resample.c.
var pilFilters = map[string]pilFilter{
	"pil-box": {0.5, func(x float64) float64 {
		if x > -0.5 && x <= 0.5 {
			return 1
		}
		return 0
	}},
	"pil-bilinear": {1, func(x float64) float64 {
		return max(0, 1-math.Abs(x))
	}},
	"pil-hamming": {1, func(x float64) float64 {
		x = math.Abs(x)
		if x == 0 {
			return 1
		}
		if x >= 1 {
			return 0
		}
		x *= math.Pi
		return math.Sin(x) / x * (0.54 + float64(0.46*math.Cos(x)))
	}},
	"pil-bicubic": {2, func(x float64) float64 {
		const a = -0.5
		x = math.Abs(x)
		if x < 1 {
			return float64(float64(float64((a+2)*x)-(a+3))*x)*x + 1
		}
		if x < 2 {
			return float64((float64((float64(x-5)*x+8)*x) - 4) * a)
		}
		return 0
	}},
	"pil-lanczos": {3, func(x float64) float64 {
		if -3 <= x && x < 3 {
			return sinc(x) * sinc(x/3)
		}
		return 0
	}},
}

// pilBits is Resample.c's PRECISION_BITS: 8-bit values and two bits of headroom in an int32.
const pilBits = 32 - 8 - 2

// taps are the source pixels of each target pixel: n[i] taps from lo[i] on, with
// weights k[i*size:].
type taps struct {
	size  int
	lo, n []int
	k     []int32
}

// pilTaps is precompute_coeffs and normalize_coeffs_8bpc.
func pilTaps(in, out int, f pilFilter) taps {
	scale := float64(in) / float64(out)
	fscale := max(scale, 1)
	support := f.support * fscale
	t := taps{size: min(int(math.Ceil(support))*2+1, in)}
	t.lo, t.n, t.k = make([]int, out), make([]int, out), make([]int32, out*t.size)
	k := make([]float64, t.size)
	ss := 1 / fscale
	for i := range out {
		centre := (float64(i) + 0.5) * scale
		lo := max(0, int(centre-support+0.5))
		hi := min(in, int(centre+support+0.5))
		n := min(hi-lo, t.size)
		var sum float64
		for j := range n {
			k[j] = f.f((float64(j+lo) - centre + 0.5) * ss)
			sum += k[j]
		}
		for j := range n {
			v := k[j]
			if sum != 0 {
				v /= sum
			}
			v *= 1 << pilBits
			if v < 0 {
				v -= 0.5
			} else {
				v += 0.5
			}
			t.k[i*t.size+j] = int32(v)
		}
		t.lo[i], t.n[i] = lo, n
	}
	return t
}

func clip8(v int32) uint8 { return uint8(min(max(v>>pilBits, 0), 255)) }

// pillow is ImagingResample for 8-bit pixels: columns first, rounded to 8 bits, then rows.
func (r raster) pillow(h, w int, f pilFilter) raster {
	if w != r.w {
		t := pilTaps(r.w, w, f)
		d := raster{h: r.h, w: w, c: r.c, px: make([]uint8, r.h*w*r.c)}
		for y := range r.h {
			row, out := r.px[y*r.w*r.c:(y+1)*r.w*r.c], d.px[y*w*r.c:(y+1)*w*r.c]
			for x := range w {
				k := t.k[x*t.size:][:t.n[x]]
				s := row[t.lo[x]*r.c:]
				if r.c == 1 {
					a := int32(1 << (pilBits - 1))
					for j, kv := range k {
						a += int32(s[j]) * kv
					}
					out[x] = clip8(a)
					continue
				}
				a0, a1, a2 := int32(1<<(pilBits-1)), int32(1<<(pilBits-1)), int32(1<<(pilBits-1))
				for j, kv := range k {
					a0 += int32(s[3*j]) * kv
					a1 += int32(s[3*j+1]) * kv
					a2 += int32(s[3*j+2]) * kv
				}
				out[3*x], out[3*x+1], out[3*x+2] = clip8(a0), clip8(a1), clip8(a2)
			}
		}
		r = d
	}
	if h != r.h {
		t := pilTaps(r.h, h, f)
		n := r.w * r.c
		d := raster{h: h, w: r.w, c: r.c, px: make([]uint8, h*n)}
		acc := make([]int32, n)
		for y := range h {
			for i := range acc {
				acc[i] = 1 << (pilBits - 1)
			}
			for j, kv := range t.k[y*t.size:][:t.n[y]] {
				for i, v := range r.px[(t.lo[y]+j)*n:][:n] {
					acc[i] += int32(v) * kv
				}
			}
			for i, a := range acc {
				d.px[y*n+i] = clip8(a)
			}
		}
		r = d
	}
	return r
}
