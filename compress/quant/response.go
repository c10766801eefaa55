package quant

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"

	"whit/compress/method"
	"whit/graph"
	"whit/internal/kern"
	"whit/op"
	"whit/plan"
	"whit/tensor"
	"whit/train"
)

// response is the model's decisions on a few images as a function of its weights: to
// second order the divergence of the decisions from the float model's is a sum of squares,
//
//	KL(p || p') = ½ Σ_k r_k², r_k = √p_k (Δz_k - Σ_j p_j Δz_j)
//
// for logits z and p = softmax(z) of the float model (the Fisher information of a categorical
// distribution: J. Martens, New insights and perspectives on the natural gradient
// method, 2020, section 9). Of more than maxDirs classes maxDirs are drawn from p for each image, which gives the
// sum in the mean. rest holds the r of all images for the weights as they
// stand, and jacobians say how a weight moves them.
type response struct {
	s       *method.State
	soft    float64 // the temperature of p
	n, dirs int     // images; r's of an image
	size    int     // elements of an image
	x       []float32
	logits  []float64 // of the float model [n, classes]
	p       []float64 // likewise
	classes int
	pick    []int32   // [dirs, n] the class of each r
	root    []float64 // [dirs, n] and what its √p_k is
	rest    []float32 // [dirs, n]
}

// maxDirs is the number of classes up to which all count.
const maxDirs = 16

// newResponse reads the first images of the training part.
func newResponse(ctx context.Context, s *method.State, images int, soft float64) (*response, error) {
	ds := method.First(s.Train, min(images, s.Train.Len()))
	m := &response{s: s, soft: soft, n: ds.Len(), size: 1}
	for _, d := range ds.Shape() {
		m.size *= d
	}
	m.x = make([]float32, m.n*m.size)
	idx, y := make([]int, m.n), make([]int32, m.n)
	for i := range idx {
		idx[i] = i
	}
	if err := ds.Read(ctx, idx, m.x, y); err != nil {
		return nil, err
	}
	z, classes, err := m.run(ctx, s.Graph)
	if err != nil {
		return nil, err
	}
	m.logits, m.classes = z, classes
	m.p = make([]float64, len(z))
	for i := range m.n {
		softmax(m.p[i*classes:(i+1)*classes], z[i*classes:(i+1)*classes], soft)
	}
	m.dirs = min(classes, maxDirs)
	m.rest, m.pick, m.root = make([]float32, m.dirs*m.n), make([]int32, m.dirs*m.n), make([]float64, m.dirs*m.n)
	for r := range m.dirs {
		for i := range m.n {
			e, p := r*m.n+i, m.p[i*classes:][:classes]
			if classes <= maxDirs {
				m.pick[e], m.root[e] = int32(r), math.Sqrt(p[r])
				continue
			}
			u := float64(op.Random(s.Seed, uint64(r), uint64(i))>>11) / (1 << 53)
			k := 0
			for ; k < classes-1 && u >= p[k]; k++ {
				u -= p[k]
			}
			m.pick[e], m.root[e] = int32(k), math.Sqrt(1/float64(m.dirs))
		}
	}
	return m, nil
}

func softmax(p, z []float64, soft float64) {
	top, sum := math.Inf(-1), 0.0
	for _, v := range z {
		top = max(top, v)
	}
	for k, v := range z {
		p[k] = float64(kern.Exp(float32((v - top) / soft)))
		sum += p[k]
	}
	for k := range p {
		p[k] /= sum
	}
}

// images is the calibration images as a dataset.
type images struct{ m *response }

func (d images) Len() int          { return d.m.n }
func (d images) Shape() []int      { return d.m.s.Train.Shape() }
func (d images) Hash(int) [32]byte { return [32]byte{} }
func (d images) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	for k, i := range idx {
		copy(x[k*d.m.size:(k+1)*d.m.size], d.m.x[i*d.m.size:])
		y[k] = 0
	}
	return nil
}

func (m *response) run(ctx context.Context, g *graph.Graph) (z []float64, classes int, err error) {
	e, err := train.Evaluate(ctx, g, images{m}, train.EvalOptions{Threads: m.s.Threads, Logits: true})
	if err != nil {
		return nil, 0, err
	}
	z = make([]float64, len(e.Logits))
	for i, v := range e.Logits {
		z[i] = float64(v)
	}
	return z, e.Classes, nil
}

// measure sets rest to what the weights give now.
func (m *response) measure(ctx context.Context) error {
	z, _, err := m.run(ctx, m.s.Graph)
	if err != nil {
		return err
	}
	for i := range m.n {
		at, p := i*m.classes, m.p[i*m.classes:][:m.classes]
		mean := 0.0
		for k := range p {
			mean += float64(p[k] * (z[at+k] - m.logits[at+k]))
		}
		for r := range m.dirs {
			e := r*m.n + i
			k := at + int(m.pick[e])
			m.rest[e] = float32(m.root[e] * (z[k] - m.logits[k] - mean) / m.soft)
		}
	}
	return nil
}

// jacobian says how one constant's elements move the rest. Elements are visited row by
// row; grad and move are only valid between begin and end of the element's row.
type jacobian interface {
	begin(row int)
	grad(i int) float64 // of half the sum of squares, by element i of the constant
	norm(i int) float64 // half its second derivative
	move(i int, by float32)
	end(row int)
}

// dense is the jacobian of a fully connected layer whose rows are output units: element
// (o, k) moves r_n of an image n by x_kn g_onr. Within a row the images' sums over r suffice.
type dense struct {
	m          *response
	k          int
	x          []float32 // [k, n] inputs
	g          []float32 // [o, dirs, n] what an output moves
	s, q, took []float32 // Σ_r g r, Σ_r g², Σ_k moved x_k
}

func (j *dense) begin(o int) {
	n := j.m.n
	clear(j.s)
	clear(j.q)
	clear(j.took)
	for r := range j.m.dirs {
		g := j.g[(o*j.m.dirs+r)*n:][:n]
		rest := j.m.rest[r*n:][:n]
		for i, v := range g {
			j.s[i] += float32(v * rest[i])
			j.q[i] += float32(v * v)
		}
	}
}

func (j *dense) in(i int) []float32 { return j.x[i%j.k*j.m.n:][:j.m.n] }

func (j *dense) grad(i int) float64 { return dot(j.in(i), j.s) }

func (j *dense) norm(i int) float64 {
	x := j.in(i)
	q := j.q[:len(x)]
	var even, odd float32
	t := 0
	for ; t+1 < len(x); t += 2 {
		even += float32(float32(x[t]*x[t]) * q[t])
		odd += float32(float32(x[t+1]*x[t+1]) * q[t+1])
	}
	if t < len(x) {
		even += float32(float32(x[t]*x[t]) * q[t])
	}
	return float64(even) + float64(odd)
}

func (j *dense) move(i int, by float32) {
	x := j.in(i)
	s, q, took := j.s[:len(x)], j.q[:len(x)], j.took[:len(x)]
	for t, v := range x {
		v *= by
		took[t] += v
		s[t] += float32(v * q[t])
	}
}

func (j *dense) end(o int) {
	n := j.m.n
	for r := range j.m.dirs {
		g := j.g[(o*j.m.dirs+r)*n:][:n]
		rest := j.m.rest[r*n:][:n]
		for i, v := range g {
			rest[i] += float32(v * j.took[i])
		}
	}
}

// table is a jacobian by its columns, of those elements that may be other than zero.
type table struct {
	m    *response
	at   []int32   // of an element: its column, or -1
	cols []float32 // [columns, dirs*n]
}

func (j *table) col(i int) []float32 {
	n := len(j.m.rest)
	return j.cols[int(j.at[i])*n:][:n]
}

func (j *table) begin(int)          {}
func (j *table) end(int)            {}
func (j *table) grad(i int) float64 { return dot(j.col(i), j.m.rest) }
func (j *table) norm(i int) float64 { c := j.col(i); return dot(c, c) }
func (j *table) move(i int, by float32) {
	c := j.col(i)
	rest := j.m.rest[:len(c)]
	for t, v := range c {
		rest[t] += float32(v * by)
	}
}

// dot sums in four strands, in float64 by blocks, whose order is fixed.
func dot(a, b []float32) float64 {
	b = b[:len(a)]
	sum := 0.0
	for len(a) > 0 {
		k := min(len(a), 256)
		x, y := a[:k], b[:k]
		var s0, s1, s2, s3 float32
		i := 0
		for ; i+3 < len(x); i += 4 {
			s0 += float32(x[i] * y[i])
			s1 += float32(x[i+1] * y[i+1])
			s2 += float32(x[i+2] * y[i+2])
			s3 += float32(x[i+3] * y[i+3])
		}
		for ; i < len(x); i++ {
			s0 += float32(x[i] * y[i])
		}
		sum += float64(s0+s1) + float64(s2+s3)
		a, b = a[k:], b[k:]
	}
	return sum
}

// maxTable bounds a table, in bytes.
const maxTable = 1 << 30

// suited reports whether jacobians are known of a layer's node.
func suited(l *method.Layer) bool {
	n := l.Node
	if n.Op == "Conv" {
		pad := n.Str("auto_pad", "NOTSET")
		return len(l.Weight.Value.Type.Shape) == 4 && (pad == "NOTSET" || pad == "VALID")
	}
	return len(l.Weight.Value.Type.Shape) == 2 && n.Int("transA", 0) == 0 && n.Float("alpha", 1) == 1 && n.Float("beta", 1) == 1
}

// jacobians are those of a layer's weight and bias about the weights as they stand, of
// elements that are not fixed.
func (m *response) jacobians(ctx context.Context, l *method.Layer, fixed func(h *method.Held, i int) bool) (out [2]jacobian, err error) {
	g, shape := m.s.Graph, m.s.Train.Shape()
	in, from := g.Inputs[0].Name, l.Node.In[0].Name
	const batch = 50
	r, err := train.Response(g, shape, batch, []string{l.Node.Out[0].Name}, []string{from})
	if err != nil {
		return out, err
	}
	// The kernels of training are those that know gradients.
	prog, err := plan.NewProgram(r, plan.Options{Threads: m.s.Threads, Training: true})
	if err != nil {
		return out, err
	}
	b := &builder{m: m, l: l, fixed: fixed}
	var sess *plan.Session
	have := 0
	for at := 0; at < m.n; at += batch {
		n := min(batch, m.n-at)
		if n != have {
			pl, err := prog.Plan(map[string]tensor.Type{
				in:             {DType: tensor.Float32, Shape: append(tensor.Shape{n}, shape...)},
				train.NameSeed: {DType: tensor.Float32, Shape: tensor.Shape{n, m.classes}},
			})
			if err != nil {
				return out, err
			}
			if sess, err = pl.NewSession(); err != nil {
				return out, err
			}
			have = n
		}
		for dir := range m.dirs {
			copy(tensor.Of[float32](sess.Input(in)), m.x[at*m.size:(at+n)*m.size])
			seed := tensor.Of[float32](sess.Input(train.NameSeed))
			for i := range n {
				p := m.p[(at+i)*m.classes:][:m.classes]
				e := dir*m.n + at + i
				for k := range p {
					d := -p[k]
					if k == int(m.pick[e]) {
						d++
					}
					seed[i*m.classes+k] = float32(m.root[e] * d / m.soft)
				}
			}
			if err := sess.Run(ctx); err != nil {
				return out, err
			}
			x := sess.Output(from)
			if from == in {
				x = sess.Input(in)
			}
			if err := b.add(at, dir, x, sess.Output(r.Outputs[0].Name)); err != nil {
				return out, err
			}
		}
	}
	out[0] = b.w
	if b.dense != nil {
		out[0] = b.dense
	}
	if b.b != nil {
		out[1] = b.b
	}
	return out, nil
}

// builder collects a layer's jacobians batch by batch, direction by direction.
type builder struct {
	m     *response
	l     *method.Layer
	fixed func(h *method.Held, i int) bool
	dense *dense
	w, b  *table
}

func newTable(m *response, h *method.Held, fixed func(h *method.Held, i int) bool) (*table, error) {
	t := &table{m: m, at: make([]int32, h.Len())}
	n := 0
	for i := range t.at {
		t.at[i] = -1
		if !fixed(h, i) {
			t.at[i] = int32(n)
			n++
		}
	}
	if n > 0 && n > maxTable/4/len(m.rest) {
		return nil, fmt.Errorf("%d weights on %d images would take more than %d MiB: give fewer images", n, m.n, maxTable>>20)
	}
	t.cols = make([]float32, n*len(m.rest))
	return t, nil
}

func (b *builder) add(from, r int, xt, gt *tensor.Tensor) (err error) {
	m, h := b.m, &b.l.Weight
	shape := h.Value.Type.Shape
	x, g := tensor.Of[float32](xt), tensor.Of[float32](gt)
	batch := xt.Shape[0]
	outs := shape[b.l.OutAxis]
	if bias := b.l.Bias; bias != nil {
		if b.b == nil {
			if b.b, err = newTable(m, bias, b.fixed); err != nil {
				return err
			}
		}
		if bias.Len() != outs {
			return fmt.Errorf("a bias of %d for %d outputs", bias.Len(), outs)
		}
		pixels := len(g) / batch / outs
		for i := range batch {
			for o := range outs {
				if b.b.at[o] < 0 {
					continue
				}
				sum := float32(0)
				for _, v := range g[(i*outs+o)*pixels:][:pixels] {
					sum += v
				}
				b.b.col(o)[r*m.n+from+i] = sum
			}
		}
	}
	if b.l.Node.Op == "Conv" {
		if b.w == nil {
			if b.w, err = newTable(m, h, b.fixed); err != nil {
				return err
			}
		}
		return b.conv(from, r, xt, gt)
	}
	if len(xt.Shape) != 2 {
		return fmt.Errorf("input %v, want a matrix", xt.Shape)
	}
	k := xt.Shape[1]
	if b.dense == nil && b.w == nil {
		if b.l.OutAxis == 0 {
			if most := maxTable / 4 / m.n; k > most || outs*m.dirs > most {
				return fmt.Errorf("%d inputs and %d outputs on %d images would take more than %d MiB: give fewer images", k, outs, m.n, maxTable>>20)
			}
			b.dense = &dense{m: m, k: k, x: make([]float32, k*m.n), g: make([]float32, outs*m.dirs*m.n),
				s: make([]float32, m.n), q: make([]float32, m.n), took: make([]float32, m.n)}
		} else if b.w, err = newTable(m, h, b.fixed); err != nil {
			return err
		}
	}
	for i := range batch {
		xi, gi := x[i*k:][:k], g[i*outs:][:outs]
		if b.dense != nil {
			if r == 0 {
				for c, v := range xi {
					b.dense.x[c*m.n+from+i] = v
				}
			}
			for o, v := range gi {
				b.dense.g[(o*m.dirs+r)*m.n+from+i] = v
			}
			continue
		}
		for e, c := range b.w.at {
			if c >= 0 {
				b.w.col(e)[r*m.n+from+i] = float32(xi[e/outs] * gi[e%outs])
			}
		}
	}
	return nil
}

// conv adds a batch of images: element (o, c, u, v) moves by the sum over pixels of what
// the output moves times the input's pixel under (c, u, v).
func (b *builder) conv(from, r int, xt, gt *tensor.Tensor) error {
	n, m := b.l.Node, b.m
	ws := b.l.Weight.Value.Type.Shape
	two := func(name string, def int) [2]int {
		if v := n.Ints(name); len(v) >= 2 {
			return [2]int{int(v[0]), int(v[1])} // of the pads these are the ones before
		}
		return [2]int{def, def}
	}
	stride, dilation, pad := two("strides", 1), two("dilations", 1), two("pads", 0)
	x, g := tensor.Of[float32](xt), tensor.Of[float32](gt)
	outs, oh, ow := gt.Shape[1], gt.Shape[2], gt.Shape[3]
	ih, iw := xt.Shape[2], xt.Shape[3]
	group := int(n.Int("group", 1))
	kernel := ws[2] * ws[3]
	each := ws[1] * kernel
	var wg sync.WaitGroup
	// Units write columns of their own, so that the workers do not show.
	workers := m.s.Threads
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	for k := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			type tap struct{ c, u, v, col int }
			for o := k; o < outs; o += workers {
				var taps []tap
				for e := range each {
					if col := b.w.at[o*each+e]; col >= 0 {
						c := e/kernel + o/(outs/group)*ws[1]
						taps = append(taps, tap{c, e % kernel / ws[3], e % ws[3], o*each + e})
					}
				}
				for i := range xt.Shape[0] {
					img := x[i*xt.Shape[1]*ih*iw:]
					var ys, xs []int
					var gs []float32
					for p, v := range g[(i*outs+o)*oh*ow:][:oh*ow] {
						if v != 0 {
							ys, xs, gs = append(ys, p/ow*stride[0]-pad[0]), append(xs, p%ow*stride[1]-pad[1]), append(gs, v)
						}
					}
					for _, t := range taps {
						plane := img[t.c*ih*iw:][:ih*iw]
						dy, dx := t.u*dilation[0], t.v*dilation[1]
						sum := float32(0)
						for q, v := range gs {
							y, z := ys[q]+dy, xs[q]+dx
							if y >= 0 && y < ih && z >= 0 && z < iw {
								sum += float32(v * plane[y*iw+z])
							}
						}
						b.w.col(t.col)[r*m.n+from+i] = sum
					}
				}
			}
		}()
	}
	wg.Wait()
	return nil
}
