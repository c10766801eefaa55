package quant

import (
	"context"
	"fmt"
	"maps"
	"math"

	"whit/compress/method"
	"whit/graph"
	"whit/internal/kern"
	"whit/op"
	"whit/plan"
	"whit/tensor"
	"whit/train"
)

// response is what the model gives for a few images as a function of its weights: to second
// order the divergence from the float model is a sum of squares, ½ Σ_k r_k². Of a model that decides it is
// that of its softened decisions,
//
//	KL(p || p') = ½ Σ_k r_k², r_k = √p_k (Δz_k - Σ_j p_j Δz_j)
//
// for logits z and p = softmax(z) of the float model (the Fisher information of a categorical
// distribution: J. Martens, New insights and perspectives on the natural gradient
// method, 2020, section 9). Any other model is taken for one whose outputs y are the means of normal
// distributions, as wide as the values of the output are over the images: r_k = Δy_k / σ, the mean taken over an output's
// elements and over outputs.
//
// Of more than maxDirs classes or elements some are drawn for each image, which gives the sum in the
// mean: classes from p, elements by sums of all under random signs (M. F. Hutchinson: A stochastic estimator
// of the trace of the influence matrix, 1990). rest holds the r of all images for the weights as they
// stand, and jacobians say how a weight moves them.
type response struct {
	s       *method.State
	decides bool
	soft    float64 // the temperature of p
	n, dirs int     // images; r's of an image
	size    int     // elements of an image
	x       []float32
	outs    []int     // numbers of the outputs that count
	dims    [][]int   // and an image's shape of each
	widths  []int     // and its elements
	width   int       // of them all
	float   []float32 // what the float model gives [n, width]
	p       []float64 // likewise, where it decides
	scale   []float64 // of each output: 1/σ and the means, else
	pick    []int32   // [dirs, n] the class of each r
	root    []float64 // [dirs, n] and what its √p_k is
	rest    []float32 // [dirs, n]
}

const (
	maxDirs  = 16      // the number of classes or elements up to which all count
	maxDrawn = 4096    // r's in all, where they are drawn
	maxTable = 1 << 29 // bytes of what jacobians hold at a time
)

// newResponse reads the first images of the training part, fewer where a table of the given number of columns would
// be too large for them.
func newResponse(ctx context.Context, s *method.State, images int, soft float64, cols int) (*response, error) {
	m := &response{s: s, decides: s.Metric.Decides(), soft: soft, size: 1}
	for _, d := range s.Train.Shape() {
		m.size *= d
	}
	most := maxTable / 4 / max(1, cols, m.size)
	if m.n = min(images, s.Train.Len(), most); m.n == 0 {
		return nil, fmt.Errorf("%d images, of which each would take over %d MiB", min(images, s.Train.Len()), maxTable>>20)
	}
	for i := range s.Graph.Outputs {
		if i == 0 || !m.decides {
			m.outs = append(m.outs, i)
		}
	}
	if err := m.read(ctx); err != nil {
		return nil, err
	}
	var err error
	if m.float, err = m.run(ctx, s.Graph); err != nil {
		return nil, err
	}
	if m.dirs = m.width; m.width > maxDirs {
		m.dirs = max(1, min(maxDirs, maxDrawn/m.n, most/m.n))
	} else if m.n = min(m.n, most/m.width); m.n == 0 {
		return nil, fmt.Errorf("an image would take over %d MiB", maxTable>>20)
	}
	if m.n < min(images, s.Train.Len()) {
		s.Tell(method.Event{Stage: "levels", Message: fmt.Sprintf("looks at %d images: more would not fit into %d MiB", m.n, maxTable>>20)})
	}
	m.rest = make([]float32, m.dirs*m.n)
	if m.decides {
		m.decisions()
	} else {
		m.spread()
	}
	return m, nil
}

// drawn reports whether rest is about some of the outputs only.
func (m *response) drawn() bool { return m.dirs < m.width }

// read reads the images.
func (m *response) read(ctx context.Context) error {
	m.x = make([]float32, m.n*m.size)
	idx, y := make([]int, m.n), make([]int32, m.n)
	for i := range idx {
		idx[i] = i
	}
	return m.s.Train.Read(ctx, idx, m.x, y)
}

// decisions sets p, and which class each r is about.
func (m *response) decisions() {
	m.p = make([]float64, m.n*m.width)
	m.pick, m.root = make([]int32, m.dirs*m.n), make([]float64, m.dirs*m.n)
	for i := range m.n {
		softmax(m.p[i*m.width:][:m.width], m.float[i*m.width:][:m.width], m.soft)
	}
	for r := range m.dirs {
		for i := range m.n {
			e, p := r*m.n+i, m.p[i*m.width:][:m.width]
			if m.width <= maxDirs {
				m.pick[e], m.root[e] = int32(r), math.Sqrt(p[r])
				continue
			}
			u := float64(op.Random(m.s.Seed, uint64(r), uint64(i))>>11) / (1 << 53)
			k := 0
			for ; k < m.width-1 && u >= p[k]; k++ {
				u -= p[k]
			}
			m.pick[e], m.root[e] = int32(k), math.Sqrt(1/float64(m.dirs))
		}
	}
}

// spread sets the scales of outputs: σ² is the variance over images, the mean of an output's elements, but
// at least a hundredth of the mean square.
func (m *response) spread() {
	at := 0
	for _, w := range m.widths {
		var vari, square float64
		for k := at; k < at+w; k++ {
			var one, two float64
			for i := range m.n {
				v := float64(m.float[i*m.width+k])
				one, two = one+v, two+float64(v*v)
			}
			square += two
			vari += two - float64(one*one)/float64(m.n)
		}
		each := float64(m.n * w)
		v := max(vari, square/100) / each
		if v == 0 {
			v = 1
		}
		m.scale = append(m.scale, 1/math.Sqrt(v*float64(w)*float64(len(m.widths))))
		at += w
	}
}

// seed sets to to how image i's outputs make up its r number dir.
func (m *response) seed(dir, i int, to []float32) {
	if m.decides {
		e := dir*m.n + i
		for k, p := range m.p[i*m.width:][:m.width] {
			d := -p
			if k == int(m.pick[e]) {
				d++
			}
			to[k] = float32(m.root[e] * d / m.soft)
		}
		return
	}
	all := !m.drawn()
	at := 0
	for o, w := range m.widths {
		v := float32(m.scale[o])
		if !all {
			v = float32(m.scale[o] / math.Sqrt(float64(m.dirs)))
		}
		for k := at; k < at+w; k++ {
			switch {
			case all && k != dir:
				to[k] = 0
			case !all && op.Random(m.s.Seed, uint64(i*m.dirs+dir), uint64(k))>>63 == 1:
				to[k] = -v
			default:
				to[k] = v
			}
		}
		at += w
	}
}

func softmax(p []float64, z []float32, soft float64) {
	top, sum := math.Inf(-1), 0.0
	for _, v := range z {
		top = max(top, float64(v))
	}
	for k, v := range z {
		p[k] = float64(kern.Exp(float32((float64(v) - top) / soft)))
		sum += p[k]
	}
	for k := range p {
		p[k] /= sum
	}
}

// batch is how many images run at a time.
func (m *response) batch() int { return max(1, min(50, m.n, 400_000/m.size)) }

// each runs prog on all images, batch by batch, and calls f with the session, bound to the n images
// from at on and their pixels set.
func (m *response) each(prog *plan.Program, in string, seeds map[string][]int, f func(s *plan.Session, at, n int) error) error {
	var sess *plan.Session
	have := 0
	for at := 0; at < m.n; at += m.batch() {
		n := min(m.batch(), m.n-at)
		if n != have {
			types := map[string]tensor.Type{in: {DType: tensor.Float32, Shape: append(tensor.Shape{n}, m.s.Train.Shape()...)}}
			for name, dims := range seeds {
				types[name] = tensor.Type{DType: tensor.Float32, Shape: append(tensor.Shape{n}, dims...)}
			}
			pl, err := prog.Plan(types)
			if err != nil {
				return err
			}
			if sess, err = pl.NewSession(); err != nil {
				return err
			}
			have = n
		}
		copy(tensor.Of[float32](sess.Input(in)), m.x[at*m.size:(at+n)*m.size])
		if err := f(sess, at, n); err != nil {
			return err
		}
	}
	return nil
}

// run is what g gives for all images [n, width].
func (m *response) run(ctx context.Context, g *graph.Graph) ([]float32, error) {
	if len(g.Inputs) != 1 || len(g.Outputs) == 0 {
		return nil, fmt.Errorf("the model has %d inputs and %d outputs, want one input and outputs", len(g.Inputs), len(g.Outputs))
	}
	c, _ := g.Clone()
	train.Demote(c)
	in := c.Inputs[0]
	if in.Decl.Ranked && len(in.Decl.Dims) > 0 {
		in.Decl.Dims[0].Size = -1
	}
	var ys []*graph.Value
	for _, i := range m.outs {
		ys = append(ys, c.Outputs[i])
	}
	c.Outputs = ys
	prog, err := plan.NewProgram(c, plan.Options{Threads: m.s.Threads})
	if err != nil {
		return nil, err
	}
	var z []float32
	err = m.each(prog, in.Name, nil, func(s *plan.Session, at, n int) error {
		if err := s.Run(ctx); err != nil {
			return err
		}
		if z == nil {
			m.widths, m.dims, m.width = nil, nil, 0
			for _, v := range ys {
				t := s.Output(v.Name)
				if t.DType != tensor.Float32 || len(t.Shape) < 2 || t.Shape[0] != n || m.decides && len(t.Shape) != 2 || t.Len() == 0 {
					return fmt.Errorf("output %q is %v, want float32[%d,...]", v.Name, t.Type, n)
				}
				m.dims = append(m.dims, t.Shape[1:].Clone())
				m.widths = append(m.widths, t.Len()/n)
				m.width += t.Len() / n
			}
			if m.width > maxTable/4/m.n {
				return fmt.Errorf("outputs of %d elements for %d images would take more than %d MiB: give fewer images", m.width, m.n, maxTable>>20)
			}
			z = make([]float32, m.n*m.width)
		}
		k := 0
		for o, v := range ys {
			y, w := tensor.Of[float32](s.Output(v.Name)), m.widths[o]
			if len(y) != n*w {
				return fmt.Errorf("output %q has %d elements for %d images, want %d", v.Name, len(y), n, n*w)
			}
			for i := range n {
				copy(z[(at+i)*m.width+k:][:w], y[i*w:])
			}
			k += w
		}
		return nil
	})
	return z, err
}

// measure sets rest to what the weights give now.
func (m *response) measure(ctx context.Context) error {
	z, err := m.run(ctx, m.s.Graph)
	if err != nil {
		return err
	}
	for i, v := range m.float[:m.n*m.width] {
		z[i] -= v
	}
	a := make([]float32, m.width)
	for dir := range m.dirs {
		for i := range m.n {
			m.seed(dir, i, a)
			m.rest[dir*m.n+i] = float32(dot(a, z[i*m.width:][:m.width]))
		}
	}
	return nil
}

// jacobian says how one constant's elements move the rest. Elements are visited row by
// row; grad and move are only valid between begin and end of the element's row.
type jacobian interface {
	begin(row int)
	grad(i int) float64    // of half the sum of squares, by element i of the constant
	norm(i int) float64    // half its second derivative
	pair(i, k int) float64 // and with element k of the same row
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

func (j *dense) norm(i int) float64 { return j.pair(i, i) }

func (j *dense) pair(i, k int) float64 {
	x, y := j.in(i), j.in(k)
	y, q := y[:len(x)], j.q[:len(x)]
	var even, odd float32
	t := 0
	for ; t+1 < len(x); t += 2 {
		even += float32(float32(x[t]*y[t]) * q[t])
		odd += float32(float32(x[t+1]*y[t+1]) * q[t+1])
	}
	if t < len(x) {
		even += float32(float32(x[t]*y[t]) * q[t])
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

func (j *table) begin(int)             {}
func (j *table) end(int)               {}
func (j *table) grad(i int) float64    { return dot(j.col(i), j.m.rest) }
func (j *table) norm(i int) float64    { return j.pair(i, i) }
func (j *table) pair(i, k int) float64 { return dot(j.col(i), j.col(k)) }
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

// suited reports whether jacobians are known of a layer's node; users are the readers of values.
func suited(l *method.Layer, users map[*graph.Value][]graph.Use) bool {
	n := l.Node
	if len(users[l.Weight.Value]) != 1 {
		return false
	}
	if n.Op == "Conv" {
		return true
	}
	return len(l.Weight.Value.Type.Shape) == 2 && n.Int("transA", 0) == 0 && n.Float("alpha", 1) == 1 && n.Float("beta", 1) == 1
}

// rows reports whether a layer's jacobian is dense, not a table.
func rows(l *method.Layer) bool { return l.Node.Op != "Conv" && l.OutAxis == 0 }

// builder collects a layer's jacobians batch by batch, direction by direction.
type builder struct {
	m     *response
	l     *method.Layer
	dense *dense
	w, b  *table
	grad  *convGrad
}

// jacobians are those of layers' weights and biases about the weights as they stand, of
// elements that are not fixed.
func (m *response) jacobians(ctx context.Context, layers []*method.Layer, fixed func(h *method.Held, i int) bool) (out [][2]jacobian, err error) {
	g, in := m.s.Graph, m.s.Graph.Inputs[0].Name
	var by, show []string
	for _, l := range layers {
		by, show = append(by, l.Node.Out[0].Name), append(show, l.Node.In[0].Name)
	}
	r, err := train.Response(g, m.s.Train.Shape(), m.batch(), m.outs, by, show)
	if err != nil {
		return nil, err
	}
	// The kernels of training are those that know gradients.
	prog, err := plan.NewProgram(r, plan.Options{Threads: m.s.Threads, Training: true})
	if err != nil {
		return nil, err
	}
	var bs []*builder
	for _, l := range layers {
		b := &builder{m: m, l: l}
		if l.Bias != nil {
			b.b = newTable(m, l.Bias, fixed)
		}
		if !rows(l) {
			b.w = newTable(m, &l.Weight, fixed)
		}
		bs = append(bs, b)
	}
	seeds := map[string][]int{}
	for o, i := range m.outs {
		seeds[train.SeedName(i)] = m.dims[o]
	}
	a := make([]float32, m.width)
	err = m.each(prog, in, seeds, func(s *plan.Session, at, n int) error {
		for dir := range m.dirs {
			for i := range n {
				m.seed(dir, at+i, a)
				k := 0
				for o, w := range m.widths {
					copy(tensor.Of[float32](s.Input(train.SeedName(m.outs[o])))[i*w:][:w], a[k:])
					k += w
				}
			}
			// Inputs of a session are its own until the next run.
			copy(tensor.Of[float32](s.Input(in)), m.x[at*m.size:(at+n)*m.size])
			if err := s.Run(ctx); err != nil {
				return err
			}
			for k, b := range bs {
				x := s.Output(show[k])
				if show[k] == in {
					x = s.Input(in)
				}
				if err := b.add(ctx, at, dir, x, s.Output(by[k]+":response")); err != nil {
					return fmt.Errorf("layer %s: %w", b.l.Name, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, b := range bs {
		pair := [2]jacobian{b.w, b.b}
		if b.dense != nil {
			pair[0] = b.dense
		}
		out = append(out, pair)
	}
	return out, nil
}

func newTable(m *response, h *method.Held, fixed func(h *method.Held, i int) bool) *table {
	t := &table{m: m, at: make([]int32, h.Len())}
	n := 0
	for i := range t.at {
		t.at[i] = -1
		if !fixed(h, i) {
			t.at[i] = int32(n)
			n++
		}
	}
	t.cols = make([]float32, n*len(m.rest))
	return t
}

func (b *builder) add(ctx context.Context, from, r int, xt, gt *tensor.Tensor) error {
	m := b.m
	x, g := tensor.Of[float32](xt), tensor.Of[float32](gt)
	batch := xt.Shape[0]
	outs := b.l.Weight.Value.Type.Shape[b.l.OutAxis]
	if b.b != nil {
		if len(b.b.at) != outs {
			return fmt.Errorf("a bias of %d for %d outputs", len(b.b.at), outs)
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
		return b.conv(ctx, from, r, xt, gt)
	}
	if len(xt.Shape) != 2 {
		return fmt.Errorf("input %v, want a matrix", xt.Shape)
	}
	k := xt.Shape[1]
	if b.w == nil && b.dense == nil {
		b.dense = &dense{m: m, k: k, x: make([]float32, k*m.n), g: make([]float32, outs*m.dirs*m.n),
			s: make([]float32, m.n), q: make([]float32, m.n), took: make([]float32, m.n)}
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

// convGrad gives the gradients of a convolution's weight for images one by one: as one
// gradient of a convolution whose groups are the images.
type convGrad struct {
	n    int
	sess *plan.Session
}

// maxGrad is how many elements of such gradients are made at a time.
const maxGrad = 1 << 22

// conv adds a batch of images.
func (b *builder) conv(ctx context.Context, from, r int, xt, gt *tensor.Tensor) error {
	m, shape := b.m, b.l.Weight.Value.Type.Shape
	x, g := tensor.Of[float32](xt), tensor.Of[float32](gt)
	batch, size := xt.Shape[0], shape.NumElements()
	px, pg := len(x)/batch, len(g)/batch
	for at := 0; at < batch; {
		n := min(batch-at, max(1, maxGrad/size))
		if b.grad == nil || b.grad.n != n {
			var err error
			if b.grad, err = newConvGrad(b.l.Node, n, xt.Shape, gt.Shape, shape, m.s.Threads); err != nil {
				return err
			}
		}
		s := b.grad.sess
		copy(tensor.Of[float32](s.Input("x")), x[at*px:(at+n)*px])
		copy(tensor.Of[float32](s.Input("dy")), g[at*pg:(at+n)*pg])
		if err := s.Run(ctx); err != nil {
			return err
		}
		dw := tensor.Of[float32](s.Output("dw"))
		for e, c := range b.w.at {
			if c < 0 {
				continue
			}
			col := b.w.col(e)[r*m.n+from+at:]
			for i := range n {
				col[i] = dw[i*size+e]
			}
		}
		at += n
	}
	return nil
}

func newConvGrad(node *graph.Node, n int, x, dy, w tensor.Shape, threads int) (*convGrad, error) {
	g := graph.New("convgrad")
	join := func(s tensor.Shape, first int) tensor.Shape {
		s = s.Clone()
		s[0] = first
		s[1] *= n
		return s
	}
	xs, dys, ws := join(x, 1), join(dy, 1), w.Clone()
	ws[0] *= n
	attrs := maps.Clone(node.Attrs)
	if attrs == nil {
		attrs = map[string]any{}
	}
	attrs["group"] = node.Int("group", 1) * int64(n)
	out := g.Add(graph.Domain, "ConvGradW", attrs, g.AddInput("dy", tensor.Float32, dys...), g.AddInput("x", tensor.Float32, xs...), g.NewConst("w", tensor.New(tensor.Float32, ws...)))
	out.Name = "dw"
	g.Outputs = []*graph.Value{out}
	prog, err := plan.NewProgram(g, plan.Options{Threads: threads, Training: true})
	if err != nil {
		return nil, err
	}
	pl, err := prog.Plan(map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: xs}, "dy": {DType: tensor.Float32, Shape: dys}})
	if err != nil {
		return nil, err
	}
	sess, err := pl.NewSession()
	if err != nil {
		return nil, err
	}
	return &convGrad{n, sess}, nil
}
