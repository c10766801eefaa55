package kern

import (
	"math"
	"unsafe"

	"whit/internal/cpu"
)

// Vec is elementwise work of training, in assembly where the processor has it.
// Assembly and portable Go give the same bits: every operation rounds once, and
// none is fused.
type Vec struct{ asm bool }

// VecOf is the work for a processor with features f.
func VecOf(f cpu.Features) Vec { return Vec{haveAsm && f.AVX2FMA} }

// Add is dst[i] += src[i] for i < len(src).
func (k Vec) Add(dst, src []float32) {
	dst = dst[:len(src)]
	if k.asm && len(src) > 0 {
		f32AddAVX2(&dst[0], &src[0], len(src))
		return
	}
	for i, v := range src {
		dst[i] += v
	}
}

// Max2x2 pools a row of n windows of 2x2 pixels of c channels: a and b are the two
// rows of x, whose pixels are px apart, dst's are dpx apart. NaN wins.
func (k Vec) Max2x2(dst, a, b []float32, n, c, dpx, px int) {
	if n == 0 || c == 0 {
		return
	}
	last := (2*n-1)*px + c - 1
	_, _, _ = dst[(n-1)*dpx+c-1], a[last], b[last]
	if k.asm {
		f32Max2x2AVX2(&dst[0], &a[0], &b[0], n, c, dpx, px)
		return
	}
	for i := range n {
		d, at := dst[i*dpx:][:c], 2*i*px
		a0, a1, b0, b1 := a[at:][:c], a[at+px:][:c], b[at:][:c], b[at+px:][:c]
		for j := range d {
			d[j] = maxNaN(maxNaN(maxNaN(a0[j], a1[j]), b0[j]), b1[j])
		}
	}
}

func maxNaN(r, v float32) float32 {
	if r > v || r != r {
		return r
	}
	return v
}

// Max2x2Grad gives dy, whose pixels are ypx apart, to the first of the largest of
// each window, and 0 to the others: da and db are the two rows of dx, with pixels
// dpx apart. Where a window holds NaN nobody gets anything.
func (k Vec) Max2x2Grad(da, db, dy, a, b []float32, n, c, dpx, ypx, px int) {
	if n == 0 || c == 0 {
		return
	}
	last, dlast := (2*n-1)*px+c-1, (2*n-1)*dpx+c-1
	_, _, _, _, _ = da[dlast], db[dlast], dy[(n-1)*ypx+c-1], a[last], b[last]
	if k.asm {
		f32Max2x2GradAVX2(&da[0], &db[0], &dy[0], &a[0], &b[0], n, c, dpx, ypx, px)
		return
	}
	for i := range n {
		at, to := 2*i*px, 2*i*dpx
		a0, a1, b0, b1 := a[at:][:c], a[at+px:][:c], b[at:][:c], b[at+px:][:c]
		da0, da1, db0, db1 := da[to:][:c], da[to+dpx:][:c], db[to:][:c], db[to+dpx:][:c]
		for j, g := range dy[i*ypx:][:c] {
			m := maxNaN(maxNaN(maxNaN(a0[j], a1[j]), b0[j]), b1[j])
			var g0, g1, g2, g3 float32
			switch m {
			case a0[j]:
				g0 = g
			case a1[j]:
				g1 = g
			case b0[j]:
				g2 = g
			case b1[j]:
				g3 = g
			}
			da0[j], da1[j], db0[j], db1[j] = g0, g1, g2, g3
		}
	}
}

// ReluGrad is dx[i] = dy[i] where y[i] > 0, else 0. dx may be dy.
func (k Vec) ReluGrad(dx, dy, y []float32) {
	n := len(dx)
	dy, y = dy[:n], y[:n]
	if k.asm && n > 0 {
		f32ReluGradAVX2(&dx[0], &dy[0], &y[0], n)
		return
	}
	for i := range dx {
		var g float32
		if y[i] > 0 {
			g = dy[i]
		}
		dx[i] = g
	}
}

// EMA is e[i] += step*(p[i]-e[i]).
func (k Vec) EMA(e, p []float32, step float32) {
	p = p[:len(e)]
	if k.asm && len(p) > 0 {
		f32EMAAVX2(&e[0], &p[0], len(p), step)
		return
	}
	for i, v := range e {
		e[i] = v + float32(step*(p[i]-v))
	}
}

// Gradients and moments smaller than these count as 0: squares and products of
// them would be denormal, which costs far more time than it could change.
const (
	TinyGrad   = 1e-16
	TinyMoment = 1e-30
)

// Adam holds the numbers of one AdamW step; op's AdamW has the formulas.
type Adam struct {
	Beta1, Beta2, Epsilon float32
	LR, C1, C2, EMA       float32
	Decay, L2, L1         float32
}

// AdamW updates p, m, v, and e where it is not nil, by the gradient g.
func (k Vec) AdamW(s *Adam, p, g, m, v, e []float32) {
	n := len(p)
	g, m, v = g[:n], m[:n], v[:n]
	nb1, nb2 := 1-s.Beta1, 1-s.Beta2
	if k.asm && s.L1 == 0 && n > 0 {
		var c [13][8]float32
		for i, x := range [13]float32{s.Beta1, s.Beta2, nb1, nb2, s.LR, s.C1, s.C2, s.Epsilon, s.Decay, s.L2,
			TinyGrad, TinyMoment, math.Float32frombits(1<<31 - 1)} {
			for j := range c[i] {
				c[i][j] = x
			}
		}
		f32AdamWAVX2(&p[0], &g[0], &m[0], &v[0], &c[0][0], n)
	} else {
		for i, w := range p {
			d := tiny(penalised(g[i], w, s.L2, s.L1), TinyGrad)
			a := tiny(float32(s.Beta1*m[i])+float32(nb1*d), TinyMoment)
			q := tiny(float32(s.Beta2*v[i])+float32(nb2*float32(d*d)), TinyMoment)
			m[i], v[i] = a, q
			step := float32(a*s.C1) / (float32(math.Sqrt(float64(float32(q*s.C2)))) + s.Epsilon)
			p[i] = w - float32(s.LR*(step+float32(s.Decay*w)))
		}
	}
	if e != nil {
		k.EMA(e, p, s.EMA)
	}
}

func tiny(x, limit float32) float32 {
	if x < limit && x > -limit {
		return 0
	}
	return x
}

func penalised(g, p, l2, l1 float32) float32 {
	g += float32(l2 * p)
	if p > 0 {
		g += l1
	} else if p < 0 {
		g -= l1
	}
	return g
}

// SGD holds the numbers of one step of gradient descent; op's SGD has the formulas.
type SGD struct {
	Momentum, LR, EMA float32
	Nesterov          bool
	Decay, L2, L1     float32
}

// SGD updates p, and buf and e where they are not nil, by the gradient g.
func (k Vec) SGD(s *SGD, p, g, buf, e []float32) {
	g = g[:len(p)]
	for i, w := range p {
		d := penalised(g[i], w, s.L2, s.L1)
		if buf != nil {
			b := tiny(float32(s.Momentum*buf[i])+d, TinyMoment)
			buf[i] = b
			if s.Nesterov {
				d += float32(s.Momentum * b)
			} else {
				d = b
			}
		}
		p[i] = w - float32(s.LR*(d+float32(s.Decay*w)))
	}
	if e != nil {
		k.EMA(e, p, s.EMA)
	}
}

// quad is 8 floats as 4 words: moved in registers, where an array of them would be
// a call of memmove.
type quad struct{ a, b, c, d uint64 }

// CopyRuns copies w runs of 8·n floats: those of src are step floats apart, those
// of dst pitch.
func CopyRuns(dst, src []float32, n, w, pitch, step int) {
	if n == 0 || w == 0 {
		return
	}
	_, _ = dst[(w-1)*pitch+8*n-1], src[(w-1)*step+8*n-1]
	// Invariant: the line above; n, w, pitch and step are not negative.
	d, s := unsafe.Pointer(&dst[0]), unsafe.Pointer(&src[0])
	for i := range uintptr(w) {
		to, from := unsafe.Add(d, 4*i*uintptr(pitch)), unsafe.Add(s, 4*i*uintptr(step))
		for j := range uintptr(n) {
			*(*quad)(unsafe.Add(to, 32*j)) = *(*quad)(unsafe.Add(from, 32*j))
		}
	}
}

// exp64 is eˣ for -700 < x ≤ 0 and 0 below, log64 the logarithm of a positive
// normal number, both to about 1e-15, in one operation order without fused
// operations: the same bits on every CPU.
func exp64(x float64) float64 {
	if !(x > -700) {
		if x != x {
			return x
		}
		return 0
	}
	const (
		ln2hi = 6.93147180369123816490e-01
		ln2lo = 1.90821492927058770002e-10
	)
	n := math.Floor(float64(x*(1/math.Ln2)) + 0.5)
	r := x - float64(n*ln2hi) - float64(n*ln2lo)
	t, s := 1.0, 1.0
	for k := 1.0; k < 14; k++ {
		t = float64(t*r) / k
		s += t
	}
	return s * math.Float64frombits(uint64(int64(n)+1023)<<52)
}

func log64(x float64) float64 {
	b := math.Float64bits(x)
	e := int64(b>>52) - 1023
	m := math.Float64frombits(b&(1<<52-1) | 1023<<52)
	if m > math.Sqrt2 {
		m, e = m/2, e+1
	}
	s := (m - 1) / (m + 1)
	s2 := float64(s * s)
	t, sum := s, 0.0
	for k := 1.0; k < 24; k += 2 {
		sum += t / k
		t = float64(t * s2)
	}
	return float64(2*sum) + float64(float64(e)*math.Ln2)
}

// Softmax fills p with the softmax of x, computed in float64, and returns
// log Σ exp(x).
func Softmax(p []float64, x []float32) (logSum float64) {
	m := math.Inf(-1)
	for _, v := range x {
		if w := float64(v); w > m || w != w {
			m = w
		}
	}
	var z float64
	p = p[:len(x)]
	for i, v := range x {
		p[i] = exp64(float64(v) - m)
		z += p[i]
	}
	for i := range p {
		p[i] /= z
	}
	return m + log64(z)
}

// Doubles views b, whose first byte must be 8-byte aligned, as float64s.
func Doubles(b []byte) []float64 {
	if len(b) < 8 {
		return nil
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(p)%8 != 0 {
		panic("kern.Doubles: bytes are not aligned")
	}
	// Invariant: p is aligned and the view stays within b.
	return unsafe.Slice((*float64)(p), len(b)/8)
}
