package kernel

import (
	"math"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// BatchNormalization and its gradient in training, 2-D, float32, NHWC. Sums are
// float64, by image and then over the images in order, so that neither workers nor
// CPUs show; the variance is of the differences from the mean, as in the reference.
func init() {
	Register(Kernel{
		Op: "BatchNormalization", Name: "f32_batchnorm_train", Priority: 50,
		Match: func(n *graph.Node, e *Env) bool { return trainNormMatch(n, e, n.In[0]) },
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			l := Layouts{In: make([]graph.Layout, len(in)), Out: make([]graph.Layout, len(n.Out))}
			l.In[0], l.Out[0] = pixels(n.In[0], in[0]), graph.Layout{Order: graph.NHWC}
			return l
		},
		Prepare: prepareTrainNorm,
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

func trainNormMatch(n *graph.Node, e *Env, x *graph.Value) bool {
	if !e.Training || n.Int("training_mode", 0) == 0 || n.Out[0] == nil || !trainConvMatch(n, x, x, n.Out[0]) {
		return false
	}
	for _, v := range n.In {
		if v.Type.DType != tensor.Float32 {
			return false
		}
	}
	return true
}

// pixel calls f with the offset of every pixel of image i, in order.
func (m *image) pixel(i int, f func(at int)) {
	for y := range m.h {
		at := m.start + i*m.img + y*m.row
		for range m.w {
			f(at)
			at += m.px
		}
	}
}

// total sums the images' parts of one quantity: c channels of an image follow each other.
func total(dst, parts []float64, images int) {
	clear(dst)
	for i := range images {
		for c, v := range parts[i*len(dst):][:len(dst)] {
			dst[c] += v
		}
	}
}

// means are the phases that leave the mean of every channel of input in at mean in
// the doubles of Temp, with the sums by image at parts.
func means(m image, in, mean, parts int) []Phase {
	return []Phase{
		{Tiles: m.n, Run: func(call *Call, img int, _ []byte) {
			x, s := f32s(call.In[in]), kern.Doubles(call.Temp)[parts+img*m.c:][:m.c]
			clear(s)
			m.pixel(img, func(at int) {
				for c, v := range x[at:][:len(s)] {
					s[c] += float64(v)
				}
			})
		}},
		{Tiles: 1, Run: func(call *Call, _ int, _ []byte) {
			t := kern.Doubles(call.Temp)
			mu := t[mean:][:m.c]
			total(mu, t[parts:], m.n)
			for c := range mu {
				mu[c] /= float64(m.n * m.h * m.w)
			}
		}},
	}
}

// prepareTrainNorm: y = (x - mean)·scale/sqrt(var+epsilon) + bias; a tile is an image.
func prepareTrainNorm(n *graph.Node, _ *Env) (*Prepared, error) {
	m, out := imageOf(n.In[0]), n.Out[0]
	d := imageOf(out)
	eps, keep, count := float64(n.Float("epsilon", 1e-5)), float64(n.Float("momentum", 0.9)), float64(m.n*m.h*m.w)
	mean, factor, parts := 0, m.c, 2*m.c
	phases := append(means(m, 0, mean, parts),
		Phase{Tiles: m.n, Run: func(call *Call, img int, _ []byte) {
			t := kern.Doubles(call.Temp)
			x, mu, s := f32s(call.In[0]), t[mean:][:m.c], t[parts+img*m.c:][:m.c]
			clear(s)
			m.pixel(img, func(at int) {
				for c, v := range x[at:][:len(s)] {
					r := float64(v) - mu[c]
					s[c] += float64(r * r)
				}
			})
		}},
		Phase{Tiles: 1, Run: func(call *Call, _ int, _ []byte) {
			t := kern.Doubles(call.Temp)
			mu, a := t[mean:][:m.c], t[factor:][:m.c]
			scale := f32s(call.In[1])
			total(a, t[parts:], m.n)
			for c := range a {
				variance := a[c] / count
				a[c] = float64(scale[c]) / math.Sqrt(variance+eps)
				for k, v := range [2]float64{mu[c], variance} {
					if k+1 < len(call.Out) && call.Out[k+1] != nil {
						f32s(call.Out[k+1])[c] = float32(float64(keep*float64(f32s(call.In[3+k])[c])) + float64((1-keep)*v))
					}
				}
			}
		}},
		Phase{Tiles: m.n, Run: func(call *Call, img int, _ []byte) {
			t := kern.Doubles(call.Temp)
			x, y, mu, a, bias := f32s(call.In[0]), f32s(call.Out[0]), t[mean:][:m.c], t[factor:][:m.c], f32s(call.In[2])
			clearHalo(out, d, y, img)
			to, k := d.start+img*d.img, 0
			m.pixel(img, func(at int) {
				p := y[to+k/d.w*d.row+k%d.w*d.px:][:len(mu)]
				k++
				for c, v := range x[at:][:len(mu)] {
					p[c] = float32(float64(a[c]*(float64(v)-mu[c])) + float64(bias[c]))
				}
			})
		}})
	return &Prepared{Phases: phases, Temp: 8 * (2 + m.n) * m.c}, nil
}

// prepareTrainNormGrad: with r = x - mean, inv = 1/sqrt(var+epsilon) and sums over a channel,
//
//	dbias = Σdy, dscale = inv·Σ dy·r, dx = (dy - dbias/count - r·inv·dscale/count)·scale·inv
func prepareTrainNormGrad(n *graph.Node, _ *Env) (*Prepared, error) {
	g, m, out := imageOf(n.In[0]), imageOf(n.In[1]), n.Out[0]
	d := imageOf(out)
	eps, count := float64(n.Float("epsilon", 1e-5)), float64(m.n*m.h*m.w)
	mean, sums, parts := 0, m.c, 4*m.c // the sums are of r², dy and dy·r
	each := m.n * m.c
	phases := append(means(m, 1, mean, parts),
		Phase{Tiles: m.n, Run: func(call *Call, img int, _ []byte) {
			t := kern.Doubles(call.Temp)
			dy, x, mu := f32s(call.In[0]), f32s(call.In[1]), t[mean:][:m.c]
			s2, sy, sr := t[parts+img*m.c:][:m.c], t[parts+each+img*m.c:][:m.c], t[parts+2*each+img*m.c:][:m.c]
			clear(s2)
			clear(sy)
			clear(sr)
			from, k := g.start+img*g.img, 0
			m.pixel(img, func(at int) {
				q := dy[from+k/g.w*g.row+k%g.w*g.px:][:len(mu)]
				k++
				for c, v := range x[at:][:len(mu)] {
					r, e := float64(v)-mu[c], float64(q[c])
					s2[c] += float64(r * r)
					sy[c] += e
					sr[c] += float64(e * r)
				}
			})
		}},
		Phase{Tiles: 1, Run: func(call *Call, _ int, _ []byte) {
			t := kern.Doubles(call.Temp)
			// What replaces the sums: the factor of all, what is taken off dy, the factor of r.
			all, off, of := t[sums:][:m.c], t[sums+m.c:][:m.c], t[sums+2*m.c:][:m.c]
			total(all, t[parts:], m.n)
			total(off, t[parts+each:], m.n)
			total(of, t[parts+2*each:], m.n)
			scale := f32s(call.In[2])
			for c := range all {
				inv := 1 / math.Sqrt(all[c]/count+eps)
				ds, db := inv*of[c], off[c]
				for k, v := range [2]float64{ds, db} {
					if k+1 < len(call.Out) && call.Out[k+1] != nil {
						f32s(call.Out[k+1])[c] = float32(v)
					}
				}
				all[c], off[c], of[c] = float64(scale[c])*inv, db/count, inv*ds/count
			}
		}},
		Phase{Tiles: m.n, Run: func(call *Call, img int, _ []byte) {
			t := kern.Doubles(call.Temp)
			dy, x, dx, mu := f32s(call.In[0]), f32s(call.In[1]), f32s(call.Out[0]), t[mean:][:m.c]
			all, off, of := t[sums:][:m.c], t[sums+m.c:][:m.c], t[sums+2*m.c:][:m.c]
			clearHalo(out, d, dx, img)
			from, to, k := g.start+img*g.img, d.start+img*d.img, 0
			m.pixel(img, func(at int) {
				row, col := k/d.w, k%d.w
				q, p := dy[from+row*g.row+col*g.px:][:len(mu)], dx[to+row*d.row+col*d.px:][:len(mu)]
				k++
				for c, v := range x[at:][:len(mu)] {
					p[c] = float32((float64(q[c]) - off[c] - float64((float64(v)-mu[c])*of[c])) * all[c])
				}
			})
		}})
	return &Prepared{Phases: phases, Temp: 8 * (4 + 3*m.n) * m.c}, nil
}
