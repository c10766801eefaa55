package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// The normalizations share one formula: x falls into sets, and within each set
//
//	y = scale·(x - mean)/sqrt(var + epsilon) + bias
//
// with the set's own mean and population variance; RMSNormalization has neither mean
// nor bias. They differ in what a set is and in how scale and bias are laid over x:
//
//	InstanceNormalization  x [N,C,...], a set is one channel of one image, scale and bias [C]
//	GroupNormalization     x [N,C,...], a set is C/num_groups channels of one image, scale and bias [C]
//	LayerNormalization     a set is what lies under axis (default -1), scale and bias broadcast to x
//	RMSNormalization       the same
//
// LayerNormalization's outputs 1 and 2 are the mean and 1/sqrt(var + epsilon), of the
// type that stash_type says. Everything is computed at one precision, float32 or
// better, and rounded once; stash_type changes nothing else.
func init() {
	for _, o := range []norm{
		{name: "InstanceNormalization", mean: true},
		{name: "GroupNormalization", mean: true},
		{name: "LayerNormalization", mean: true, below: true},
		{name: "RMSNormalization", below: true},
	} {
		Register(Op{Name: o.name, Infer: o.infer, Ref: o.ref, VJP: o.vjp, Channels: o.channels})
		// The gradients have inputs dy, x and scale, the attributes of the operator and
		// the outputs dx, dscale and, but for RMSNormalization, dbias (which has scale's
		// shape; LayerNormalization's bias must have that too to be trained).
		Register(Op{Domain: graph.Domain, Name: o.name + "Grad", Infer: o.inferGrad, Ref: o.refGrad})
	}
}

// norm is one of the family: mean says that the mean is subtracted, below that a
// set is what lies under an axis.
type norm struct {
	name        string
	mean, below bool
}

// sets is the size of a set in elements; x's elements lie in order of sets.
func (o norm) size(n *graph.Node, x tensor.Shape) (int, error) {
	if o.below {
		axis, err := axisOf(n, -1, len(x))
		if err != nil {
			return 0, err
		}
		return x[axis:].NumElements(), nil
	}
	if len(x) < 2 || len(x) < 3 && o.name == "InstanceNormalization" {
		return 0, Errorf(n, "x %v has too few axes", x)
	}
	if o.name == "InstanceNormalization" {
		return x[2:].NumElements(), nil
	}
	g := n.Int("num_groups", 0)
	if g < 1 || g > int64(max(1, x[1])) || x[1]%int(g) != 0 {
		return 0, Errorf(n, "num_groups is %d, want a divisor of the %d channels", g, x[1])
	}
	return x[1] / int(g) * x[2:].NumElements(), nil
}

// parameter checks the shape of scale or bias.
func (o norm) parameter(n *graph.Node, x, p tensor.Shape) error {
	if !o.below {
		if !p.Equal(x[1:2]) {
			return Errorf(n, "scale or bias has shape %v, want %v", p, x[1:2])
		}
		return nil
	}
	for i := range p {
		if d := p[len(p)-1-i]; i >= len(x) || d != 1 && d != x[len(x)-1-i] {
			return Errorf(n, "scale or bias %v does not broadcast to x %v", p, x)
		}
	}
	return nil
}

// index maps an element of x to its element of a scale or bias of shape p.
func (o norm) index(x, p tensor.Shape) func(int) int {
	if !o.below {
		inner := x[2:].NumElements()
		return func(i int) int { return i / inner % x[1] }
	}
	if p.NumElements() == 1 {
		return func(int) int { return 0 }
	}
	if len(p) <= len(x) && p.Equal(x[len(x)-len(p):]) {
		size := p.NumElements()
		return func(i int) int { return i % size }
	}
	return func(i int) int {
		k, stride := 0, 1
		for a := len(x) - 1; a >= 0; a-- {
			if b := a - len(x) + len(p); b >= 0 && p[b] != 1 {
				k += i % x[a] * stride
				stride *= p[b]
			}
			i /= x[a]
		}
		return k
	}
}

func (o norm) inputs() (least, most int) {
	switch {
	case !o.below:
		return 3, 3
	case o.mean:
		return 2, 3
	}
	return 2, 2
}

func (o norm) infer(n *graph.Node) ([]tensor.Type, error) {
	least, most := o.inputs()
	if err := Want(n, least, most, Floats...); err != nil {
		return nil, err
	}
	x, y := n.In[0].Type, n.In[0].Type
	if o.mean {
		if err := oneType(n, 0, 1, 2); err != nil {
			return nil, err
		}
	} else {
		y.DType = n.In[1].Type.DType
	}
	if _, err := o.size(n, x.Shape); err != nil {
		return nil, err
	}
	for _, p := range n.In[1:] {
		if p == nil {
			continue
		}
		if err := o.parameter(n, x.Shape, p.Type.Shape); err != nil {
			return nil, err
		}
	}
	stash := n.Int("stash_type", 1)
	if stash != 1 && stash != 16 {
		return nil, Unsupported(n, "stash_type %d, want 1 (float32) or 16 (bfloat16)", stash)
	}
	if o.name != "LayerNormalization" {
		return []tensor.Type{y}, nil
	}
	stat := tensor.Type{DType: tensor.Float32, Shape: x.Shape.Clone()}
	if stash == 16 {
		stat.DType = tensor.BFloat16
	}
	axis, _ := axisOf(n, -1, len(x.Shape))
	for a := axis; a < len(stat.Shape); a++ {
		stat.Shape[a] = 1
	}
	return []tensor.Type{y, stat, stat}, nil
}

// stats is the mean and 1/sqrt(var + epsilon) of each set.
func (o norm) stats(n *graph.Node, x []float64, size, sets int) (mean, inv []float64) {
	mean, inv = make([]float64, sets), make([]float64, sets)
	eps := float64(n.Float("epsilon", 1e-5))
	for s := range sets {
		set := x[s*size : (s+1)*size]
		if o.mean {
			for _, v := range set {
				mean[s] += v
			}
			mean[s] /= float64(size)
		}
		var sum float64
		for _, v := range set {
			sum += (v - mean[s]) * (v - mean[s])
		}
		inv[s] = 1 / math.Sqrt(sum/float64(size)+eps)
	}
	return mean, inv
}

func (o norm) ref(n *graph.Node, in, out []*tensor.Tensor) error {
	x, scale := wide(in[0]), wide(in[1])
	var bias []float64
	if len(in) > 2 {
		bias = wide(in[2])
	}
	size, err := o.size(n, in[0].Shape)
	if err != nil {
		return err
	}
	sets := 0
	if len(out) > 1 && out[1] != nil {
		sets = out[1].Len() // also where the sets are empty
	}
	if len(out) > 2 && out[2] != nil {
		sets = out[2].Len()
	}
	if size > 0 {
		sets = len(x) / size
	}
	mean, inv := o.stats(n, x, size, sets)
	if out[0] != nil {
		y := make([]float64, len(x))
		si := o.index(in[0].Shape, in[1].Shape)
		bi := si
		if bias != nil {
			bi = o.index(in[0].Shape, in[2].Shape)
		}
		for i, v := range x {
			y[i] = scale[si(i)] * ((v - mean[i/size]) * inv[i/size])
			if bias != nil {
				y[i] += bias[bi(i)]
			}
		}
		narrow(out[0], y)
	}
	if len(out) > 1 {
		narrow(out[1], mean)
	}
	if len(out) > 2 {
		narrow(out[2], inv)
	}
	return nil
}

func (o norm) vjp(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
	d := make([]*graph.Value, len(n.In))
	if grads[0] == nil {
		return d, nil
	}
	outs := 2
	if o.mean {
		outs = 3
	}
	if b := n.Input(2); o.below && b != nil && !b.IsConst() && (b.Bound() != n.In[1].Bound() || !b.Type.Shape.Equal(n.In[1].Type.Shape)) {
		return nil, Unsupported(n, "the gradient needs scale and bias of one shape")
	}
	copy(d, g.AddN(graph.Domain, o.name+"Grad", normAttrs(n), outs, grads[0], n.In[0], n.In[1]))
	return d, nil
}

func normAttrs(n *graph.Node) map[string]any {
	m := map[string]any{"epsilon": n.Float("epsilon", 1e-5)}
	for _, name := range []string{"axis", "num_groups"} {
		if v, ok := n.Attrs[name]; ok {
			m[name] = v
		}
	}
	return m
}

func (o norm) inferGrad(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 3, 3, Floats...); err != nil {
		return nil, err
	}
	dy, x, s := n.In[0].Type, n.In[1].Type, n.In[2].Type
	if !dy.Shape.Equal(x.Shape) || o.mean && (dy.DType != x.DType || s.DType != x.DType) {
		return nil, Errorf(n, "dy is %v, x is %v, scale is %v", dy, x, s)
	}
	if _, err := o.size(n, x.Shape); err != nil {
		return nil, err
	}
	if err := o.parameter(n, x.Shape, s.Shape); err != nil {
		return nil, err
	}
	if !o.mean {
		return []tensor.Type{x, s}, nil
	}
	return []tensor.Type{x, s, s}, nil
}

func (o norm) refGrad(n *graph.Node, in, out []*tensor.Tensor) error {
	dy, x, scale := wide(in[0]), wide(in[1]), wide(in[2])
	size, err := o.size(n, in[1].Shape)
	if err != nil {
		return err
	}
	dx, ds, db := make([]float64, len(x)), make([]float64, len(scale)), make([]float64, len(scale))
	sets := 0
	if size > 0 {
		sets = len(x) / size
	}
	mean, inv := o.stats(n, x, size, sets)
	index := o.index(in[1].Shape, in[2].Shape)
	for s := range sets {
		var sum, dot float64
		for i := s * size; i < (s+1)*size; i++ {
			h, k := (x[i]-mean[s])*inv[s], index(i)
			sum += dy[i] * scale[k]
			dot += dy[i] * scale[k] * h
			ds[k] += dy[i] * h
			db[k] += dy[i]
		}
		if !o.mean {
			sum = 0
		}
		for i := s * size; i < (s+1)*size; i++ {
			h := (x[i] - mean[s]) * inv[s]
			dx[i] = inv[s] * (dy[i]*scale[index(i)] - (sum+h*dot)/float64(size))
		}
	}
	narrow(out[0], dx)
	if len(out) > 1 {
		narrow(out[1], ds)
	}
	if len(out) > 2 {
		narrow(out[2], db)
	}
	return nil
}

// channels: channels are independent in InstanceNormalization only; axes that sets
// do not mix pass.
func (o norm) channels(n *graph.Node) []Coupling {
	x := n.In[0].Type.Shape
	switch o.name {
	case "InstanceNormalization":
		return append(passLeading(n), Coupling{From: Port{Axis: 1}, To: Port{Index: 1}}, Coupling{From: Port{Axis: 1}, To: Port{Index: 2}})
	case "GroupNormalization":
		return []Coupling{{From: Port{}, To: Port{Out: true}}}
	}
	axis, _ := axisOf(n, -1, len(x))
	var cs []Coupling
	for a := range axis {
		for i, v := range n.Out {
			if v != nil {
				cs = append(cs, Coupling{From: Port{Axis: a}, To: Port{Out: true, Index: i, Axis: a}})
			}
		}
		for i, p := range n.In {
			if p == nil || i == 0 {
				continue
			}
			if b := a - len(x) + len(p.Type.Shape); b >= 0 && p.Type.Shape[b] != 1 {
				cs = append(cs, Coupling{From: Port{Axis: a}, To: Port{Index: i, Axis: b}})
			}
		}
	}
	return cs
}
