package kernel

import (
	"slices"

	"whit/graph"
)

// Sparse products compute on planes of one channel each. Where many of them follow each
// other, their images are better kept so: row-major, which pointwise products read and
// write as they are. The images that must have one order, because an elementwise or
// depthwise node joins them, decide together.

// Costs of an image's float in cycles, as those of [sparseTimes]: bringing it into planes
// and back in a sparse product's tile, lines instead of pixels where there is a window,
// and a Reorder node.
const (
	planesIn, planesOut = 0.35, 0.5
	planesWindow        = 0.15
	planesDepthwise     = 0.3
	planesReorder       = 2.0
)

// sameOrder are the elementwise operators whose images all have one order.
var sameOrder = []string{"Add", "Sub", "Mul", "Div", "PRelu", "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish",
	"Erf", "Exp", "Gelu", "Swish", "Mish"}

// PlanesOf says which images of a bound and fused graph are to be row-major although their
// producers could write pixels: a function for Env.Planes.
func PlanesOf(g *graph.Graph, e *Env) func(*graph.Value) bool {
	if e.Training {
		return nil
	}
	sparse := func(n *graph.Node) *sparseProduct {
		if s := sparseOf(n); s != nil && !s.matrix && sparseVerdict(s, e).rows > 0 {
			return s
		}
		return nil
	}
	if !slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return sparse(n) != nil }) {
		return nil
	}
	class := map[*graph.Value]*graph.Value{}
	find := func(v *graph.Value) *graph.Value {
		for class[v] != nil && class[v] != v {
			v = class[v]
		}
		return v
	}
	gain := map[*graph.Value]float64{}
	join := func(a, b *graph.Value) {
		if a, b = find(a), find(b); a != b {
			class[a] = b
			gain[b] += gain[a]
		}
	}
	image := func(v *graph.Value) bool { return v != nil && !v.IsConst() && len(v.Type.Shape) == 4 }
	add := func(v *graph.Value, cycles float64) { gain[find(v)] += cycles * float64(v.Type.Shape.NumElements()) }
	found := false
	for _, n := range g.Nodes {
		if len(n.Out) == 0 || !slices.ContainsFunc(n.Out, image) && !slices.ContainsFunc(n.In, image) {
			continue
		}
		y := n.Out[0]
		if s := sparse(n); s != nil {
			found = true
			add(y, planesOut)
			if s.pointwise() {
				add(n.In[0], planesIn)
			} else {
				add(n.In[0], planesWindow)
			}
			if s.add >= 0 {
				join(n.In[s.add], y)
			}
			continue
		}
		switch {
		case planarDepthwise(n):
			join(n.In[0], y)
			add(y, planesDepthwise)
			continue
		case (n.Domain == "" && slices.Contains(sameOrder, n.Op) || n.Op == "Fused" && curveOf(n) != nil) && image(y) && f32Node(n):
			for _, v := range n.In {
				if image(v) {
					join(v, y)
				}
			}
			continue
		case n.Domain == "" && (n.Op == "GlobalAveragePool" || n.Op == "DepthToSpace") && image(y):
			join(n.In[0], y)
			continue
		}
		// Other nodes read and write what their kernels want.
		in, out := make([]graph.Layout, len(n.In)), make([]graph.Layout, len(n.Out))
		if k := Select(n, e); k != nil && k.Layout != nil {
			for i, v := range n.In {
				if image(v) {
					in[i] = nhwc([4]int{})
				}
			}
			l := k.Layout(n, in)
			copy(out, l.Out)
			in = slices.Clone(l.In)
		}
		sign := func(l graph.Layout) float64 {
			if l.Order == graph.NHWC {
				return -planesReorder
			}
			return planesReorder
		}
		for i, v := range n.In {
			if image(v) && i < len(in) {
				add(v, sign(in[i]))
			}
		}
		for i, v := range n.Out {
			if image(v) {
				add(v, sign(out[i]))
			}
		}
	}
	if !found {
		return nil
	}
	for _, v := range g.Outputs {
		if image(v) {
			add(v, planesReorder)
		}
	}
	return func(v *graph.Value) bool {
		r := find(v)
		return image(v) && gain[r] > 0
	}
}

// planes reports whether the node's first output is to be row-major.
func (e *Env) planes(n *graph.Node) bool { return e.Planes != nil && e.Planes(n.Out[0]) }

// registerElementwise registers an elementwise kernel, and its form that has all images
// row-major.
func registerElementwise(k Kernel) {
	Register(k)
	match, prepare, name := k.Match, k.Prepare, k.Name
	k.Name, k.Priority, k.Layout = name+"_planes", k.Priority+1, nil
	k.Match = func(n *graph.Node, e *Env) bool { return e.planes(n) && match(n, e) }
	k.Prepare = func(n *graph.Node, e *Env) (*Prepared, error) {
		p, err := prepare(n, e)
		if p != nil && p.Kernel == "" {
			p.Kernel = name
		}
		return p, err
	}
	Register(k)
}
