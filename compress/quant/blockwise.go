package quant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
	"whit/train"
	"whit/weight"
)

// Blockwise repairs a compressed model block by block with gradient steps, where least squares of single layers do not see what is not
// linear between them (Y. Li et al.: BRECQ: Pushing the limit of post-training quantization by block reconstruction,
// 2021, section 3.2): a block reads what the compressed layers before it give, and shall give what the float model gives there. It
// needs no labels. It deviates in that
//
//   - levels are not relaxed by a sigmoid: weights move freely at first, then those nearest to a level take it, half of what
//     is left at a time, and the others make good for them (A. Zhou et al.: Incremental network
//     quantization, 2017, section 3, by distance and not by size);
//   - scales of channels and biases are trained along; pruned weights stay zero;
//   - a block counts as its values do, all alike: no Fisher information is taken. Of the last one each output counts by its
//     squares, by each sample's where the metric is cosine;
//   - a block that images which were not fitted to do not like stays as it was.
var Blockwise = &method.Method{
	Name: "blockwise",
	Doc:  "fits blocks of layers to the float model's values by gradient steps, levels included; needs no labels",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers may move: globs, joined by commas"},
		{Name: "block", Kind: method.Int, Default: 3, Min: 0, Max: 1000, Doc: "layers in a block, at least; 0: the whole model is one"},
		{Name: "images", Kind: method.Int, Default: 256, Min: 8, Max: 1e5, Doc: "images of the training part that are looked at, without their labels; a quarter judges"},
		{Name: "steps", Kind: method.Int, Default: 300, Min: 1, Max: 1e6, Doc: "gradient steps for each block"},
		{Name: "batch", Kind: method.Int, Default: 32, Min: 1, Max: 1 << 16, Doc: "samples a step"},
		{Name: "lr", Kind: method.Float, Default: 0.01, Min: 1e-9, Max: 1, Doc: "learning rate, in steps between levels; of weights without levels in their mean magnitude"},
	},
	Apply: blockwise,
}

func blockwise(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	if s.Train == nil || s.Train.Len() < 8 {
		return errors.New("blockwise: it takes at least 8 images")
	}
	if s.OnIntegers() {
		return errors.New("blockwise: the model runs on integers; it comes before the step activations")
	}
	foldNorms(s)
	base := s.Base
	if base == nil {
		base = s.Float
	}
	n := min(a.Int("images"), s.Train.Len())
	for _, g := range []*graph.Graph{s.Graph, base} {
		m, err := fitting(g, s.Train, n)
		if err != nil {
			return err
		}
		n = max(min(n, m), min(8, n))
	}
	held := max(1, n/4)
	fit := *s
	fit.Train = part{s.Train, 0, n - held}
	judging := *s
	judging.Train = part{s.Train, n - held, held}
	j, err := newJudge(ctx, &judging, base, held)
	if err != nil {
		return fmt.Errorf("blockwise: %w", err)
	}
	w := &blocks{s: s, base: base, layers: layers, a: a}
	for i, g := range []*graph.Graph{base, s.Graph} {
		if w.walks[i], err = newWalk(ctx, g, fit.Train, n-held, s.Threads); err != nil {
			return fmt.Errorf("blockwise: %w", err)
		}
	}
	if err := w.cut(a.Int("block")); err != nil {
		return fmt.Errorf("blockwise: %w", err)
	}
	far := func() (float64, error) {
		g, err := s.Freeze()
		if err != nil {
			return 0, err
		}
		fs, err := j.far(ctx, g)
		return total(fs), err
	}
	was, err := far()
	if err != nil {
		return fmt.Errorf("blockwise: %w", err)
	}
	for i, b := range w.list {
		saved := map[*method.Held]method.Held{}
		data := map[*method.Held]*tensor.Tensor{}
		for _, l := range b.layers {
			for _, h := range []*method.Held{&l.Weight, l.Bias} {
				if h != nil {
					saved[h], data[h] = *h, h.Value.Data
				}
			}
		}
		if err := w.fit(ctx, b); errors.Is(err, train.ErrNoGradient) {
			s.Refuse(fmt.Sprintf("blockwise: the block up to %s", b.names[0]), err.Error())
			continue
		} else if err != nil {
			return fmt.Errorf("blockwise: block up to %s: %w", b.names[0], err)
		}
		now, err := far()
		if err != nil {
			return fmt.Errorf("blockwise: %w", err)
		}
		s.Tell(method.Event{Stage: "blockwise", Message: fmt.Sprintf("up to %s: outputs off by %.3g, were by %.3g", b.names[0], now, was), Done: float64(i + 1), Total: float64(len(w.list))})
		if !(now < was) {
			for h, v := range saved {
				*h = v
				h.Value.Data = data[h]
			}
			continue
		}
		was = now
	}
	return stage(ctx, s, "blockwise")
}

// blocks cuts a graph where one value alone goes on.
type blocks struct {
	s      *method.State
	base   *graph.Graph
	layers []*method.Layer
	a      method.Args
	walks  [2]*walk // of base and the state's graph
	list   []*piece
}

// piece is a block: the nodes from..to-1, which read the value in and make those of names.
type piece struct {
	from, to int
	in       string
	names    []string
	layers   []*method.Layer
}

// cut makes the blocks. Where the base computes no such value there is no cut.
func (w *blocks) cut(least int) error {
	g := w.s.Graph
	outputs := map[*graph.Value]bool{}
	last := map[*graph.Value]int{}
	for i, n := range g.Nodes {
		for _, v := range n.In {
			last[v] = i
		}
	}
	for _, v := range g.Outputs {
		outputs[v] = true
		last[v] = len(g.Nodes)
	}
	of := map[*graph.Node]*method.Layer{}
	for _, l := range w.layers {
		of[l.Node] = l
	}
	here, err := bound(g, w.s.Train)
	if err != nil {
		return err
	}
	there, err := bound(w.base, w.s.Train)
	if err != nil {
		return err
	}
	b := &piece{in: g.Inputs[0].Name}
	live := map[*graph.Value]bool{g.Inputs[0]: true}
	left := len(w.layers)
	for i, n := range g.Nodes {
		if l := of[n]; l != nil {
			b.layers = append(b.layers, l)
			left--
		}
		varies := slices.ContainsFunc(n.In, func(v *graph.Value) bool { return live[v] })
		for _, v := range n.Out {
			if v != nil && varies {
				live[v] = true
			}
		}
		var on []*graph.Value
		for v := range live {
			if last[v] > i {
				on = append(on, v)
			}
		}
		if least == 0 || len(b.layers) < least || left < least || len(on) != 1 || outputs[on[0]] || on[0].Producer == nil || on[0].Producer.Out[0] != on[0] {
			continue
		}
		x, y := here.Find(on[0].Name), there.Find(on[0].Name)
		if x == nil || y == nil || y.Kind != graph.Computed || !x.Type.Equal(y.Type) || x.Type.DType != tensor.Float32 || len(x.Type.Shape) < 2 {
			continue
		}
		b.to, b.names = i+1, []string{on[0].Name}
		w.list = append(w.list, b)
		b = &piece{from: i + 1, in: on[0].Name}
	}
	b.to = len(g.Nodes)
	for _, v := range g.Outputs {
		b.names = append(b.names, v.Name)
	}
	if len(b.layers) > 0 {
		w.list = append(w.list, b)
	}
	w.list = slices.DeleteFunc(w.list, func(b *piece) bool { return len(b.layers) == 0 })
	if len(w.list) == 0 {
		return errors.New("no layer is there to be moved")
	}
	return nil
}

// blockData are samples of what a block reads and of what it shall give, with how much each output counts.
type blockData struct {
	size int
	x    [][]float32
}

func (d *blockData) Len() int            { return len(d.x) }
func (d *blockData) Shape() []int        { return []int{d.size} }
func (d *blockData) Hash(i int) [32]byte { return [32]byte{byte(i), byte(i >> 8), byte(i >> 16)} }

// Read implements train.Dataset; no sample has a class.
func (d *blockData) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	for k, i := range idx {
		copy(x[k*d.size:(k+1)*d.size], d.x[i])
		if y != nil {
			y[k] = -1
		}
	}
	return nil
}

// moving is a layer whose values are trained.
type moving struct {
	l       *method.Layer
	u, t, b string    // names of the params: levels or moves of weights, moves of scales, moves of the bias
	scale   []float32 // of an element
	lo, hi  float32   // of levels
	levels  bool
	bias    []float32
	unit    float32 // of the bias
	fixed   []bool
}

// fit trains a block.
func (w *blocks) fit(ctx context.Context, b *piece) error {
	s := w.s
	frozen, err := s.Freeze()
	if err != nil {
		return err
	}
	// What it reads, and what it shall give.
	var shape tensor.Shape
	d := &blockData{}
	add := func(t *tensor.Tensor, at int) (n int) {
		x := tensor.Of[float32](t)
		n = t.Shape[0]
		for i := range n {
			if at+i == len(d.x) {
				d.x = append(d.x, nil)
			}
			d.x[at+i] = append(d.x[at+i], x[i*len(x)/n:(i+1)*len(x)/n]...)
		}
		return n
	}
	all := func(k int, g *graph.Graph, name string) error {
		if name == g.Inputs[0].Name {
			at := 0
			for _, v := range w.walks[k].live {
				shape = v[name].Shape
				at += add(v[name], at)
			}
			return nil
		}
		at := 0
		return w.walks[k].to(ctx, g, name, true, func(_ int, t *tensor.Tensor) error {
			if t.DType != tensor.Float32 || len(t.Shape) < 1 || k == 1 && at > 0 && len(t.Shape) != len(shape) {
				return fmt.Errorf("value %q is %v", name, t.Type)
			}
			if k == 1 {
				shape = t.Shape
			}
			at += add(t, at)
			return nil
		})
	}
	if err := all(1, frozen, b.in); err != nil {
		return err
	}
	xs := len(d.x[0])
	ends := []int{xs}
	for _, name := range b.names {
		if err := all(0, w.base, name); err != nil {
			return err
		}
		ends = append(ends, len(d.x[0]))
	}
	alike := s.Metric == method.Cosine && b.to == len(s.Graph.Nodes)
	for o := range b.names {
		sq := make([]float64, len(d.x))
		mean := 0.0
		for i, x := range d.x {
			for _, v := range x[ends[o]:ends[o+1]] {
				sq[i] += float64(v) * float64(v)
			}
			mean += sq[i] / float64(len(d.x))
		}
		for i := range d.x {
			c := mean
			if alike {
				c = max(sq[i], mean/20)
			}
			d.x[i] = append(d.x[i], float32(1/max(c, 1e-20)))
		}
	}
	d.size = len(d.x[0])
	g, ms, err := w.graph(b, shape, xs, d.size)
	if err != nil {
		return err
	}
	o := train.Options{Batch: min(w.a.Int("batch"), d.Len()), Optimizer: "adam", LR: w.a.Float("lr"), Seed: s.Seed, Threads: s.Threads, LRMult: map[string]float64{}}
	each := (d.Len() + o.Batch - 1) / o.Batch
	o.Epochs = max(1, w.a.Int("steps")/each)
	for _, m := range ms {
		for _, p := range []string{m.t, m.b} {
			if p != "" {
				o.LRMult[p] = 0.1
			}
		}
	}
	o.Extra = func(l train.Loss) (*graph.Value, error) { return w.loss(l, b, ends, d.size) }
	t, err := train.New(g, d, o)
	if err != nil {
		return err
	}
	defer t.Close()
	steps := o.Epochs * each
	for k := 1; !t.Done(); k++ {
		if _, err := t.Step(ctx); err != nil {
			return err
		}
		for _, m := range ms {
			m.settle(t, k, steps)
		}
	}
	for _, m := range ms {
		if err := m.take(s, t); err != nil {
			return fmt.Errorf("layer %s: %w", m.l.Name, err)
		}
	}
	return nil
}

// graph is the block as a model that reads samples of size numbers, the first xs of them its input.
func (w *blocks) graph(b *piece, shape tensor.Shape, xs, size int) (*graph.Graph, []*moving, error) {
	c, m := w.s.Graph.Clone()
	sub := graph.New("block")
	in := sub.AddInput("block:in", tensor.Float32, -1, size)
	x := sub.Add("", "Slice", nil, in, sub.NewConst("", tensor.Ints(0)), sub.NewConst("", tensor.Ints(int64(xs))), sub.NewConst("", tensor.Ints(1)))
	dims := []int64{-1}
	for _, d := range shape[1:] {
		dims = append(dims, int64(d))
	}
	x = sub.Add("", "Reshape", nil, x, sub.NewConst("", tensor.Ints(dims...)))
	old := c.Find(b.in)
	var ms []*moving
	now := map[*graph.Value]*graph.Value{old: x}
	for _, l := range b.layers {
		if k := trainable(sub, l, m, now); k != nil {
			ms = append(ms, k)
		}
	}
	if ms == nil {
		return nil, nil, fmt.Errorf("%w: nothing in it can move", train.ErrNoGradient)
	}
	for at, n := range c.Nodes[:b.to] {
		constant := true
		for i, v := range n.In {
			if y := now[v]; y != nil {
				n.In[i] = y
			}
		}
		for _, v := range n.In {
			constant = constant && (v == nil || v.IsConst())
		}
		if at >= b.from || constant && !slices.Contains(n.Out, old) {
			sub.Nodes = append(sub.Nodes, n)
		}
	}
	y := c.Find(b.names[0])
	logits := sub.Add("", "Slice", nil, sub.Add("", "Flatten", nil, y), sub.NewConst("", tensor.Ints(0)), sub.NewConst("", tensor.Ints(1)), sub.NewConst("", tensor.Ints(1)))
	sub.Outputs = []*graph.Value{logits}
	for _, name := range b.names {
		sub.Outputs = append(sub.Outputs, c.Find(name))
	}
	return sub, ms, nil
}

// trainable makes a layer's constants computed of params.
func trainable(g *graph.Graph, l *method.Layer, of map[*graph.Value]*graph.Value, now map[*graph.Value]*graph.Value) *moving {
	m := &moving{l: l}
	v := of[l.Weight.Value]
	shape := v.Type.Shape
	n := shape.NumElements()
	c := shape[l.OutAxis]
	along := make(tensor.Shape, len(shape))
	for i := range along {
		along[i] = 1
	}
	along[l.OutAxis] = c
	x := l.Weight.Data()
	param := func(name string, x []float32, shape tensor.Shape) *graph.Value {
		return g.NewVar(graph.Param, name, tensor.From(x, shape...))
	}
	at := sets{shape: shape, axis: l.OutAxis}
	if q, ok := l.Weight.As.(weight.Int8); ok {
		if q.Group != 0 || q.Zero != nil || q.Axis != weight.PerTensor && q.Axis != l.OutAxis {
			return nil
		}
		m.levels = true
		lo, hi := levelRange(q)
		m.lo, m.hi = float32(lo), float32(hi)
		u, sc := make([]float32, n), make([]float32, c)
		for i := range u {
			u[i] = float32(q.Level(i))
		}
		for k := range sc {
			sc[k] = q.Scale[k%len(q.Scale)]
		}
		m.scale, m.fixed = sc, make([]bool, n)
		for i := range m.fixed {
			m.fixed[i] = !l.Weight.Kept(i)
		}
		m.u = v.Name + ":levels"
		s := g.NewConst("", tensor.From(slices.Clone(sc), along...))
		if q.Axis == l.OutAxis {
			m.t = v.Name + ":scale"
			s = g.Add("", "Mul", nil, s, param(m.t, ones(c), along))
		}
		now[v] = g.Add("", "Mul", nil, param(m.u, u, shape), s)
	} else if l.Weight.As == nil && l.Weight.Centroids == nil {
		size := 0.0
		for _, f := range x {
			size += math.Abs(float64(f)) / float64(max(1, l.Weight.Stored()))
		}
		k := make([]float32, n) // of a move; 0 where it is pruned
		for i := range k {
			if l.Weight.Kept(i) {
				k[i] = float32(size)
			}
		}
		m.scale, m.u = k, v.Name+":moves"
		now[v] = g.Add("", "Add", nil, g.NewConst("", tensor.From(slices.Clone(x), shape...)), g.Add("", "Mul", nil, param(m.u, make([]float32, n), shape), g.NewConst("", tensor.From(slices.Clone(k), shape...))))
	}
	if y := biasOf(l, at.count()); y != nil && l.Bias != nil {
		sq := 0.0
		for _, f := range y {
			sq += float64(f) * float64(f) / float64(len(y))
		}
		m.bias, m.unit = slices.Clone(y), float32(math.Sqrt(sq)+1e-3)
		bv := of[l.Bias.Value]
		m.b = bv.Name + ":moves"
		unit := make([]float32, len(y))
		for i := range unit {
			unit[i] = m.unit
		}
		s := l.Bias.Value.Type.Shape
		now[bv] = g.Add("", "Add", nil, g.NewConst("", tensor.From(slices.Clone(y), s...)), g.Add("", "Mul", nil, param(m.b, make([]float32, len(y)), s), g.NewConst("", tensor.From(unit, s...))))
	}
	if m.u == "" && m.b == "" {
		return nil
	}
	return m
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// loss is the squared error of the block's outputs, each as its samples' weights say.
func (w *blocks) loss(l train.Loss, b *piece, ends []int, size int) (*graph.Value, error) {
	g := l.Graph
	from := func(a, b int) *graph.Value {
		return g.Add("", "Slice", nil, l.Input, g.NewConst("", tensor.Ints(int64(a))), g.NewConst("", tensor.Ints(int64(b))), g.NewConst("", tensor.Ints(1)))
	}
	var sum *graph.Value
	for o, name := range b.names {
		y := g.Find(name)
		if y == nil {
			return nil, fmt.Errorf("value %q is gone", name)
		}
		n := ends[o+1] - ends[o]
		d := g.Add("", "Sub", nil, g.Add("", "Reshape", nil, y, g.NewConst("", tensor.Ints(-1, int64(n)))), from(ends[o], ends[o+1]))
		at := size - len(b.names) + o
		e := g.Add("", "Mul", nil, g.Add("", "Mul", nil, d, d), from(at, at+1))
		e = g.Add("", "ReduceMean", map[string]any{"keepdims": int64(0)}, e)
		e = g.Add("", "Mul", nil, e, g.NewConst("", tensor.Scalar(float32(n))))
		if sum == nil {
			sum = e
		} else {
			sum = g.Add("", "Add", nil, sum, e)
		}
	}
	return sum, nil
}

// settle lets weights take their levels after step k of all steps: half of them after 0.4 of the steps, and half of the rest every
// tenth until 0.8, when all do. The last fifth is that of scales and biases.
func (m *moving) settle(t *train.Trainer, k, steps int) {
	if !m.levels {
		return
	}
	u := tensor.Of[float32](t.Var(m.u))
	for i, v := range u {
		if m.fixed[i] {
			u[i] = float32(math.RoundToEven(float64(v)))
		}
		u[i] = min(max(u[i], m.lo), m.hi)
	}
	round := 0
	for r, at := range []float64{0.4, 0.5, 0.6, 0.7, 0.8} {
		if k == max(1, int(at*float64(steps))) {
			round = r + 1
		}
	}
	if k == steps {
		round = 5
	}
	if round == 0 {
		return
	}
	var free []int
	for i := range u {
		if !m.fixed[i] {
			free = append(free, i)
		}
	}
	off := func(i int) float64 { return math.Abs(float64(u[i]) - math.RoundToEven(float64(u[i]))) }
	slices.SortStableFunc(free, func(a, b int) int { return cmp.Compare(off(a), off(b)) })
	if round < 5 {
		free = free[:len(free)/2]
	}
	for _, i := range free {
		m.fixed[i] = true
		u[i] = float32(math.RoundToEven(float64(u[i])))
	}
}

// take makes the layer hold what was trained.
func (m *moving) take(s *method.State, t *train.Trainer) error {
	l := m.l
	of := func(name string) []float32 { return tensor.Of[float32](t.Var(name)) }
	for _, name := range []string{m.u, m.t, m.b} {
		if name != "" {
			if err := finite(of(name)); err != nil {
				return err
			}
		}
	}
	switch {
	case m.levels:
		q := l.Weight.As.(weight.Int8)
		levels := make([]int32, l.Weight.Len())
		for i, v := range of(m.u) {
			levels[i] = int32(math.RoundToEven(float64(v)))
		}
		scales := slices.Clone(q.Scale)
		if m.t != "" {
			for c, v := range of(m.t) {
				if scales[c] *= v; !(scales[c] >= minScale) {
					return fmt.Errorf("the scale of channel %d became %v", c, scales[c])
				}
			}
		}
		p, err := weight.PackLevels(q.Q.DType, levels, q.Q.Shape...)
		if err != nil {
			return err
		}
		made, err := weight.NewGrouped(p, q.Axis, q.Group, scales, nil)
		if err != nil {
			return err
		}
		l.Weight.Hold(made)
	case m.u != "":
		x := slices.Clone(l.Weight.Data())
		for i, v := range of(m.u) {
			x[i] += v * m.scale[i]
		}
		l.Weight.Set(x)
	}
	if m.b != "" {
		y := slices.Clone(m.bias)
		for i, v := range of(m.b) {
			y[i] += v * m.unit
		}
		setBias(s.Graph, l.Node, l, y)
	}
	return nil
}
