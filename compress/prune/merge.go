package prune

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
)

// Merge removes filters that another filter of the layer can stand in for, and gives what the
// next layers made of them to that one (W. Kim, S. Kim, M. Park, G. Jeon: Neuron merging:
// compensating for pruned neurons, 2020, section 3): where filter j is about a times filter i, a > 0,
// and nothing but positively homogeneous functions (ReLU, pooling) lie between them and what reads
// them, the readers' weights of i grow by a times those of j. Exact copies go without
// any change of the output.
//
// It deviates in that pairs are merged by falling cosine down to a threshold, instead of
// every pruned filter into its closest; that the filter's bias and the scale and shift of a
// BatchNormalization behind it are part of the vector that is compared; and that where
// other functions lie between (Clip, Sigmoid, depthwise convolutions), the filters
// must be equally large, and the functions' parameters alike.
var Merge = &method.Method{
	Name: "merge",
	Doc:  "merges filters that point the same way; exact copies go without any loss",
	Params: append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "cosine", Kind: method.PerLayer, Default: method.Uniform(0.999), Min: 0.5, Max: 1, Doc: "cosine of two filters from which they are merged, by layer or for all; of layers tied together, the largest counts"},
		{Name: "least", Kind: method.Int, Default: 4, Min: 1, Max: 4096, Doc: "channels that every layer keeps"},
	}, method.FitParams(0, 1e-3)...),
	Apply: merge,
}

// maxMerge bounds the products that comparing the filters of a layer may take.
const maxMerge = 4e10

func merge(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	c := &cutter{s: s, all: s.Layers, quota: map[*method.Layer]int{}, global: -1, least: a.Int("least")}
	if c.y, err = NewSurgery(s.Graph, s.Train.Shape()); err != nil {
		return err
	}
	c.bar()
	m := &merger{c: c, uses: s.Graph.Uses(), reads: map[Place]bool{}}
	for _, r := range readers(s.Graph, c.y.types) {
		if r.node.Op != "Conv" || r.node.Int("group", 1) == 1 {
			m.reads[r.w] = true
		}
	}
	// Atoms of the same places, of the same sizes, can be compared.
	kinds := map[string][]int{}
	var order []string
	limit := map[string]float64{}
	for k, atom := range c.y.Atoms {
		cos, hit := 0.0, false
		for _, l := range layers {
			if v, ok := a.PerLayer("cosine").For(l.Name); ok && atom.In(outs(l)) != nil {
				cos, hit = max(cos, v), true
			}
		}
		for _, l := range c.all { // several filters at once need not correspond one to one
			hit = hit && (len(atom.In(outs(l))) < 2 || !m.makes(l.Node))
		}
		if !hit || c.barred[k] {
			continue
		}
		key := ""
		for _, sp := range atom {
			key += fmt.Sprintf("%s %d %d\n", sp.Value.Name, sp.Axis, len(sp.Index))
		}
		if kinds[key] == nil {
			order = append(order, key)
		}
		kinds[key], limit[key] = append(kinds[key], k), cos
	}
	b := c.budget()
	var ks []int
	for _, key := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		ks = append(ks, m.merge(b, kinds[key], limit[key])...)
	}
	m.write()
	if err := cut(s, c.y, ks); err != nil {
		return err
	}
	s.Tell(method.Event{Stage: "merge", Message: fmt.Sprintf("%d merged", len(ks))})
	return finish(ctx, s, a, "merged")
}

type merger struct {
	c     *cutter
	uses  map[*graph.Value][]graph.Use
	reads map[Place]bool // the input channels of weights
	// grown are weights of readers, as they will be.
	grown map[*graph.Value][]float32
	names []*graph.Value
}

// vector is what makes an atom's channels, and what else is theirs.
type vector struct {
	v    []float64 // filters and biases, a BatchNormalization folded
	rest []float64 // parameters of what lies behind
	norm float64
}

// homogeneous lists functions with f(a·x) = a·f(x) for a > 0, channel by channel.
var homogeneous = map[string]bool{
	"Relu": true, "LeakyRelu": true, "PRelu": true, "MaxPool": true, "AveragePool": true, "GlobalAveragePool": true, "GlobalMaxPool": true,
	"Identity": true, "Dropout": true, "Flatten": true, "Reshape": true, "Squeeze": true, "Unsqueeze": true, "Transpose": true,
	"Concat": true, "Split": true, "Slice": true, "DepthToSpace": true, "SpaceToDepth": true, "Resize": true, "Add": true, "Shape": true,
}

// scalable reports that channels of the atom may be scaled by any positive number.
func (m *merger) scalable(a Atom) bool {
	inside := map[*graph.Value]bool{}
	for _, sp := range a {
		inside[sp.Value] = true
	}
	for _, n := range m.c.s.Graph.Nodes {
		reads, makes := n.In[:0:0], false
		for _, v := range n.In {
			if v != nil && v.Kind == graph.Computed && inside[v] {
				reads = append(reads, v)
			}
		}
		for _, v := range n.Out {
			makes = makes || v != nil && inside[v]
		}
		switch {
		case len(reads) == 0 && !makes: // elsewhere
		case n.Domain != "":
			return false
		case makes && len(reads) == 0 || !makes: // makes or reads the channels: it is linear
			if op := n.Op; op != "Conv" && op != "Gemm" && op != "MatMul" && op != "Shape" {
				return false
			}
		case n.Op == "BatchNormalization": // folded, where it is right behind its convolution
			if p := n.In[0].Producer; p == nil || normOf(p, m.uses) != n || !m.makes(p) {
				return false
			}
		case !homogeneous[n.Op]:
			return false
		case n.Op == "Add" && len(reads) != 2:
			return false
		}
	}
	return true
}

// makes reports that p is a layer with filters, not a depthwise convolution.
func (m *merger) makes(p *graph.Node) bool {
	for _, l := range m.c.all {
		if l.Node == p {
			return p.Op != "Conv" || p.Int("group", 1) == 1
		}
	}
	return false
}

// vectorOf collects an atom's parameters.
func (m *merger) vectorOf(a Atom) vector {
	var x vector
	done := map[*graph.Value]bool{}
	for _, l := range m.c.all {
		ix := a.In(outs(l))
		if ix == nil || !m.makes(l.Node) {
			continue
		}
		w := filters(l.Weight.Value, l.OutAxis)
		var bias []float32
		if b := l.Node.Input(2); b.IsConst() && b.Type.DType == tensor.Float32 && b.Type.Shape.NumElements() == len(w) {
			bias = tensor.Of[float32](b.Tensor())
			done[b] = true
		}
		done[l.Weight.Value] = true
		bn := normOf(l.Node, m.uses)
		var par [4][]float32
		if bn != nil {
			for i := range par {
				par[i] = tensor.Of[float32](bn.In[i+1].Tensor())
				done[bn.In[i+1]] = true
			}
		}
		for _, o := range ix {
			scale, shift := 1.0, 0.0
			if bias != nil {
				shift = float64(bias[o])
			}
			if bn != nil {
				scale = float64(par[0][o]) / math.Sqrt(float64(par[3][o])+float64(bn.Float("epsilon", 1e-5)))
				shift = (shift-float64(par[2][o]))*scale + float64(par[1][o])
			}
			for _, v := range w[o] {
				x.v = append(x.v, float64(v)*scale)
			}
			x.v = append(x.v, shift)
		}
	}
	for _, sp := range a {
		v := sp.Value
		if v.Kind != graph.Const || m.reads[sp.Place] || done[v] || v.Type.DType != tensor.Float32 {
			continue
		}
		for _, i := range sp.Index {
			for _, e := range filters(v, sp.Axis)[i] {
				x.rest = append(x.rest, float64(e))
			}
		}
	}
	for _, v := range x.v {
		x.norm += float64(v * v)
	}
	x.norm = math.Sqrt(x.norm)
	return x
}

// merge chooses pairs among comparable atoms and notes what the readers get; it returns what goes.
func (m *merger) merge(b *budget, ks []int, limit float64) (goes []int) {
	if len(ks) < 2 {
		return nil
	}
	first := m.vectorOf(m.c.y.Atoms[ks[0]])
	if work := float64(len(ks)) * float64(len(ks)) * float64(len(first.v)) / 2; len(first.v) == 0 || work > maxMerge {
		if work > maxMerge {
			m.c.s.Refuse("merging "+tieOf(m.c, m.c.y.Atoms[ks[0]]), fmt.Sprintf("%d filters of %d weights are too many to compare", len(ks), len(first.v)))
		}
		return nil
	}
	free := m.scalable(m.c.y.Atoms[ks[0]])
	vs := make([]vector, len(ks))
	for i, k := range ks {
		vs[i] = m.vectorOf(m.c.y.Atoms[k])
	}
	type pair struct {
		keep, drop int
		cos, by    float64
	}
	const equal = 1e-6 // rounding of exact copies
	var pairs []pair
	for i := range vs {
		for j := range i {
			a, c := vs[i], vs[j] // the longer stays, of equal ones the first
			keep, drop := i, j
			if c.norm >= a.norm {
				a, c, keep, drop = c, a, j, i
			}
			if c.norm == 0 { // a dead channel; what lies behind it may answer with a constant
				continue
			}
			dot := 0.0
			for e, v := range a.v {
				dot += float64(v * c.v[e])
			}
			cos, by := dot/(a.norm*c.norm), dot/(a.norm*a.norm)
			if !(cos >= limit-equal) || !alike(a.rest, c.rest, limit) {
				continue
			}
			if !free {
				if by < limit-equal {
					continue
				}
				by = 1
			}
			pairs = append(pairs, pair{keep, drop, cos, by})
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(b.cos, a.cos) })
	state := make([]int8, len(ks)) // 1: others were merged into it; 2: it is gone
	for _, p := range pairs {
		if state[p.keep] == 2 || state[p.drop] != 0 || !b.take(ks[p.drop]) {
			continue
		}
		state[p.keep], state[p.drop] = 1, 2
		m.give(m.c.y.Atoms[ks[p.keep]], m.c.y.Atoms[ks[p.drop]], p.by)
		goes = append(goes, ks[p.drop])
	}
	return goes
}

// alike compares parameters by the size of their difference.
func alike(a, b []float64, limit float64) bool {
	var d, n float64
	for i, v := range a {
		d += float64((v - b[i]) * (v - b[i]))
		n += float64(v * v)
	}
	const equal = 1e-6
	return math.Sqrt(d) <= (1-limit+equal)*math.Sqrt(n)
}

// give adds by times what readers make of drop to what they make of keep.
func (m *merger) give(keep, drop Atom, by float64) {
	for s, sp := range drop {
		if !m.reads[sp.Place] {
			continue
		}
		x := m.grown[sp.Value]
		if x == nil {
			if m.grown == nil {
				m.grown = map[*graph.Value][]float32{}
			}
			x = slices.Clone(tensor.Of[float32](sp.Value.Tensor()))
			m.grown[sp.Value] = x
			m.names = append(m.names, sp.Value)
		}
		st, d := sp.Value.Type.Shape.Strides()[sp.Axis], sp.Value.Type.Shape[sp.Axis]
		for e, from := range sp.Index {
			to := keep[s].Index[e]
			for i := range x {
				if i/st%d == to {
					x[i] = float32(float64(x[i]) + float64(by*float64(x[i+(from-to)*st])))
				}
			}
		}
	}
}

// write sets the readers' weights.
func (m *merger) write() {
	for _, v := range m.names {
		for _, l := range m.c.all {
			if l.Weight.Value == v {
				set(&l.Weight, m.grown[v])
			}
		}
	}
}

// tieOf names the layers of an atom.
func tieOf(c *cutter, a Atom) string {
	for _, l := range c.all {
		if a.In(outs(l)) != nil {
			return l.Name
		}
	}
	return "channels"
}
