package card

import "math"

// opencv is cv::resize for 8-bit pixels (modules/imgproc/src/resize.cpp):
// cv-linear, cv-cubic in its fixed point, cv-area.
func (r raster) opencv(h, w int, filter string) raster {
	sx, sy := 1/(float64(w)/float64(r.w)), 1/(float64(h)/float64(r.h))
	ix, iy := int(math.RoundToEven(sx)), int(math.RoundToEven(sy))
	const eps = 2.220446049250313e-16 // DBL_EPSILON
	whole := math.Abs(sx-float64(ix)) < eps && math.Abs(sy-float64(iy)) < eps
	switch {
	case filter == "cv-area" && sx >= 1 && sy >= 1 && whole, filter == "cv-linear" && whole && ix == 2 && iy == 2:
		return r.cvMean(h, w, iy, ix)
	case filter == "cv-area" && sx >= 1 && sy >= 1:
		return r.cvArea(h, w, sy, sx)
	case filter == "cv-cubic":
		return r.cvTaps(h, w, cvCubic(r.h, h, sy), cvCubic(r.w, w, sx))
	}
	area := filter == "cv-area"
	return r.cvTaps(h, w, cvLinear(r.h, h, sy, area, false), cvLinear(r.w, w, sx, area, true))
}

// cvMean is INTER_AREA by whole factors: the mean of each block.
func (r raster) cvMean(h, w, fy, fx int) raster {
	d := raster{h: h, w: w, c: r.c, px: make([]uint8, h*w*r.c)}
	scale := 1 / float32(fx*fy)
	i := 0
	for y := range h {
		for x := range w {
			for c := range r.c {
				var s int
				for v := range fy {
					row := r.px[((y*fy+v)*r.w+x*fx)*r.c+c:]
					for u := range fx {
						s += int(row[u*r.c])
					}
				}
				if fx == 2 && fy == 2 {
					d.px[i] = uint8((s + 2) >> 2)
				} else {
					d.px[i] = round8(float32(s) * scale)
				}
				i++
			}
		}
	}
	return d
}

func round8(x float32) uint8 { return uint8(min(max(math.RoundToEven(float64(x)), 0), 255)) }

// part is one source pixel of a target pixel and its share.
type part struct {
	at    int
	share float32
}

// areaParts is computeResizeAreaTab.
func areaParts(in, out int, scale float64) [][]part {
	t := make([][]part, out)
	for i := range t {
		a := float64(float64(i) * scale)
		b := a + scale
		cell := min(scale, float64(in)-a)
		lo, hi := int(math.Ceil(a)), int(math.Floor(b))
		hi = min(hi, in-1)
		lo = min(lo, hi)
		if float64(lo)-a > 1e-3 {
			t[i] = append(t[i], part{lo - 1, float32((float64(lo) - a) / cell)})
		}
		for s := lo; s < hi; s++ {
			t[i] = append(t[i], part{s, float32(1 / cell)})
		}
		if b-float64(hi) > 1e-3 {
			t[i] = append(t[i], part{hi, float32(min(min(b-float64(hi), 1), cell) / cell)})
		}
	}
	return t
}

// cvArea is INTER_AREA when shrinking by any factor, in float32 as OpenCV adds.
func (r raster) cvArea(h, w int, sy, sx float64) raster {
	d := raster{h: h, w: w, c: r.c, px: make([]uint8, h*w*r.c)}
	xs, ys := areaParts(r.w, w, sx), areaParts(r.h, h, sy)
	n := w * r.c
	buf, sum := make([]float32, n), make([]float32, n)
	for y := range h {
		for j, q := range ys[y] {
			clear(buf)
			row := r.px[q.at*r.w*r.c:]
			for x, parts := range xs {
				for _, p := range parts {
					for c := range r.c {
						buf[x*r.c+c] += float32(float32(row[p.at*r.c+c]) * p.share)
					}
				}
			}
			for i, v := range buf {
				if j == 0 {
					sum[i] = float32(q.share * v)
				} else {
					sum[i] += float32(q.share * v)
				}
			}
		}
		for i, v := range sum {
			d.px[y*n+i] = round8(v)
		}
	}
	return d
}

// cvBits is INTER_RESIZE_COEF_BITS.
const cvBits = 11

// cvTap is a run of source pixels from lo on, clamped to the picture, with fixed-point weights.
type cvTap struct {
	lo int
	n  int
	k  [4]int32
}

func fix(x float32) int32 { return int32(math.RoundToEven(float64(x * (1 << cvBits)))) }

// cvLinear has the taps of a line. At its ends OpenCV gives columns the whole weight
// of the last pixel (whole), but rows both weights, each rounded.
func cvLinear(in, out int, scale float64, area, whole bool) []cvTap {
	inv := float64(out) / float64(in)
	t := make([]cvTap, out)
	for i := range t {
		var s int
		var f float32
		if area {
			s = int(math.Floor(float64(i) * scale))
			f = float32(float64(i+1) - float64(float64(s+1)*inv))
			if f <= 0 {
				f = 0
			} else {
				f -= float32(math.Floor(float64(f)))
			}
		} else {
			f = float32(float64((float64(i)+0.5)*scale) - 0.5)
			s = int(math.Floor(float64(f)))
			f -= float32(s)
		}
		if whole && s < 0 {
			s, f = 0, 0
		}
		if whole && s >= in-1 {
			s, f = in-1, 0
		}
		t[i] = cvTap{lo: s, n: 2, k: [4]int32{fix(1 - f), fix(f)}}
	}
	return t
}

func cvCubic(in, out int, scale float64) []cvTap {
	const a = float32(-0.75)
	t := make([]cvTap, out)
	for i := range t {
		x := float32(float64((float64(i)+0.5)*scale) - 0.5)
		s := int(math.Floor(float64(x)))
		x -= float32(s)
		u, v := x+1, 1-x
		c0 := float32((float32((float32(a*u)-float32(5*a))*u)+8*a)*u) - 4*a
		c1 := float32(float32((float32((a+2)*x)-(a+3))*x)*x) + 1
		c2 := float32(float32((float32((a+2)*v)-(a+3))*v)*v) + 1
		t[i] = cvTap{lo: s - 1, n: 4, k: [4]int32{fix(c0), fix(c1), fix(c2), fix(1 - c0 - c1 - c2)}}
	}
	return t
}

// cvTaps filters columns into integers, then rows.
func (r raster) cvTaps(h, w int, ys, xs []cvTap) raster {
	d := raster{h: h, w: w, c: r.c, px: make([]uint8, h*w*r.c)}
	n := w * r.c
	rows := make(map[int][]int32)
	line := func(y int) []int32 {
		y = min(max(y, 0), r.h-1)
		if b, ok := rows[y]; ok {
			return b
		}
		b := make([]int32, n)
		src := r.px[y*r.w*r.c : (y+1)*r.w*r.c]
		for x, t := range xs {
			for j := range t.n {
				at := min(max(t.lo+j, 0), r.w-1) * r.c
				for c := range r.c {
					b[x*r.c+c] += int32(src[at+c]) * t.k[j]
				}
			}
		}
		rows[y] = b
		return b
	}
	for y, t := range ys {
		var s [4][]int32
		for j := range t.n {
			s[j] = line(t.lo + j)
		}
		for y := range rows { // rows behind are not needed again: order does not show
			if y < t.lo-4 {
				delete(rows, y)
			}
		}
		out := d.px[y*n : (y+1)*n]
		if t.n == 2 {
			for i := range out {
				out[i] = uint8((((t.k[0] * (s[0][i] >> 4)) >> 16) + ((t.k[1] * (s[1][i] >> 4)) >> 16) + 2) >> 2)
			}
			continue
		}
		// The vector path of VResizeCubic is float32.
		const scale = 1.0 / (1 << (2 * cvBits))
		var b [4]float32
		for j := range b {
			b[j] = float32(t.k[j]) * scale
		}
		for i := range out {
			v := float32(float32(s[3][i]) * b[3])
			v = float32(float32(s[2][i])*b[2]) + v
			v = float32(float32(s[1][i])*b[1]) + v
			v = float32(float32(s[0][i])*b[0]) + v
			out[i] = round8(v)
		}
	}
	return d
}
