package pass

import (
	"bytes"
	"math"
	"slices"

	"whit/graph"
	"whit/op"
	"whit/tensor"
	"whit/weight"
)

// Quantize turns the DequantizeLinear → operator → QuantizeLinear of a bound graph
// into nodes on integers of 8 bits:
//
//	DQ → move → …        ⇒ move → DQ → …          Reshape, Transpose, Split, MaxPool, …
//	move → Q             ⇒ Q → move               the same, and Concat
//	DQ → functions → Q   ⇒ whit.QTable            a table made from the references; nothing, if it is the identity
//	DQ → Conv, Gemm → Q  ⇒ QLinearConv            with constant weights
//	DQ → Conv, Gemm → PRelu, LeakyRelu → Q ⇒ whit.QLinearConvPRelu
//	DQ → Add, pools → Q  ⇒ whit.QLinearAdd, ...
//	DQ → Mul → Q         ⇒ whit.QLinearMul        of one shape, or by one number or one a channel
//
// The functions of one value may be several nodes, as x·sigmoid(x) are, and have Q → DQ between them.
// Weights are a DequantizeLinear of constants, or one constant held as weight.Int8.
// A Relu or Clip before Q becomes a Clip of the integers, one whit.Fused with the
// operator. Scales must be single finite positive numbers (of weights also one an output channel); a bias joins only where its scale is
// float32(sx·sw) and its zero point 0; sums must be proven to fit int32. Everything else runs as written.
//
// floats, which may be nil, says of a QLinearConv, alone or with its Clip, that it is to run as written too.
func Quantize(g *graph.Graph, floats func(*graph.Node) bool) error {
	if !slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return n.Domain == "" && n.Op == "QuantizeLinear" }) {
		return nil
	}
	q := &quantizer{g: g, floats: floats, sub: map[*graph.Value]*graph.Value{}}
	if err := q.lower(); err != nil {
		return err
	}
	q.lift()
	q.fuse()
	DeadCode(g)
	return nil
}

// FoldConstants folds what Bind has left: the weights that stay floats. Large matrices stay
// as the integers that they are ([weight.Int8]), for kernels that decode them.
func FoldConstants(g *graph.Graph) error {
	fold := map[*graph.Value]*graph.Value{}
	keep := g.Nodes[:0:0]
	for _, n := range g.Nodes {
		for i, v := range n.In {
			if c := fold[v]; c != nil {
				n.In[i] = c
			}
		}
		if slices.ContainsFunc(n.Out, func(v *graph.Value) bool { return slices.Contains(g.Outputs, v) }) {
			keep = append(keep, n)
			continue
		}
		cs, err := foldLevels(g, n)
		if cs == nil {
			cs, err = foldNode(g, n)
		}
		if err != nil {
			return err
		}
		if cs == nil {
			keep = append(keep, n)
			continue
		}
		for i, v := range n.Out {
			if v != nil {
				fold[v] = cs[i]
			}
		}
	}
	g.Nodes = keep
	return nil
}

// largeMatrix is the number of elements from which on a matrix stays in levels.
const largeMatrix = 512 << 10

// foldLevels folds a DequantizeLinear of constants of 8 bits or fewer: a large matrix to its
// levels, another constant to floats, however many they are. nil: it is none.
func foldLevels(g *graph.Graph, n *graph.Node) ([]*graph.Value, error) {
	if !isConstDequantize(n) || n.In[0].Type.DType == tensor.Int32 || n.Out[0].Type.DType != tensor.Float32 || n.In[1].Type.DType != tensor.Float32 {
		return nil, nil
	}
	w := weight.Int8{Q: n.In[0].Tensor(), Axis: weight.PerTensor, Group: int(n.Int("block_size", 0)), Scale: tensor.Of[float32](n.In[1].Tensor())}
	if s := n.In[1].Type.Shape; len(s) > 0 && (w.Group > 0 || s[0] > 1) {
		rank := len(n.In[0].Type.Shape)
		w.Axis = (int(n.Int("axis", 1)) + rank) % rank
	}
	if z := n.Input(2); z != nil {
		for _, v := range integers(z.Tensor()) {
			w.Zero = append(w.Zero, int32(v))
		}
	}
	if weight.Check(w) != nil {
		return nil, nil
	}
	name := g.NewName(n.Out[0].Name)
	if s := w.Q.Shape; len(s) == 2 && s.NumElements() >= largeMatrix {
		return []*graph.Value{g.NewWeight(name, w)}, nil
	}
	return []*graph.Value{g.NewConst(name, w.Dense())}, nil
}

// isConstDequantize reports a DequantizeLinear of constants whose integers may serve as they are.
func isConstDequantize(n *graph.Node) bool {
	if n.Domain != "" || n.Op != "DequantizeLinear" || len(n.In) < 2 || slices.ContainsFunc(n.In, func(v *graph.Value) bool { return v != nil && !v.IsConst() }) {
		return false
	}
	t := n.In[0].Type
	switch t.DType {
	case tensor.Int8, tensor.Uint8, tensor.Int32, tensor.Int4, tensor.Uint4, tensor.Int2, tensor.Uint2:
		return len(t.Shape) > 0
	}
	return false
}

type quantizer struct {
	g      *graph.Graph
	floats func(*graph.Node) bool
	uses   map[*graph.Value][]graph.Use
	sub    map[*graph.Value]*graph.Value // values that turned out to be others
	wide   map[*graph.Value]*graph.Value // constants of fewer bits, as bytes
}

// grain is a per-tensor quantisation: x = (q - zero)·scale.
type grain struct {
	scale float32
	zero  int
	t     tensor.DType
}

func (g *grain) limits() (lo, hi int) {
	if g.t == tensor.Int8 {
		return -128, 127
	}
	return 0, 255
}

func positive32(s float32) bool { return s > 0 && !math.IsInf(float64(s), 0) }

// grainOf reads a QuantizeLinear or DequantizeLinear to or from float32 of one constant
// scale, finite and positive, and 8 bits.
func grainOf(n *graph.Node) (grain, bool) {
	if n == nil || n.Domain != "" || n.Op != "QuantizeLinear" && n.Op != "DequantizeLinear" || n.Int("block_size", 0) != 0 || n.Int("precision", 0) > 1 {
		return grain{}, false
	}
	q, f := n.Out[0], n.In[0]
	if n.Op == "DequantizeLinear" {
		q, f = f, q
	}
	s, z := n.In[1], n.Input(2)
	if q.Type.DType != tensor.Int8 && q.Type.DType != tensor.Uint8 || f.Type.DType != tensor.Float32 ||
		!s.IsConst() || s.Type.DType != tensor.Float32 || s.Type.Shape.NumElements() != 1 || z != nil && (!z.IsConst() || z.Type.Shape.NumElements() != 1) {
		return grain{}, false
	}
	gr := grain{scale: tensor.Of[float32](s.Tensor())[0], t: q.Type.DType}
	if z != nil {
		gr.zero = integers(z.Tensor())[0]
	}
	return gr, positive32(gr.scale)
}

// integers is the data of a tensor of integers of at most 8 or of 32 bits.
func integers(t *tensor.Tensor) []int {
	out := make([]int, t.Len())
	switch t.DType {
	case tensor.Int8:
		for i, v := range tensor.Of[int8](t) {
			out[i] = int(v)
		}
	case tensor.Uint8:
		for i, v := range tensor.Of[uint8](t) {
			out[i] = int(v)
		}
	case tensor.Int32:
		for i, v := range tensor.Of[int32](t) {
			out[i] = int(v)
		}
	case tensor.Int4, tensor.Uint4, tensor.Int2, tensor.Uint2:
		w := weight.Int8{Q: t}
		for i := range out {
			out[i] = int(w.Level(i))
		}
	}
	return out
}

// zeroPoints are integers of zero points, one where all are equal.
func zeroPoints(t *tensor.Tensor) []int {
	if b := t.Bytes(); t.DType.Bits() == 8 && len(b) > 0 && bytes.Count(b, b[:1]) == len(b) {
		if t.DType == tensor.Int8 {
			return []int{int(int8(b[0]))}
		}
		return []int{int(b[0])}
	}
	return integers(t)
}

// cyclic is s[c%len(s)], which is seldom beyond its end.
func cyclic(s []float32, c int) float32 {
	if c < len(s) {
		return s[c]
	}
	return s[c%len(s)]
}

// dequantized is the DequantizeLinear of one scale that computes v.
func dequantized(v *graph.Value) (*graph.Node, grain, bool) {
	if v == nil || v.Producer == nil || v.Producer.Op != "DequantizeLinear" {
		return nil, grain{}, false
	}
	gr, ok := grainOf(v.Producer)
	return v.Producer, gr, ok
}

// moves are the operators that only move elements of input 0; a maximum commutes with
// a rising function too.
func moves(n *graph.Node) bool {
	if n.Domain != "" || len(n.In) == 0 || n.In[0] == nil {
		return false
	}
	switch n.Op {
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "DepthToSpace", "SpaceToDepth", "Identity":
		return true
	case "MaxPool":
		// A window of padding only is -Inf, which no integer is.
		k, p := n.Ints("kernel_shape"), n.Ints("pads")
		for i, v := range p {
			if len(k) == 0 || v >= k[i%len(k)] {
				return false
			}
		}
		return len(n.Out) == 1 && !slices.ContainsFunc(n.Ints("dilations"), func(d int64) bool { return d != 1 })
	}
	return false
}

// lower moves DequantizeLinear behind the nodes that only move.
func (q *quantizer) lower() error {
	g := q.g
	var nodes []*graph.Node
	for _, n := range g.Nodes {
		for i, v := range n.In {
			if s := q.sub[v]; s != nil {
				n.In[i] = s
			}
		}
		ins := 0
		switch {
		case moves(n):
			ins = 1
		case n.Domain == "" && n.Op == "Concat" && len(n.In) > 0:
			ins = len(n.In)
		}
		var first grain
		var dq *graph.Node
		ok := ins > 0
		for i := 0; ok && i < ins; i++ {
			d, gr, is := dequantized(n.In[i])
			if ok = is && (i == 0 || gr == first); ok && i == 0 {
				first, dq = gr, d
			}
		}
		if !ok {
			nodes = append(nodes, n)
			continue
		}
		m := &graph.Node{Name: n.Name, Op: n.Op, Attrs: n.Attrs, In: slices.Clone(n.In)}
		for i := range ins {
			m.In[i] = n.In[i].Producer.In[0]
		}
		ints := make([]*graph.Value, len(n.Out))
		for i, v := range n.Out {
			if v != nil {
				ints[i] = &graph.Value{Name: g.NewName(v.Name), Type: tensor.Type{DType: first.t, Shape: v.Type.Shape}, Producer: m}
			}
		}
		m.Out = ints
		if cs, err := constants(g, m); err != nil {
			return err
		} else if cs != nil {
			ints = cs
		} else {
			nodes = append(nodes, m)
		}
		for i, v := range n.Out {
			if v == nil {
				continue
			}
			d := &graph.Node{Name: g.NewName(dq.Name), Op: dq.Op, Attrs: dq.Attrs, In: slices.Clone(dq.In), Out: []*graph.Value{v}}
			d.In[0], v.Producer = ints[i], d
			nodes = append(nodes, d)
		}
	}
	g.Nodes = nodes
	return nil
}

// lift moves QuantizeLinear before the nodes that only move, where it then stands
// behind something to fuse with.
func (q *quantizer) lift() {
	g := q.g
	uses := g.Uses()
	before := map[*graph.Node][]*graph.Node{}
	gone := map[*graph.Node]bool{}
	var lift func(qn *graph.Node)
	lift = func(qn *graph.Node) {
		gr, ok := grainOf(qn)
		m := qn.In[0].Producer
		if !ok || m == nil || len(m.Out) != 1 || len(uses[qn.In[0]]) != 1 {
			return
		}
		ins := 1
		if m.Domain == "" && m.Op == "Concat" {
			ins = len(m.In)
		} else if !moves(m) {
			return
		}
		for _, v := range m.In[:ins] {
			if !fusable(v.Producer) {
				return
			}
		}
		for i, v := range m.In[:ins] {
			n := &graph.Node{Name: g.NewName(qn.Name), Op: qn.Op, Attrs: qn.Attrs, In: slices.Clone(qn.In)}
			n.In[0] = v
			w := &graph.Value{Name: g.NewName(v.Name), Type: tensor.Type{DType: gr.t, Shape: v.Type.Shape}, Producer: n}
			n.Out = []*graph.Value{w}
			m.In[i] = w
			before[m] = append(before[m], n)
		}
		m.Out[0], qn.Out[0].Producer = qn.Out[0], m
		gone[qn] = true
		for _, n := range before[m] {
			lift(n)
		}
	}
	for _, n := range slices.Backward(g.Nodes) {
		if n.Domain == "" && n.Op == "QuantizeLinear" {
			lift(n)
		}
	}
	var nodes []*graph.Node
	var add func(n *graph.Node)
	add = func(n *graph.Node) {
		for _, b := range before[n] {
			add(b)
		}
		if !gone[n] {
			nodes = append(nodes, n)
		}
	}
	for _, n := range g.Nodes {
		add(n)
	}
	g.Nodes = nodes
}

// fusable reports whether n, or what n moves, may become a node on integers with the
// QuantizeLinear behind it.
func fusable(n *graph.Node) bool {
	if n == nil || n.Domain != "" {
		return false
	}
	if n.Op == "DequantizeLinear" {
		_, ok := grainOf(n)
		return ok
	}
	v := n.Input(0)
	if moves(n) {
		return v != nil && fusable(v.Producer)
	}
	if vs := elementwise(n); len(vs) == 1 && n.Op != "Add" {
		return fusable(vs[0].Producer)
	}
	switch n.Op {
	case "Conv", "Gemm", "MatMul", "Add", "Mul", "AveragePool", "GlobalAveragePool":
		_, _, ok := dequantized(v)
		return ok
	}
	return false
}

// fuse replaces QuantizeLinear nodes and what they stand behind.
func (q *quantizer) fuse() {
	g := q.g
	q.uses = g.Uses()
	var nodes []*graph.Node
	for _, n := range g.Nodes {
		for i, v := range n.In {
			if s := q.sub[v]; s != nil {
				n.In[i] = s
			}
		}
		if n.Domain != "" || n.Op != "QuantizeLinear" {
			nodes = append(nodes, n)
			continue
		}
		nodes = append(nodes, q.node(n)...)
	}
	g.Nodes = nodes
}

// node is what takes the place of the QuantizeLinear n: itself, or nodes on integers.
func (q *quantizer) node(n *graph.Node) []*graph.Node {
	keep := []*graph.Node{n}
	y, ok := grainOf(n)
	if !ok {
		return keep
	}
	if t := q.table(n); t != nil {
		return t
	}
	// Limits between the operator and n, as integers.
	lo, hi := y.limits()
	p := n.In[0].Producer
	for p != nil && p.Domain == "" && (p.Op == "Relu" || p.Op == "Clip") && len(q.uses[p.Out[0]]) == 1 {
		if !clipLimits(p, &y, &lo, &hi) {
			return keep
		}
		p = p.In[0].Producer
	}
	if p == nil || p.Domain != "" || len(p.Out) != 1 || len(q.uses[p.Out[0]]) != 1 {
		return keep
	}
	l, h := y.limits()
	limited := lo != l || hi != h
	s := p // slopes below zero
	if slopes(s) != nil && !limited {
		if p = s.In[0].Producer; p == nil || p.Domain != "" || len(p.Out) != 1 || len(q.uses[p.Out[0]]) != 1 ||
			p.Op != "Conv" && (p.Op != "Gemm" && p.Op != "MatMul" || len(n.Out[0].Type.Shape) != 2) {
			return keep
		}
	}
	_, x, ok := dequantized(p.Input(0))
	if !ok {
		return keep
	}
	out := n.Out[0]
	var ms []*graph.Node
	switch p.Op {
	case "Conv":
		ms = q.conv(p, n, x, y)
	case "Gemm", "MatMul":
		ms = q.gemm(p, n, x, y)
	case "Add", "Mul":
		d, b, ok := dequantized(p.In[1])
		a := p.In[0].Producer
		if !ok || a.In[0].IsConst() || d.In[0].IsConst() {
			return keep
		}
		if p.Op == "Add" {
			ok = p.In[0].Type.Shape.Equal(p.In[1].Type.Shape) && positive32(ratio(x.scale, 1, y.scale)) && positive32(ratio(b.scale, 1, y.scale))
		} else {
			ok = (repeats(p.In[0].Type.Shape, p.In[1].Type.Shape) || repeats(p.In[1].Type.Shape, p.In[0].Type.Shape)) && positive32(ratio(x.scale, b.scale, y.scale))
		}
		if !ok {
			return keep
		}
		ms = q.one(&graph.Node{Name: p.Name, Domain: graph.Domain, Op: "QLinear" + p.Op, In: []*graph.Value{
			a.In[0], q.scale(x), q.zero(x), d.In[0], q.scale(b), q.zero(b), q.scale(y), q.zero(y)}}, out.Type.Shape, y.t)
	case "AveragePool", "GlobalAveragePool":
		if !positive32(ratio(x.scale, 1, y.scale)) {
			return keep
		}
		ms = q.one(&graph.Node{Name: p.Name, Domain: graph.Domain, Op: "QLinear" + p.Op, Attrs: p.Attrs, In: []*graph.Value{
			p.In[0].Producer.In[0], q.scale(x), q.zero(x), q.scale(y), q.zero(y)}}, out.Type.Shape, y.t)
	}
	if len(ms) == 0 {
		return keep
	}
	if s != p {
		i := slices.IndexFunc(ms, func(m *graph.Node) bool { return m.Op == "QLinearConv" })
		if !q.sloped(ms[i], slopes(s)) {
			return keep
		}
	}
	if q.floats != nil && slices.ContainsFunc(ms, func(m *graph.Node) bool { return m.Op == "QLinearConv" && q.floats(m) }) {
		return keep
	}
	if limited {
		i := slices.IndexFunc(ms, func(m *graph.Node) bool { return m.Op != "Reshape" })
		if ms[i] = q.clipped(ms[i], lo, hi, y.t); ms[i] == nil {
			return keep
		}
	}
	last := ms[len(ms)-1]
	last.Out[0], out.Producer = out, last
	for _, m := range ms {
		if ts, err := op.Infer(m); err != nil || !ts[0].Equal(m.Out[0].Type) {
			out.Producer = n
			return keep
		}
	}
	return ms
}

// repeats reports whether a value of shape s multiplies one of shape x as a whole, channel by channel (axis 1) or element by element.
func repeats(x, s tensor.Shape) bool {
	if s.NumElements() == 1 {
		return len(s) <= len(x)
	}
	if s.Equal(x) {
		return true
	}
	for i := range s {
		a := len(x) - len(s) + i
		if a < 0 || s[i] != x[a] && (s[i] != 1 || a == 1) || a > 1 && s[i] != 1 {
			return false
		}
	}
	return len(s) >= len(x)-1
}

// slopes are those of a PRelu or LeakyRelu of a convolution's or a product's result below zero, one or one a channel; nil for
// other nodes.
func slopes(n *graph.Node) []float32 {
	switch {
	case n.Domain != "" || n.Input(0) == nil:
		return nil
	case n.Op == "LeakyRelu":
		return []float32{n.Float("alpha", 0.01)}
	case n.Op != "PRelu" || n.In[1].Type.DType != tensor.Float32 || n.In[1].Tensor() == nil:
		return nil
	}
	s, x := n.In[1].Type.Shape, n.In[0].Type.Shape
	if k := s.NumElements(); k != 1 && (len(x) < 2 || len(s) < len(x)-1 || k != x[1] || s[len(s)-len(x)+1] != k) {
		return nil
	}
	return tensor.Of[float32](n.In[1].Tensor())
}

// sloped gives a QLinearConv slopes below zero.
func (q *quantizer) sloped(n *graph.Node, slope []float32) bool {
	s := tensor.New(tensor.Float32, n.In[3].Type.Shape[0])
	for c, v := range tensor.Of[float32](s) {
		if v = slope[c%len(slope)]; v-v != 0 {
			return false
		}
		tensor.Of[float32](s)[c] = v
	}
	if n.Domain, n.Op = graph.Domain, "QLinearConvPRelu"; len(n.In) == 8 {
		n.In = append(n.In, nil)
	}
	n.In = append(n.In, q.g.NewConst("", s))
	return true
}

// ratio is sx·sw/sy in float64, rounded once.
func ratio(sx, sw, sy float32) float32 { return float32(float64(sx) * float64(sw) / float64(sy)) }

func (q *quantizer) scale(gr grain) *graph.Value {
	return q.g.NewConst("", tensor.Scalar(gr.scale))
}

func (q *quantizer) zero(gr grain) *graph.Value {
	t := tensor.New(gr.t)
	t.Bytes()[0] = byte(gr.zero)
	return q.g.NewConst("", t)
}

// one gives the node its output.
func (q *quantizer) one(n *graph.Node, s tensor.Shape, t tensor.DType) []*graph.Node {
	n.Out = []*graph.Value{{Name: q.g.NewName(n.Name), Type: tensor.Type{DType: t, Shape: s}, Producer: n}}
	return []*graph.Node{n}
}

// clipLimits narrows [lo,hi] by a Relu or a Clip of constants in front of y: a limit's
// integer, because rounding rises.
func clipLimits(p *graph.Node, y *grain, lo, hi *int) bool {
	quant := func(f float32) int {
		l, h := y.limits()
		v := float64(f / y.scale)
		return int(math.RoundToEven(min(max(v, float64(l-y.zero)), float64(h-y.zero)))) + y.zero
	}
	if p.Op == "Relu" {
		*lo = max(*lo, min(*hi, y.zero))
		return true
	}
	for i := 1; i < len(p.In); i++ {
		v := p.In[i]
		if v == nil {
			continue
		}
		if !v.IsConst() || v.Type.DType != tensor.Float32 || v.Type.Shape.NumElements() != 1 {
			return false
		}
		f := tensor.Of[float32](v.Tensor())[0]
		if f != f {
			return false
		}
		if b := quant(f); i == 1 {
			*lo = min(max(*lo, b), *hi)
		} else {
			*hi = max(*lo, min(*hi, b))
		}
	}
	return true
}

// clipped is whit.Fused of n and a Clip of its integers.
func (q *quantizer) clipped(n *graph.Node, lo, hi int, t tensor.DType) *graph.Node {
	b := graph.New(n.Name)
	m := &graph.Node{Name: q.g.NewName(n.Name), Domain: n.Domain, Op: n.Op, Attrs: n.Attrs}
	for range n.In {
		v := &graph.Value{Name: q.g.NewName("in"), Kind: graph.Input}
		b.Inputs, m.In = append(b.Inputs, v), append(m.In, v)
	}
	mid := &graph.Value{Name: q.g.NewName("mid"), Producer: m}
	m.Out = []*graph.Value{mid}
	bound := func(v int) *graph.Value {
		x := tensor.New(t)
		x.Bytes()[0] = byte(v)
		return b.NewConst(q.g.NewName("bound"), x)
	}
	c := &graph.Node{Name: q.g.NewName("Clip"), Op: "Clip", In: []*graph.Value{mid, bound(lo), bound(hi)}}
	c.Out = []*graph.Value{{Name: q.g.NewName("out"), Producer: c}}
	b.Nodes, b.Outputs = []*graph.Node{m, c}, c.Out
	f := &graph.Node{Name: n.Name, Domain: graph.Domain, Op: "Fused", Attrs: map[string]any{"body": b}, In: n.In, Out: n.Out}
	f.Out[0].Producer = f
	return f
}

// weights reads the constant weights of p's input i, whose output channels are axis:
// the integers' value, scale and zero point, of which there may be one for all.
func (q *quantizer) weights(v *graph.Value, axis int) (w *graph.Value, scale []float32, zero []int, ok bool) {
	if l, is := v.Weight.(weight.Int8); is && v.IsConst() { // a DequantizeLinear in one constant
		if l.Group != 0 || l.Axis != weight.PerTensor && l.Axis != axis {
			return nil, nil, nil, false
		}
		zero = make([]int, len(l.Scale))
		for i, z := range l.Zero {
			zero[i] = int(z)
		}
		if slices.ContainsFunc(l.Scale, func(s float32) bool { return !positive32(s) }) {
			return nil, nil, nil, false
		}
		return q.bytes(q.g.NewConst(q.g.NewName(v.Name), l.Q)), l.Scale, zero, len(l.Scale) > 0
	}
	d := v.Producer
	if d == nil || !isConstDequantize(d) || d.In[0].Type.DType == tensor.Int32 || d.In[1].Type.DType != tensor.Float32 || d.Int("block_size", 0) != 0 {
		return nil, nil, nil, false
	}
	w = d.In[0]
	scale = tensor.Of[float32](d.In[1].Tensor())
	if a := int(d.Int("axis", 1)); len(scale) != 1 && (a+len(w.Type.Shape))%len(w.Type.Shape) != axis {
		return nil, nil, nil, false
	}
	if zero = make([]int, 1); d.Input(2) != nil {
		zero = zeroPoints(d.In[2].Tensor())
	}
	if len(zero) == 0 {
		return nil, nil, nil, false
	}
	if z := zero[:1]; !slices.ContainsFunc(zero, func(v int) bool { return v != z[0] }) {
		zero = z // one for all
	} else if len(zero) != len(scale) {
		return nil, nil, nil, false
	}
	for _, s := range scale {
		if !positive32(s) {
			return nil, nil, nil, false
		}
	}
	return q.bytes(w), scale, zero, len(scale) > 0
}

// bytes is a constant of integers with a byte for each: those of 4 and 2 bits widened, once.
func (q *quantizer) bytes(v *graph.Value) *graph.Value {
	d := tensor.Uint8
	if v.Type.DType.IsSigned() {
		d = tensor.Int8
	}
	if !v.Type.DType.Packed() {
		return v
	}
	if w := q.wide[v]; w != nil {
		return w
	}
	t := tensor.New(d, v.Type.Shape...)
	for i, k := range integers(v.Tensor()) {
		t.Bytes()[i] = byte(k)
	}
	if q.wide == nil {
		q.wide = map[*graph.Value]*graph.Value{}
	}
	q.wide[v] = q.g.NewConst(q.g.NewName(v.Name), t)
	return q.wide[v]
}

// bias is the int32 bias if its scale is float32(sx·sw) and its zero point 0.
func (q *quantizer) bias(v *graph.Value, sx float32, sw []float32, channels int) (*graph.Value, bool) {
	if v == nil {
		return nil, true
	}
	d := v.Producer
	if d == nil || !isConstDequantize(d) || d.In[0].Type.DType != tensor.Int32 || !d.In[0].Type.Shape.Equal(tensor.Shape{channels}) ||
		d.In[1].Type.DType != tensor.Float32 || d.Int("block_size", 0) != 0 {
		return nil, false
	}
	s := tensor.Of[float32](d.In[1].Tensor())
	for c := range channels {
		if cyclic(s, c) != float32(sx*cyclic(sw, c)) {
			return nil, false
		}
	}
	if z := d.Input(2); z != nil {
		for _, b := range z.Tensor().Bytes() {
			if b != 0 {
				return nil, false
			}
		}
	}
	return d.In[0], true
}

// linear makes the QLinearConv of x and w[channels, k...].
func (q *quantizer) linear(p *graph.Node, x, w *graph.Value, gx, gy grain, sw []float32, zw []int, bias *graph.Value, s tensor.Shape) []*graph.Node {
	channels := w.Type.Shape[0]
	if !op.FitsInt32(w.Tensor(), zw, bias.Tensor(), gx.zero, gx.t) {
		return nil
	}
	scale, zero := tensor.From(sw, len(sw)), tensor.New(w.Type.DType, len(sw))
	for i, b := 0, zero.Bytes(); i < len(b); i++ {
		b[i] = byte(zw[min(i, len(zw)-1)])
	}
	for c := range channels {
		if !positive32(ratio(gx.scale, cyclic(sw, c), gy.scale)) {
			return nil
		}
	}
	attrs := map[string]any{}
	for k, v := range p.Attrs {
		if p.Op == "Conv" {
			attrs[k] = v
		}
	}
	in := []*graph.Value{x, q.scale(gx), q.zero(gx), w, q.g.NewConst("", scale), q.g.NewConst("", zero), q.scale(gy), q.zero(gy)}
	if bias != nil {
		in = append(in, bias)
	}
	return q.one(&graph.Node{Name: p.Name, Op: "QLinearConv", Attrs: attrs, In: in}, s, gy.t)
}

func (q *quantizer) conv(p, n *graph.Node, gx, gy grain) []*graph.Node {
	w, sw, zw, ok := q.weights(p.In[1], 0)
	if !ok || len(w.Type.Shape) == 0 {
		return nil
	}
	b, ok := q.bias(p.Input(2), gx.scale, sw, w.Type.Shape[0])
	if !ok {
		return nil
	}
	return q.linear(p, p.In[0].Producer.In[0], w, gx, gy, sw, zw, b, n.Out[0].Type.Shape)
}

// gemm is a convolution of images of one pixel, between Reshapes.
func (q *quantizer) gemm(p, n *graph.Node, gx, gy grain) []*graph.Node {
	trans := p.Op == "Gemm" && p.Int("transB", 0) != 0
	if p.Op == "Gemm" && (p.Int("transA", 0) != 0 || p.Float("alpha", 1) != 1 || p.Input(2) != nil && p.Float("beta", 1) != 1) {
		return nil
	}
	axis := 1
	if trans {
		axis = 0
	}
	w, sw, zw, ok := q.weights(p.In[1], axis)
	if !ok || len(w.Type.Shape) != 2 {
		return nil
	}
	t, s := w.Tensor(), w.Type.Shape
	if !trans {
		u := tensor.New(t.DType, s[1], s[0])
		for i := range s[0] {
			for j, v := range t.Bytes()[i*s[1] : (i+1)*s[1]] {
				u.Bytes()[j*s[0]+i] = v
			}
		}
		t = u
	}
	b, ok := q.bias(p.Input(2), gx.scale, sw, t.Shape[0])
	if !ok {
		return nil
	}
	x := p.In[0].Producer.In[0]
	if len(x.Type.Shape) < 2 || t.Shape[1] == 0 || t.Shape[0] == 0 {
		return nil
	}
	rows := x.Type.Shape.NumElements() / t.Shape[1]
	shape := func(s ...int64) *graph.Value { return q.g.NewConst("", tensor.From(s, len(s))) }
	in := q.one(&graph.Node{Name: q.g.NewName(p.Name), Op: "Reshape", In: []*graph.Value{x, shape(int64(rows), int64(t.Shape[1]), 1, 1)}},
		tensor.Shape{rows, t.Shape[1], 1, 1}, gx.t)
	ms := q.linear(p, in[0].Out[0], q.g.NewConst("", t.Reshape(t.Shape[0], t.Shape[1], 1, 1)), gx, gy, sw, zw, b, tensor.Shape{rows, t.Shape[0], 1, 1})
	if ms == nil {
		return nil
	}
	var dims []int64
	for _, d := range n.Out[0].Type.Shape {
		dims = append(dims, int64(d))
	}
	out := q.one(&graph.Node{Name: q.g.NewName(p.Name), Op: "Reshape", In: []*graph.Value{ms[0].Out[0], shape(dims...)}}, n.Out[0].Type.Shape, gy.t)
	return append(append(in, ms...), out...)
}
