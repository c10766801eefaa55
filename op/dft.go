package op

import (
	"math"
	"math/bits"
	"math/cmplx"

	"whit/graph"
	"whit/tensor"
)

// Fourier transforms. Signals have a last axis of 1 (real) or 2 (real and imaginary part).
func init() {
	// DFT transforms x along the axis of input 2 (-2 without it), cut or padded with
	// zeros to dft_length (input 1): Y[k] = Σ_n x[n]·exp(-2πi·kn/N), with inverse the
	// other way and divided by N. With onesided a real signal gives the N/2+1 terms
	// that determine the rest, and the inverse takes them.
	Register(Op{
		Name: "DFT",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			d, err := newDFT(n)
			if err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: n.In[0].Type.DType, Shape: d.out}}, nil
		},
		Ref: refDFT,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			d, err := newDFT(n)
			if err != nil {
				return 0, IOBytes(n)
			}
			return fourierMACs(d.n) * int64(d.in.NumElements()/max(1, d.in[d.axis]*d.in[len(d.in)-1])), IOBytes(n)
		},
	})
	// STFT transforms frames of a signal [N,length,1 or 2]: frame_length (input 3, or
	// the window's, or the signal's) elements every frame_step (input 1), times the
	// window (input 2, ones without it): y [N,frames,terms,2]. onesided is the default.
	Register(Op{
		Name: "STFT",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			s, err := newSTFT(n)
			if err != nil {
				return nil, err
			}
			y := tensor.Shape{n.In[0].Type.Shape[0], s.frames, s.terms, 2}
			return []tensor.Type{{DType: n.In[0].Type.DType, Shape: y}}, nil
		},
		Ref: refSTFT,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			s, err := newSTFT(n)
			if err != nil {
				return 0, IOBytes(n)
			}
			return fourierMACs(s.length) * int64(s.frames) * int64(n.In[0].Type.Shape[0]), IOBytes(n)
		},
	})
}

type dft struct {
	axis, n int
	in, out tensor.Shape
}

// scalarInt is the integer of input i, def where it is absent.
func scalarInt(n *graph.Node, i int, def int64) (int64, error) {
	v := n.Input(i)
	if v == nil {
		return def, nil
	}
	if v.Type.Shape.NumElements() != 1 {
		return 0, Errorf(n, "input %d has shape %v, want a scalar", i, v.Type.Shape)
	}
	t, err := Ints(n, i)
	if err != nil {
		return 0, err
	}
	return t[0], nil
}

func newDFT(n *graph.Node) (*dft, error) {
	if err := Want(n, 1, 3); err != nil {
		return nil, err
	}
	if err := floatInput(n, 0); err != nil {
		return nil, err
	}
	x := n.In[0].Type.Shape
	r := len(x)
	if r < 2 || x[r-1] != 1 && x[r-1] != 2 {
		return nil, Errorf(n, "x has shape %v, want a last axis of 1 or 2", x)
	}
	a, err := scalarInt(n, 2, -2)
	if err != nil {
		return nil, err
	}
	axis, err := normAxis(n, a, r)
	if err != nil {
		return nil, err
	}
	if axis == r-1 {
		return nil, Errorf(n, "axis %d is that of the complex parts", a)
	}
	inverse, onesided := n.Int("inverse", 0) != 0, n.Int("onesided", 0) != 0
	length := int64(x[axis])
	if inverse && onesided {
		length = 2 * (length - 1)
	}
	if length, err = scalarInt(n, 1, length); err != nil {
		return nil, err
	}
	if length < 1 || length > math.MaxInt32 {
		return nil, Errorf(n, "dft_length is %d", length)
	}
	d := &dft{axis: axis, n: int(length), in: x, out: x.Clone()}
	d.out[axis], d.out[r-1] = d.n, 2
	if onesided {
		if (x[r-1] == 2) != inverse {
			return nil, Errorf(n, "onesided takes real signals, and complex ones where it is the inverse")
		}
		if d.out[axis] = d.n/2 + 1; inverse {
			d.out[axis], d.out[r-1] = d.n, 1
		}
	}
	return d, nil
}

// refDFT works in float64, but the inverse in float32 unless the signal is float64, as
// numpy does: terms that cancel keep its noise.
func refDFT(n *graph.Node, in, out []*tensor.Tensor) error {
	d, err := newDFT(withData(n, in))
	if err != nil {
		return err
	}
	inverse, onesided := n.Int("inverse", 0) != 0, n.Int("onesided", 0) != 0
	if inverse {
		return float(func(_ *graph.Node, in, out []*tensor.Tensor) error {
			dftOf(d, vals[float32](in[0]), vals[float32](out[0]), true, onesided)
			return nil
		}, func(_ *graph.Node, in, out []*tensor.Tensor) error {
			dftOf(d, vals[float64](in[0]), vals[float64](out[0]), true, onesided)
			return nil
		})(n, in[:1], out)
	}
	y := make([]float64, out[0].Len())
	dftOf(d, wide(in[0]), y, false, onesided)
	narrow(out[0], y)
	return nil
}

func dftOf[T Float](d *dft, x, y []T, inverse, onesided bool) {
	parts, oparts := d.in[len(d.in)-1], d.out[len(d.out)-1]
	inner := d.in[d.axis+1 : len(d.in)-1].NumElements()
	f, buf := newFourier[T](d.n, inverse), make([]pair[T], d.n)
	// Only the terms up to the middle are read of a one-sided spectrum.
	given := min(d.n, d.in[d.axis])
	if inverse && onesided {
		given = min(d.n/2+1, d.in[d.axis])
	}
	for o := range d.in[:d.axis].NumElements() {
		for i := range inner {
			clear(buf)
			for k := range given {
				p := ((o*d.in[d.axis]+k)*inner + i) * parts
				v := pair[T]{re: x[p]}
				if parts == 2 {
					v.im = x[p+1]
				}
				buf[k] = v
				if m := d.n - k; inverse && onesided && k > 0 && m > k {
					buf[m] = pair[T]{v.re, -v.im}
				}
			}
			f.transform(buf)
			for k := range d.out[d.axis] {
				p := ((o*d.out[d.axis]+k)*inner + i) * oparts
				y[p] = buf[k].re
				if oparts == 2 {
					y[p+1] = buf[k].im
				}
			}
		}
	}
}

type stft struct{ step, length, frames, terms int }

func newSTFT(n *graph.Node) (*stft, error) {
	if err := Want(n, 2, 4); err != nil {
		return nil, err
	}
	for _, i := range []int{0, 2} {
		if err := floatInput(n, i); err != nil {
			return nil, err
		}
	}
	if err := oneType(n, 0, 2); err != nil {
		return nil, err
	}
	x := n.In[0].Type.Shape
	if len(x) != 3 || x[2] != 1 && x[2] != 2 {
		return nil, Errorf(n, "signal has shape %v, want [N,length,1] or [N,length,2]", x)
	}
	step, err := scalarInt(n, 1, 0)
	if err != nil {
		return nil, err
	}
	length := int64(x[1])
	w := n.Input(2)
	if w != nil {
		if len(w.Type.Shape) != 1 {
			return nil, Errorf(n, "window has shape %v, want a vector", w.Type.Shape)
		}
		length = int64(w.Type.Shape[0])
	}
	if length, err = scalarInt(n, 3, length); err != nil {
		return nil, err
	}
	if step < 1 || length < 1 || length > int64(x[1]) || w != nil && length != int64(w.Type.Shape[0]) {
		return nil, Errorf(n, "frames of %d every %d of a signal of %d", length, step, x[1])
	}
	s := &stft{step: int(min(step, math.MaxInt32)), length: int(length), terms: int(length)}
	s.frames = (x[1]-s.length)/s.step + 1
	if n.Int("onesided", 1) != 0 {
		if x[2] == 2 {
			return nil, Errorf(n, "onesided takes real signals")
		}
		s.terms = s.length/2 + 1
	}
	return s, nil
}

func refSTFT(n *graph.Node, in, out []*tensor.Tensor) error {
	s, err := newSTFT(withData(n, in))
	if err != nil {
		return err
	}
	xs := in[0].Shape
	x, y := wide(in[0]), make([]float64, out[0].Len())
	var window []float64
	if len(in) > 2 {
		window = wide(in[2])
	}
	f, buf := newFourier[float64](s.length, false), make([]pair[float64], s.length)
	for i := range xs[0] * s.frames {
		b, start := i/s.frames, i%s.frames*s.step
		for k := range buf {
			p, w := (b*xs[1]+start+k)*xs[2], 1.0
			if window != nil {
				w = window[k]
			}
			if buf[k] = (pair[float64]{re: w * x[p]}); xs[2] == 2 {
				buf[k].im = w * x[p+1]
			}
		}
		f.transform(buf)
		for k := range s.terms {
			y[2*(i*s.terms+k)], y[2*(i*s.terms+k)+1] = buf[k].re, buf[k].im
		}
	}
	narrow(out[0], y)
	return nil
}

// withData is n with its inputs as constants, for type rules that look at data.
func withData(n *graph.Node, in []*tensor.Tensor) *graph.Node {
	m := *n
	m.In = make([]*graph.Value, len(n.In))
	for i, v := range n.In {
		if v != nil {
			m.In[i] = &graph.Value{Name: v.Name, Kind: graph.Const, Type: in[i].Type, Data: in[i]}
		}
	}
	return &m
}

// pair is a complex number.
type pair[T Float] struct{ re, im T }

func (a pair[T]) times(b pair[T]) pair[T] {
	return pair[T]{T(a.re*b.re) - T(a.im*b.im), T(a.re*b.im) + T(a.im*b.re)}
}

func (a pair[T]) plus(b pair[T]) pair[T]  { return pair[T]{a.re + b.re, a.im + b.im} }
func (a pair[T]) minus(b pair[T]) pair[T] { return pair[T]{a.re - b.re, a.im - b.im} }

// root is exp(-2πi·k/n), rounded once.
func root[T Float](k, n int) pair[T] {
	s, c := math.Sincos(-2 * math.Pi * float64(k) / float64(n))
	return pair[T]{T(c), T(s)}
}

// fourier transforms n complex numbers in the precision of T, which decides the
// noise in terms that cancel: by splitting off the least prime factor (Cooley, Tukey:
// An algorithm for the machine calculation of complex Fourier series, 1965), the even
// and odd parts of odd factors apart (Singleton: An algorithm for computing the mixed
// radix fast Fourier transform, 1969); what has large prime factors only, as the
// convolution with a chirp, in float64.
type fourier[T Float] struct {
	n       int
	inverse bool
	roots   []pair[T] // of n
	work    []pair[T]
	chirps  map[int]*chirp
}

// maxRadix is the largest prime factor that is split off.
const maxRadix = 31

func newFourier[T Float](n int, inverse bool) *fourier[T] {
	f := &fourier[T]{n: n, inverse: inverse, roots: make([]pair[T], n), work: make([]pair[T], n), chirps: map[int]*chirp{}}
	for k := range f.roots {
		f.roots[k] = root[T](k, n)
	}
	return f
}

// transform works in place.
func (f *fourier[T]) transform(x []pair[T]) {
	if f.inverse {
		for i := range x {
			x[i].im = -x[i].im
		}
	}
	f.split(x, f.work)
	if f.inverse {
		by := T(1 / float64(f.n))
		for i, v := range x {
			x[i] = pair[T]{v.re * by, -v.im * by}
		}
	}
}

// radix is the least prime factor of n, n itself where none is small.
func radix(n int) int {
	for p := 2; p <= maxRadix; p++ {
		if n%p == 0 {
			return p
		}
	}
	return n
}

// split transforms x; work is as long.
func (f *fourier[T]) split(x, work []pair[T]) {
	n := len(x)
	if n <= 1 {
		return
	}
	p := radix(n)
	if p > maxRadix {
		if f.chirps[n] == nil {
			f.chirps[n] = newChirp(n)
		}
		w := make([]complex128, n)
		for i, v := range x {
			w[i] = complex(float64(v.re), float64(v.im))
		}
		f.chirps[n].transform(w)
		for i, v := range w {
			x[i] = pair[T]{T(real(v)), T(imag(v))}
		}
		return
	}
	m, by := n/p, f.n/n
	var in, out [maxRadix]pair[T]
	for i := range m {
		for j := range p {
			in[j] = x[i+j*m]
		}
		butterfly(in[:p], out[:p], f.roots, f.n/p)
		work[i] = out[0]
		for r := 1; r < p; r++ {
			work[r*m+i] = out[r].times(f.roots[r*i*by])
		}
	}
	for r := range p {
		f.split(work[r*m:(r+1)*m], x[r*m:(r+1)*m])
	}
	for r := range p {
		for k := range m {
			x[p*k+r] = work[r*m+k]
		}
	}
}

// butterfly is the transform of a small prime number of terms, the roots of which
// are the by-th of roots.
func butterfly[T Float](x, y, roots []pair[T], by int) {
	p := len(x)
	if p == 2 {
		y[0], y[1] = x[0].plus(x[1]), x[0].minus(x[1])
		return
	}
	y[0] = x[0]
	for j := 1; j <= p/2; j++ {
		y[0] = y[0].plus(x[j].plus(x[p-j]))
	}
	for r := 1; r <= p/2; r++ {
		a, b := x[0], pair[T]{}
		for j := 1; j <= p/2; j++ {
			w, s, d := roots[r*j%p*by], x[j].plus(x[p-j]), x[j].minus(x[p-j])
			a = pair[T]{a.re + T(w.re*s.re), a.im + T(w.re*s.im)}
			b = pair[T]{b.re + T(w.im*d.im), b.im + T(w.im*d.re)}
		}
		b.re = -b.re
		y[r], y[p-r] = a.plus(b), a.minus(b)
	}
}

// chirp transforms any number of terms as a convolution (Bluestein: A linear filtering
// approach to the computation of discrete Fourier transform, 1970) of length m, a
// power of two.
type chirp struct {
	roots        []complex128 // exp(-2πi·k/m), k below m/2
	sweep        []complex128 // exp(-πi·k²/n)
	kernel, work []complex128 // the transform of its inverse; m long
}

func newChirp(n int) *chirp {
	m := 1 << bits.Len(uint(2*n-2))
	c := &chirp{roots: make([]complex128, m/2), sweep: make([]complex128, n), kernel: make([]complex128, m), work: make([]complex128, m)}
	for k := range c.roots {
		r := root[float64](k, m)
		c.roots[k] = complex(r.re, r.im)
	}
	for k := range c.sweep {
		r := root[float64](int(uint64(k)*uint64(k)%uint64(2*n)), 2*n)
		c.sweep[k] = complex(r.re, r.im)
		c.kernel[k] = cmplx.Conj(c.sweep[k])
		c.kernel[(m-k)%m] = c.kernel[k]
	}
	c.halving(c.kernel)
	return c
}

// transform works in place.
func (c *chirp) transform(x []complex128) {
	w := c.work
	clear(w)
	for i, v := range x {
		w[i] = v * c.sweep[i]
	}
	c.halving(w)
	for i, v := range c.kernel { // conjugated: the way back is the transform of the conjugate
		w[i] = cmplx.Conj(w[i] * v)
	}
	c.halving(w)
	for i := range x {
		x[i] = cmplx.Conj(w[i]) * c.sweep[i] / complex(float64(len(w)), 0)
	}
}

// halving is the transform of a power of two of numbers.
func (c *chirp) halving(x []complex128) {
	m := len(x)
	shift := 64 - bits.Len(uint(m-1))
	for i := range x {
		if j := int(bits.Reverse64(uint64(i)) >> shift); i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	for h := 1; h < m; h *= 2 {
		for i := 0; i < m; i += 2 * h {
			for k := range h {
				a, b := x[i+k], x[i+h+k]*c.roots[k*(m/(2*h))]
				x[i+k], x[i+h+k] = a+b, a-b
			}
		}
	}
}

// fourierMACs counts the multiplications of complex numbers as four.
func fourierMACs(n int) (macs int64) {
	for total := int64(n); n > 1; {
		p := radix(n)
		if p > maxRadix {
			m := int64(1) << bits.Len(uint(2*n-2))
			return macs + total/int64(n)*12*m*int64(bits.Len(uint(n)))
		}
		macs += 4 * total * int64(p)
		n /= p
	}
	return macs
}
