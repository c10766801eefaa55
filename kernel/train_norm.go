package kernel

import (
	"math"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// BatchNormalization, and its gradient in training, 2-D, float32, NHWC. Sums are
// float64, by image and then over the images in order, so that neither workers nor
// CPUs show. They are of the differences from the first pixel, which lies near the mean:
// the variance is Σr² less (Σr)² over the count, in one pass and without cancellation.
func init() {
	Register(Kernel{
		Op: "BatchNormalization", Name: "f32_batchnorm_train", Priority: 50,
		Match:   func(n *graph.Node, e *Env) bool { return trainNormMatch(n, e, n.In[0]) },
		Layout:  normLayout,
		Prepare: prepareTrainNorm,
	})
	// By given moments: what stands between a convolution and something else, or where a graph is not folded.
	Register(Kernel{
		Op: "BatchNormalization", Name: "f32_batchnorm", Priority: 50,
		Match: func(n *graph.Node, e *Env) bool {
			x := n.In[0].Type.Shape
			return n.Int("training_mode", 0) == 0 && !n.In[0].IsConst() && len(x) == 4 && x.NumElements() > 0 && allFloat32(n)
		},
		Layout:  normLayout,
		Prepare: prepareNorm,
	})
	Register(Kernel{
		Domain: graph.Domain, Op: "BatchNormalizationGrad", Name: "f32_batchnormgrad_train", Priority: 50,
		Match: func(n *graph.Node, e *Env) bool { return trainNormMatch(n, e, n.In[1]) },
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			l := Layouts{In: make([]graph.Layout, len(in)), Out: make([]graph.Layout, len(n.Out))}
			l.In[0], l.In[1], l.Out[0] = pixels(n.In[0], in[0]), pixels(n.In[1], in[1]), graph.Layout{Order: graph.NHWC}
			return l
		},
		Prepare: prepareTrainNormGrad,
	})
}

func normLayout(n *graph.Node, in []graph.Layout) Layouts {
	l := Layouts{In: make([]graph.Layout, len(in)), Out: make([]graph.Layout, len(n.Out))}
	l.In[0], l.Out[0] = pixels(n.In[0], in[0]), graph.Layout{Order: graph.NHWC}
	return l
}

func trainNormMatch(n *graph.Node, e *Env, x *graph.Value) bool {
	if !e.Training || n.Int("training_mode", 0) == 0 || n.Out[0] == nil || !trainConvMatch(n, x, x, n.Out[0]) {
		return false
	}
	return allFloat32(n)
}

func allFloat32(n *graph.Node) bool {
	for _, v := range n.In {
		if v.Type.DType != tensor.Float32 {
			return false
		}
	}
	return true
}

// pixelRuns cuts the pixels of images of one shape into runs that lie evenly apart in all
// of them and stay in a first-level cache.
type pixelRuns struct{ rows, cols, step int }

func pixelRunsOf(ms ...image) pixelRuns {
	m := ms[0]
	r := pixelRuns{rows: 1, cols: m.h * m.w, step: max(1, 2048/m.c)}
	for _, o := range ms {
		if o.row != o.w*o.px {
			r.rows, r.cols = m.h, m.w
		}
	}
	return r
}

// count is the number of runs of an image.
func (r *pixelRuns) count() int { return r.rows * r.parts() }

func (r *pixelRuns) parts() int { return (r.cols + r.step - 1) / r.step }

// run is the row and column where run i begins, and its pixels.
func (r *pixelRuns) run(i int) (row, col, n int) {
	col = i % r.parts() * r.step
	return i / r.parts(), col, min(r.step, r.cols-col)
}

// at is the place of a pixel of image i.
func (m *image) at(i, row, col int) int { return m.start + i*m.img + row*m.row + col*m.px }

// total sums the images' parts of one quantity: a part of c channels for each image, step apart.
func total(dst, parts []float64, images, step int) {
	clear(dst)
	for i := range images {
		for c, v := range parts[i*step:][:len(dst)] {
			dst[c] += v
		}
	}
}

// normState is where Temp holds doubles: vectors of a number a channel, then each
// image's sums. The pivot of all sums is the first pixel.
type normState struct {
	m       image
	vectors int // of them the first is the pivot
	sums    int // an image
}

func (s *normState) bytes() int { return 8 * s.m.c * (s.vectors + s.m.n*s.sums) }

func (s *normState) vector(call *Call, i int) []float64 {
	return kern.Doubles(call.Temp)[i*s.m.c:][:s.m.c]
}

// of is sum i of an image.
func (s *normState) of(call *Call, img, i int) []float64 {
	return s.vector(call, s.vectors+img*s.sums+i)
}

// begin is the phase that sets the pivot.
func (s *normState) begin(in int) Phase {
	return Phase{Tiles: 1, Run: func(call *Call, _ int, _ []byte) {
		x := f32s(call.In[in])[s.m.start:]
		for c := range s.m.c {
			s.vector(call, 0)[c] = float64(x[c])
		}
	}}
}

// clear makes an image's sums zero and returns them.
func (s *normState) clear(call *Call, img int) kern.NormSums {
	clear(kern.Doubles(call.Temp)[(s.vectors+img*s.sums)*s.m.c:][:s.sums*s.m.c])
	r := kern.NormSums{Pivot: s.vector(call, 0), R: s.of(call, img, 0), RR: s.of(call, img, 1)}
	if s.sums > 2 {
		r.DY, r.DYR = s.of(call, img, 2), s.of(call, img, 3)
	}
	return r
}

// total sums sum i of all images into vector v.
func (s *normState) total(call *Call, i, v int) []float64 {
	dst := s.vector(call, v)
	total(dst, kern.Doubles(call.Temp)[(s.vectors+i)*s.m.c:], s.m.n, s.sums*s.m.c)
	return dst
}

// apply is the phase that makes out of input 0, by the vectors mean, factor and bias; a tile is an image.
func (s *normState) apply(out *graph.Value, k kern.Norm) Phase {
	m, d := s.m, imageOf(out)
	both := pixelRunsOf(m, d)
	return Phase{Tiles: m.n, Run: func(call *Call, img int, _ []byte) {
		x, y := f32s(call.In[0]), f32s(call.Out[0])
		mean, factor, bias := s.vector(call, 0), s.vector(call, 1), s.vector(call, 2)
		clearHalo(out, d, y, img)
		for i := range both.count() {
			row, col, n := both.run(i)
			k.Apply(y[d.at(img, row, col):], x[m.at(img, row, col):], mean, factor, bias, n, d.px, m.px)
		}
	}}
}

// moments makes of the sums of r and r² the mean of r and the variance.
func moments(r, rr, count float64) (mean, variance float64) {
	mean = r / count
	variance = (rr - float64(mean*r)) / count
	if variance < 0 {
		variance = 0 // rounding
	}
	return mean, variance
}

// prepareTrainNorm: y = (x - mean)·scale/sqrt(var+epsilon) + bias; a tile is an image.
func prepareTrainNorm(n *graph.Node, e *Env) (*Prepared, error) {
	m, out, k := imageOf(n.In[0]), n.Out[0], kern.NormOf(e.CPU)
	eps, keep, count := float64(n.Float("epsilon", 1e-5)), float64(n.Float("momentum", 0.9)), float64(m.n*m.h*m.w)
	// Vectors: the pivot, then the mean; the factor; the bias.
	s := normState{m: m, vectors: 3, sums: 2}
	in := pixelRunsOf(m)
	return &Prepared{Temp: s.bytes(), Phases: []Phase{
		s.begin(0),
		{Tiles: m.n, Run: func(call *Call, img int, _ []byte) {
			x, sums := f32s(call.In[0]), s.clear(call, img)
			for i := range in.count() {
				row, col, n := in.run(i)
				k.Forward(&sums, x[m.at(img, row, col):], n, m.px)
			}
		}},
		{Tiles: 1, Run: func(call *Call, _ int, _ []byte) {
			mean, bias := s.vector(call, 0), s.total(call, 0, 2)
			factor, scale := s.total(call, 1, 1), f32s(call.In[1])
			for c := range mean {
				r, variance := moments(bias[c], factor[c], count)
				mean[c] += r
				factor[c] = float64(scale[c]) / math.Sqrt(variance+eps)
				bias[c] = float64(f32s(call.In[2])[c])
				for k, v := range [2]float64{mean[c], variance} {
					if k+1 < len(call.Out) && call.Out[k+1] != nil {
						f32s(call.Out[k+1])[c] = float32(float64(keep*float64(f32s(call.In[3+k])[c])) + float64((1-keep)*v))
					}
				}
			}
		}},
		s.apply(out, k),
	}}, nil
}

// prepareNorm: y = (x - mean)·scale/sqrt(var+epsilon) + bias; a tile is an image.
func prepareNorm(n *graph.Node, e *Env) (*Prepared, error) {
	eps := float64(n.Float("epsilon", 1e-5))
	// Vectors: the mean; the factor; the bias.
	s := normState{m: imageOf(n.In[0]), vectors: 3}
	return &Prepared{Temp: s.bytes(), Phases: []Phase{
		{Tiles: 1, Run: func(call *Call, _ int, _ []byte) {
			for c := range s.m.c {
				s.vector(call, 0)[c] = float64(f32s(call.In[3])[c])
				s.vector(call, 1)[c] = float64(f32s(call.In[1])[c]) / math.Sqrt(float64(f32s(call.In[4])[c])+eps)
				s.vector(call, 2)[c] = float64(f32s(call.In[2])[c])
			}
		}},
		s.apply(n.Out[0], kern.NormOf(e.CPU)),
	}}, nil
}

// prepareTrainNormGrad: with r = x - mean, inv = 1/sqrt(var+epsilon) and sums over a channel,
//
//	dbias = Σdy, dscale = inv·Σ dy·r, dx = (dy - dbias/count - r·inv·dscale/count)·scale·inv
func prepareTrainNormGrad(n *graph.Node, e *Env) (*Prepared, error) {
	g, m, out, k := imageOf(n.In[0]), imageOf(n.In[1]), n.Out[0], kern.NormOf(e.CPU)
	d := imageOf(out)
	eps, count := float64(n.Float("epsilon", 1e-5)), float64(m.n*m.h*m.w)
	// Vectors: the pivot, then the mean; what is taken off dy; the factor of r; that of all;
	// the mean less the pivot.
	s := normState{m: m, vectors: 5, sums: 4}
	in, all := pixelRunsOf(m, g), pixelRunsOf(m, g, d)
	return &Prepared{Temp: s.bytes(), InPlace: []int{0}, Phases: []Phase{
		s.begin(1),
		{Tiles: m.n, Run: func(call *Call, img int, _ []byte) {
			dy, x, sums := f32s(call.In[0]), f32s(call.In[1]), s.clear(call, img)
			for i := range in.count() {
				row, col, n := in.run(i)
				k.Backward(&sums, dy[g.at(img, row, col):], x[m.at(img, row, col):], n, g.px, m.px)
			}
		}},
		{Tiles: 1, Run: func(call *Call, _ int, _ []byte) {
			mean, scale := s.vector(call, 0), f32s(call.In[2])
			off, slope, factor, shift := s.total(call, 2, 1), s.total(call, 3, 2), s.total(call, 1, 3), s.total(call, 0, 4)
			for c := range mean {
				r, variance := moments(shift[c], factor[c], count)
				mean[c] += r
				inv, db := 1/math.Sqrt(variance+eps), off[c]
				ds := inv * (slope[c] - float64(r*db))
				for k, v := range [2]float64{ds, db} {
					if k+1 < len(call.Out) && call.Out[k+1] != nil {
						f32s(call.Out[k+1])[c] = float32(v)
					}
				}
				factor[c], off[c], slope[c] = float64(scale[c])*inv, db/count, inv*ds/count
			}
		}},
		{Tiles: m.n, Run: func(call *Call, img int, _ []byte) {
			dy, x, dx := f32s(call.In[0]), f32s(call.In[1]), f32s(call.Out[0])
			mean, off, slope, factor := s.vector(call, 0), s.vector(call, 1), s.vector(call, 2), s.vector(call, 3)
			clearHalo(out, d, dx, img)
			for i := range all.count() {
				row, col, n := all.run(i)
				k.Gradient(dx[d.at(img, row, col):], dy[g.at(img, row, col):], x[m.at(img, row, col):],
					mean, off, slope, factor, n, d.px, g.px, m.px)
			}
		}},
	}}, nil
}
