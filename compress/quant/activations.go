package quant

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
	"whit/weight"
)

// Activations makes a model run on integers (B. Jacob et al.: Quantization and training of
// neural networks for efficient integer-arithmetic-only inference, 2018, section 2): it puts
// QuantizeLinear and DequantizeLinear of 8 bits around products, sums and average pools, holds
// their weights as integers of a scale a channel and biases as int32 of the scale sx·sw, all as
// ONNX has it, so that pass.Quantize makes nodes on integers of them. Ranges come from images
// of the training part, without their labels; with none, from what normalisation layers say of
// their outputs: the means and 6 standard deviations to both sides (M. Nagel et al.: Data-free quantization through
// weight equalization and bias correction, 2019, section 5). It deviates from the paper in that
//
//   - nothing is trained: ranges are calibrated (see [Calibration]), and biases corrected for what
//     rounding adds to the mean of each channel (Nagel et al., section 4.2), on the integers as they run;
//   - which layers stay float is said by pattern, or follows from budget: what each value alone does to the outputs when it
//     goes through its levels is measured, and products are taken to integers by the work that they save for what their values do,
//     as long as the whole keeps to the budget. The others' weights are integers in the file all the same. None is special by its place;
//   - a picture of 8 bits is its own levels, where zero is one of them.
//
// A Relu or Clip joins the node before, a PRelu or LeakyRelu the product before: what is between is not rounded. Values that are only moved (pooling by maximum, joining, splitting,
// reshaping) share one scale with what they are made of. What leads from the last product or pool to the outputs stays
// float: those products read integers and give floats. Levels of earlier steps are kept as they
// are, unless they come in groups; steps that change weights must come before.
var Activations = &method.Method{
	Name: "activations",
	Doc:  "makes products, sums and pools run on integers of 8 bits: activations and weights",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "skip", Kind: method.String, Default: "", Doc: "layers, and other nodes by name, that stay float: globs; a Concat, for example, whose inputs then have scales of their own"},
		{Name: "type", Kind: method.String, Default: "uint8", Choices: []string{"uint8", "int8"}, Doc: "of activations: uint8 with a zero point, or int8 on both sides of zero"},
		{Name: "range", Kind: method.String, Default: string(LeastMiss), Choices: append(slices.Clone(Calibrations), byOutputs), Doc: "how the range of activations is found; outputs: each by the one of the others that the model's outputs like most"},
		{Name: "percentile", Kind: method.Float, Default: 99.99, Min: 50, Max: 100, Doc: "of the elements that lie within, for that range"},
		{Name: "images", Kind: method.Int, Default: 256, Min: 1, Max: 1e5, Doc: "images of the training part that are looked at, without their labels"},
		{Name: "input", Kind: method.Floats, Default: []float64{}, Doc: "least and greatest value of the input: needed where there are no images"},
		{Name: "bits", Kind: method.PerLayer, Default: method.Uniform(8), Min: 2, Max: 8, Doc: "bits of weights that are not levels yet"},
		{Name: "scale", Kind: method.String, Default: string(MSE), Choices: []string{string(Max), string(MSE)}, Doc: "where their levels end, as for round"},
		{Name: "correct", Kind: method.Bool, Default: true, Doc: "correct the biases; needs images"},
		{Name: "adaround", Kind: method.Bool, Default: false, Doc: "choose the weights' levels anew on the quantised inputs, as the method adaround does; needs images"},
		{Name: "budget", Kind: method.Float, Default: 0.0, Min: 0, Max: 1, Doc: "by how much the levels of activations may take outputs off, as a share of their squares (of each sample's, where the metric is cosine): products run on integers by the work that this saves for what it does, as long as that is kept; 0: anything; needs images"},
		{Name: "crossing", Kind: method.Float, Default: 64.0, Min: 0, Max: 1e6, Doc: "multiplications that an element costs on its way to integers or back, with a budget: products that save less stay float; 0: nothing"},
		{Name: "outputs", Kind: method.Bool, Default: false, Doc: "quantise what leads to the outputs too"},
	},
	Apply: activations,
}

// byOutputs chooses the calibration of each value by the model's outputs.
const byOutputs = "outputs"

func activations(ctx context.Context, s *method.State, a method.Args) error {
	foldNorms(s)
	s.KeepBase()
	budget := a.Float("budget")
	if (budget > 0 || a.String("range") == byOutputs) && !hasImages(s) {
		return errors.New("activations: there are no images to see what outputs do, as budget and range: outputs do")
	}
	p, err := newPlaced(s, a, nil)
	if err != nil {
		return fmt.Errorf("activations: %w", err)
	}
	var j *judge
	if hasImages(s) && (budget > 0 || a.String("range") == byOutputs) {
		if j, err = newJudge(ctx, s, s.Graph, a.Int("images")); err != nil {
			return fmt.Errorf("activations: %w", err)
		}
	}
	if err := p.observe(ctx, s, a, j); err != nil {
		return fmt.Errorf("activations: %w", err)
	}
	if budget == 0 {
		err = p.apply(ctx, s, a)
	} else {
		err = p.within(ctx, s, a, j, budget)
	}
	if err != nil {
		return fmt.Errorf("activations: %w", err)
	}
	return stage(ctx, s, "activations")
}

// newPlaced decides what of the state's graph is quantised; float names classes that are not.
func newPlaced(s *method.State, a method.Args, float map[string]bool) (*placement, error) {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return nil, err
	}
	p := newPlacement(s.Graph)
	p.float = float
	skip := func(name string) bool { return a.String("skip") != "" && method.Match(a.String("skip"), name) }
	at := map[*graph.Value]*method.Layer{}
	for _, l := range layers {
		if _, ok := a.PerLayer("bits").For(l.Name); ok && !skip(l.Name) {
			at[l.Weight.Value] = l
		}
	}
	p.suited = func(n *graph.Node) *method.Layer {
		l := at[n.Input(1)]
		if l == nil || !plain(n) || skip(n.Name) {
			return nil
		}
		return l
	}
	p.skip = skip
	p.outputs = a.Bool("outputs")
	p.decide()
	if len(p.products)+len(p.floats) == 0 {
		return nil, errors.New("none of the layers can run on integers: they are skipped, or Gemm with factors or a transposed input")
	}
	for _, n := range p.products {
		if l := p.product(n); p.layer[l] == nil {
			p.layer[l] = n
		}
	}
	return p, nil
}

// apply puts the state on integers.
func (p *placement) apply(ctx context.Context, s *method.State, a method.Args) error {
	spec := func(l *method.Layer) (Spec, error) {
		bits, _ := a.PerLayer("bits").For(l.Name)
		if bits != float64(int(bits)) {
			return Spec{}, fmt.Errorf("%v bits for layer %s, want a whole number", bits, l.Name)
		}
		return Spec{Bits: int(bits), Symmetric: true, Rule: Rule(a.String("scale"))}, nil
	}
	for _, n := range p.products {
		l := p.product(n)
		sp, err := spec(l)
		if err != nil {
			return err
		}
		if err := p.hold(s, n, l, sp); err != nil {
			return fmt.Errorf("layer %s: %w", l.Name, err)
		}
	}
	for _, n := range p.floats { // integers in the file only
		l := p.suited(n)
		if l.Weight.As != nil || l.Weight.Centroids != nil {
			continue
		}
		sp, err := spec(l)
		if err != nil {
			return err
		}
		w, err := target{spec: sp, levels: uniform, sets: setsOf(l, "channel", 0)}.round(l.Weight.Data(), s.Threads)
		if err != nil {
			return fmt.Errorf("layer %s: %w", l.Name, err)
		}
		l.Weight.Hold(w)
	}
	p.insert()
	if err := s.Graph.Verify(); err != nil {
		return err
	}
	if a.Bool("adaround") {
		if !hasImages(s) {
			return errors.New("there are no images for adaround")
		}
		return p.refit(ctx, s, a.Int("images"))
	}
	if a.Bool("correct") && hasImages(s) {
		return p.correct(ctx, s, a.Int("images"))
	}
	return nil
}

// hasImages reports whether there is anything to calibrate on.
func hasImages(s *method.State) bool { return s.Train != nil && s.Train.Len() > 0 }

// plain reports whether integers can do the product: a Conv, or a Gemm or MatMul of two plain matrices.
func plain(n *graph.Node) bool {
	switch n.Op {
	case "Conv":
		return true
	case "Gemm":
		return n.Int("transA", 0) == 0 && n.Float("alpha", 1) == 1 && (n.Input(2) == nil || n.Float("beta", 1) == 1)
	case "MatMul":
		return len(n.In[1].Type.Shape) == 2
	}
	return false
}

// placement decides which values are quantised.
type placement struct {
	g       *graph.Graph
	uses    map[*graph.Value][]graph.Use
	suited  func(*graph.Node) *method.Layer // the layer of a product that can read integers, else nil
	float   map[string]bool                 // classes that are not quantised, by name
	skip    func(name string) bool
	outputs bool

	up       map[*graph.Value]*graph.Value // towards the value that stands for a class
	quant    map[*graph.Value]bool         // classes that are quantised
	ints     map[*graph.Node]bool          // nodes that run on integers
	joined   map[*graph.Node]*graph.Node   // activations, to the node that they join
	products []*graph.Node
	floats   []*graph.Node                 // products that could read integers, but for float
	layer    map[*method.Layer]*graph.Node // the first product of each
	ranges   map[*graph.Value]Grid         // of classes
	apart    map[*graph.Value][]float64    // by how much outputs are off, where that was measured
	biases   []*biasInt
}

func newPlacement(g *graph.Graph) *placement {
	return &placement{g: g, uses: g.Uses(), up: map[*graph.Value]*graph.Value{}, quant: map[*graph.Value]bool{}, ints: map[*graph.Node]bool{},
		joined: map[*graph.Node]*graph.Node{}, layer: map[*method.Layer]*graph.Node{}, ranges: map[*graph.Value]Grid{},
		apart: map[*graph.Value][]float64{}}
}

// class is the value that stands for all that share v's scale.
func (p *placement) class(v *graph.Value) *graph.Value {
	for p.up[v] != nil {
		v = p.up[v]
	}
	return v
}

// stays reports whether a value is not to be quantised.
func (p *placement) stays(v *graph.Value) bool { return p.float[p.class(v).Name] }

// product is the layer of a product on integers, nil of all other nodes.
func (p *placement) product(n *graph.Node) *method.Layer {
	l := p.suited(n)
	if l == nil || p.stays(n.In[0]) {
		return nil
	}
	return l
}

// moved is how many of a node's inputs it only moves to its outputs.
func moved(n *graph.Node) int {
	if n.Domain != "" || n.Input(0) == nil || n.In[0].IsConst() {
		return 0
	}
	switch n.Op {
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "DepthToSpace", "SpaceToDepth", "Identity":
		return 1
	case "MaxPool":
		if len(n.Out) == 1 && !slices.ContainsFunc(n.Ints("dilations"), func(d int64) bool { return d != 1 }) {
			return 1
		}
	case "Concat":
		if !slices.ContainsFunc(n.In, func(v *graph.Value) bool { return v == nil || v.IsConst() }) {
			return len(n.In)
		}
	}
	return 0
}

// moved is the same of this placement: what is skipped makes values of its own.
func (p *placement) moved(n *graph.Node) int {
	if p.skip(n.Name) {
		return 0
	}
	return moved(n)
}

// function reports a function of one value, element by element, which becomes a table.
func function(n *graph.Node) bool {
	if n.Domain != "" || n.Input(0) == nil || n.In[0].IsConst() || len(n.Out) != 1 {
		return false
	}
	switch n.Op {
	case "Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus", "Softsign", "Gelu", "Mish", "Swish", "Abs", "Neg":
		return len(n.In) == 1
	case "Clip", "PRelu":
		return !slices.ContainsFunc(n.In[1:], func(v *graph.Value) bool { return v != nil && !v.IsConst() })
	}
	return false
}

func sum(n *graph.Node) bool {
	return n.Domain == "" && n.Op == "Add" && len(n.In) == 2 && !n.In[0].IsConst() && !n.In[1].IsConst()
}

func pool(n *graph.Node) bool {
	return n.Domain == "" && (n.Op == "AveragePool" || n.Op == "GlobalAveragePool") && len(n.Out) == 1
}

// result is what a node on integers gives, after the activations that join it.
func (p *placement) result(n *graph.Node) *graph.Value {
	v := n.Out[0]
	for {
		u := p.uses[v]
		if len(u) != 1 || u[0].Node == nil || u[0].Index != 0 {
			return v
		}
		r := u[0].Node
		limits := r.Op == "Relu" || r.Op == "Clip"
		if r.Domain != "" || !limits && (v != n.Out[0] || !p.sloped(n, r)) || !function(r) || p.skip(r.Name) {
			return v
		}
		p.joined[r] = n
		if v = r.Out[0]; !limits {
			return v
		}
	}
}

// sloped reports whether r is slopes below zero that a product takes along.
func (p *placement) sloped(n, r *graph.Node) bool {
	l := p.suited(n)
	if l == nil || n.Op == "MatMul" && len(n.Out[0].Type.Shape) != 2 {
		return false
	}
	switch r.Op {
	case "LeakyRelu":
		return true
	case "PRelu": // one slope, or one a channel
		k := r.In[1].Type.Shape.NumElements()
		return k == 1 || k == l.Weight.Value.Type.Shape[l.OutAxis]
	}
	return false
}

// decide finds the nodes that run on integers and the classes that are quantised.
func (p *placement) decide() {
	for _, n := range p.g.Nodes {
		k := p.moved(n)
		for i := range k {
			p.union(n.In[0], n.In[i])
		}
		for _, v := range n.Out {
			if k > 0 && v != nil {
				p.union(n.In[0], v)
			}
		}
	}
	inner := p.inner()
	var rest []*graph.Node
	for _, n := range p.g.Nodes {
		switch {
		case p.suited(n) != nil && p.stays(n.In[0]):
			p.floats = append(p.floats, n)
		case p.product(n) != nil:
			p.products = append(p.products, n)
			p.quant[p.class(n.In[0])] = true
			if v := p.class(p.result(n)); inner[v] && !p.stays(v) {
				p.ints[n], p.quant[v] = true, true
			}
		case (sum(n) || pool(n) || function(n)) && inner[p.class(n.Out[0])] && !p.skip(n.Name):
			rest = append(rest, n)
		}
	}
	for again := true; again; {
		again = false
		for _, n := range rest {
			if p.ints[n] || p.joined[n] != nil && p.ints[p.joined[n]] {
				continue
			}
			in := n.In[:1]
			if sum(n) {
				in = n.In[:2]
			}
			if !slices.ContainsFunc(in, func(v *graph.Value) bool { return p.quant[p.class(v)] }) {
				continue
			}
			out := n.Out[0]
			if !function(n) {
				out = p.result(n)
			}
			if slices.ContainsFunc(append(slices.Clone(in), out), p.stays) {
				continue
			}
			for _, v := range append(slices.Clone(in), out) {
				p.quant[p.class(v)] = true
			}
			p.ints[n], again = true, true
		}
	}
	for r, n := range p.joined {
		if !p.ints[n] {
			delete(p.joined, r)
		}
	}
}

func (p *placement) union(a, b *graph.Value) {
	if a, b = p.class(a), p.class(b); a != b {
		p.up[b] = a
	}
}

// inner are the classes that lead to a product or a pool, not to outputs alone.
func (p *placement) inner() map[*graph.Value]bool {
	in := map[*graph.Value]bool{}
	for again := true; again; {
		again = false
		for _, n := range slices.Backward(p.g.Nodes) {
			leads := p.suited(n) != nil || pool(n) && !p.skip(n.Name)
			for _, v := range n.Out {
				leads = leads || v != nil && (in[p.class(v)] || p.outputs)
			}
			for _, v := range n.In {
				if leads && v != nil && !v.IsConst() && !in[p.class(v)] {
					in[p.class(v)], again = true, true
				}
			}
		}
	}
	if p.outputs {
		for _, v := range p.g.Outputs {
			in[p.class(v)] = true
		}
	}
	return in
}

// sources are the values of quantised classes that are not moved from others, in order.
func (p *placement) sources() (vs []*graph.Value) {
	for _, v := range p.g.Values() {
		if !v.IsConst() && p.quant[p.class(v)] && (v.Producer == nil || p.moved(v.Producer) == 0) {
			vs = append(vs, v)
		}
	}
	return vs
}

// ordered are the quantised classes, in the order of the graph.
func (p *placement) ordered() (ks []*graph.Value) {
	for _, v := range p.sources() {
		if k := p.class(v); !slices.Contains(ks, k) {
			ks = append(ks, k)
		}
	}
	return ks
}

// members are the names of the sources of each class.
func (p *placement) members() map[*graph.Value][]string {
	m := map[*graph.Value][]string{}
	for _, v := range p.sources() {
		m[p.class(v)] = append(m[p.class(v)], v.Name)
	}
	return m
}

// observe finds the range of every quantised class. j is for those that outputs choose.
func (p *placement) observe(ctx context.Context, s *method.State, a method.Args, j *judge) error {
	levels := 256
	if a.String("type") == "int8" {
		levels = 255
	}
	c := Calibration(a.String("range"))
	at := map[*graph.Value]*stat.Histogram{}
	var points []stat.Point
	for _, v := range p.sources() {
		k := p.class(v)
		if at[k] == nil {
			at[k] = &stat.Histogram{}
		}
		points = append(points, stat.Point{Value: v.Name, Observer: at[k]})
	}
	if !hasImages(s) {
		return p.guess(s, a.Floats("input"), levels == 255)
	}
	if err := stat.Run(ctx, s.Graph, s.Train, points, runOptions(s, a.Int("images"))); err != nil {
		return err
	}
	names := p.members()
	in := p.class(s.Graph.Inputs[0])
	exact, isExact := Grid{}, false
	if len(names[in]) == 1 && names[in][0] == s.Graph.Inputs[0].Name {
		var err error
		if exact, isExact, err = lattice(ctx, s, a.Int("images"), levels == 255); err != nil {
			return err
		}
	}
	for i, k := range p.ordered() {
		if k == in && isExact {
			p.ranges[k] = exact
			if j != nil {
				var err error
				if p.apart[k], err = j.far(ctx, through(s.Graph, names[k], exact)); err != nil {
					return err
				}
			}
			continue
		}
		grid := func(c Calibration) Grid {
			lo, hi := c.Range(at[k], a.Float("percentile"), levels)
			return grain(lo, hi, levels == 255)
		}
		if c != byOutputs {
			p.ranges[k] = grid(c)
			continue
		}
		tried := map[Grid]bool{}
		for _, c := range []Calibration{LeastMiss, MinMax, Share} {
			g := grid(c)
			if tried[g] {
				continue
			}
			tried[g] = true
			far, err := j.far(ctx, through(s.Graph, names[k], g))
			if err != nil {
				return err
			}
			if p.apart[k] == nil || worst(far) < worst(p.apart[k]) {
				p.ranges[k], p.apart[k] = g, far
			}
		}
		s.Tell(method.Event{Stage: "calibration", Message: k.Name, Done: float64(i + 1), Total: float64(len(names))})
	}
	if c != byOutputs {
		return nil
	}
	// A function whose result has the levels of its argument does not round once more what it leaves as it is.
	for _, n := range p.g.Nodes {
		if !function(n) || !p.ints[n] {
			continue
		}
		x, y := p.class(n.In[0]), p.class(n.Out[0])
		if x == y || len(names[x]) != 1 || len(names[y]) != 1 {
			continue
		}
		far, err := j.far(ctx, through(through(s.Graph, names[x], p.ranges[x]), names[y], p.ranges[x]))
		if err != nil {
			return err
		}
		both := slices.Clone(p.apart[x])
		for o, f := range p.apart[y] {
			both[o] += f
		}
		if worst(far) < worst(both) {
			p.ranges[y] = p.ranges[x]
			for o := range far {
				far[o] /= 2
			}
			p.apart[x], p.apart[y] = far, far
		}
	}
	return nil
}

// runOptions are batches of about a million values.
func runOptions(s *method.State, images int) stat.Options {
	size := tensor.Shape(s.Train.Shape()).NumElements()
	return stat.Options{Batch: min(max(1, 1<<20/max(1, size)), 32), Samples: images, Threads: s.Threads}
}

// grain are the levels of an activation.
func grain(lo, hi float64, signed bool) Grid {
	s := Spec{Bits: 8, Symmetric: signed}
	return s.grid(min(lo, 0), max(hi, 0))
}

// zeroPoint is the zero of an activation's levels, in their type.
func (g Grid) zeroPoint() *tensor.Tensor {
	d := tensor.Uint8
	if g.Lo < 0 {
		d = tensor.Int8
	}
	t := tensor.New(d)
	t.Bytes()[0] = byte(g.Zero)
	return t
}

// biasInt is a bias held as int32.
type biasInt struct {
	node   *graph.Node
	name   string       // of the bias that it was
	value  *graph.Value // the constant, nil: the product has no bias or a float one
	scales []float32
}

// hold makes the weight of a product integers, and its bias where it runs on them.
func (p *placement) hold(s *method.State, n *graph.Node, l *method.Layer, spec Spec) error {
	x := p.ranges[p.class(n.In[0])]
	channels := l.Weight.Value.Type.Shape[l.OutAxis]
	bias := make([]float64, channels)
	if b := n.Input(2); b != nil {
		if b.Type.Shape.NumElements() != channels || b.Tensor() == nil || b.Tensor().DType != tensor.Float32 {
			return fmt.Errorf("its bias is %v, want %d constants", b.Type, channels)
		}
		for i, v := range tensor.Of[float32](b.Tensor()) {
			if v-v != 0 {
				return fmt.Errorf("element %d of its bias is %v", i, v)
			}
			bias[i] = float64(v)
		}
	}
	held, err := l.Weight.Weight()
	if err != nil {
		return err
	}
	w, ok := held.(weight.Int8)
	if !ok || w.Group != 0 || w.Axis != weight.PerTensor && w.Axis != l.OutAxis || !fits(w, x, bias) {
		t := target{spec: spec, levels: uniform, sets: setsOf(l, "channel", 0)}
		d := l.Weight.Data()
		if err := finite(d); err != nil {
			return err
		}
		levels, scales := make([]int32, len(d)), make([]float32, channels)
		// An integer bias of few levels wants a scale that is not too small: that of channels that are
		// all but zero is as good as any other.
		least := float32(0)
		for k := range channels {
			least = max(least, spec.Grid(t.sets.gather(nil, d, k)).Scale*1e-4)
		}
		parallel(channels, s.Threads, func(k int) {
			set := t.sets.gather(nil, d, k)
			g := spec.Grid(set)
			g.Scale = max(g.Scale, least, float32(math.Abs(bias[k])/float64(x.Scale)/maxBias))
			scales[k] = g.Scale
			t.sets.each(k, func(i int) { levels[i] = g.Level(d[i]) })
		})
		made, err := t.sets.weight(levels, true, scales, nil)
		if err != nil {
			return err
		}
		w = made.(weight.Int8)
	}
	if w.Q.DType.Bits() != 8 { // what integer products of ONNX take
		levels := make([]int32, w.Q.Len())
		for i := range levels {
			levels[i] = w.Level(i)
		}
		d := tensor.Uint8
		if w.Q.DType.IsSigned() {
			d = tensor.Int8
		}
		q, err := weight.PackLevels(d, levels, w.Q.Shape...)
		if err != nil {
			return err
		}
		w.Q = q
	}
	if _, ok := l.Weight.As.(weight.Int8); !ok || p.layer[l] == n {
		l.Weight.Hold(w)
	}
	b := &biasInt{node: n}
	p.biases = append(p.biases, b)
	if !p.ints[n] || n.Op == "MatMul" {
		return nil
	}
	b.scales = make([]float32, channels)
	q := tensor.New(tensor.Int32, channels)
	for c := range channels {
		b.scales[c] = float32(x.Scale * w.Scale[c%len(w.Scale)])
		tensor.Of[int32](q)[c] = int32(math.RoundToEven(bias[c] / float64(b.scales[c])))
	}
	name := l.Weight.Value.Name + "_bias"
	if v := n.Input(2); v != nil {
		name = v.Name
	}
	b.name, b.value = name, p.g.NewConst(p.g.NewName(name), q)
	if l.Node == n {
		l.Bias = nil
	}
	return nil
}

// maxBias is the largest integer of a bias: products of 8 bits have as much room again.
const maxBias = 1 << 30

// fits reports whether the bias fits integers of the weight's scales.
func fits(w weight.Int8, x Grid, bias []float64) bool {
	for c, b := range bias {
		if k := float64(x.Scale) * float64(w.Scale[c%len(w.Scale)]); !(k > 1e-37) || math.Abs(b)/k > maxBias {
			return false
		}
	}
	return true
}

// names gives what the nodes of levels read and compute the names that a file need not hold.
type names struct {
	g     *graph.Graph
	taken map[string]bool
}

func namesOf(g *graph.Graph) names {
	n := names{g, map[string]bool{}}
	for _, v := range g.Values() {
		n.taken[v.Name] = true
	}
	return n
}

func (n names) free(name string) string {
	if n.taken[name] {
		return n.g.NewName(name)
	}
	n.taken[name] = true
	return name
}

// node makes a node of one output that is called as its output.
func (n names) node(op, name string, attrs map[string]any, in ...*graph.Value) *graph.Node {
	node := n.g.NewNode("", op, attrs, 1, in...)
	node.Name = n.free(name)
	node.Out[0].Name = node.Name
	return node
}

// both are new nodes, in no order yet, that take v to the grid's levels and back.
func (n names) both(r Grid, v *graph.Value) (q, dq *graph.Node) {
	scale, zero := n.g.NewConst(n.free(v.Name+"_scale"), tensor.Scalar(r.Scale)), n.g.NewConst(n.free(v.Name+"_zero_point"), r.zeroPoint())
	q = n.node("QuantizeLinear", v.Name+"_quantized", nil, v, scale, zero)
	return q, n.node("DequantizeLinear", v.Name+"_dequantized", nil, q.Out[0], scale, zero)
}

// insert puts the nodes in.
func (p *placement) insert() {
	g := p.g
	after, call := map[*graph.Value]*graph.Value{}, namesOf(g) // after: what a value is after both
	var nodes []*graph.Node
	both := func(v *graph.Value) {
		q, dq := call.both(p.ranges[p.class(v)], v)
		nodes = append(nodes, q, dq)
		after[v] = dq.Out[0]
	}
	sources := map[*graph.Value]bool{}
	for _, v := range p.sources() {
		sources[v] = true
		if v.Kind == graph.Input {
			both(v)
		}
	}
	onInts := func(n *graph.Node) bool { return n != nil && (p.ints[n] || p.joined[n] != nil) }
	bias := map[*graph.Node]*biasInt{}
	for _, b := range p.biases {
		bias[b.node] = b
	}
	for _, n := range g.Nodes {
		for i, v := range n.In {
			// What is float before and after stays as precise as it is.
			if d := after[v]; d != nil && (onInts(n) || bias[n] != nil || p.moved(n) > 0 || onInts(v.Producer)) {
				n.In[i] = d
			}
		}
		if b := bias[n]; b != nil && b.value != nil {
			b.value.Name = call.free(b.name + "_quantized")
			scale := g.NewConst(call.free(b.name+"_scale"), tensor.From(b.scales, len(b.scales)))
			dq := call.node("DequantizeLinear", b.name+"_dequantized", map[string]any{"axis": int64(0)}, b.value, scale)
			nodes = append(nodes, dq)
			n.In = append(slices.Clone(n.In[:2]), dq.Out[0])
		}
		nodes = append(nodes, n)
		for _, v := range n.Out {
			if v != nil && sources[v] {
				both(v)
			}
		}
	}
	g.Nodes = nodes
	for i, v := range g.Outputs {
		if d := after[v]; d != nil && onInts(v.Producer) {
			v.Name, d.Name, d.Decl = d.Name, v.Name, v.Decl
			g.Outputs[i] = d
		}
	}
}
