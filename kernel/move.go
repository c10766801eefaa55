package kernel

import (
	"cmp"
	"slices"

	"whit/graph"
	"whit/internal/kern"
	"whit/op"
	"whit/tensor"
)

// Operators that only move elements of 4 bytes or one: Transpose, Slice, Split,
// DepthToSpace, SpaceToDepth, Pad with a constant, the gradients of Slice and such a
// Pad, and a Transpose between two Reshapes (channel shuffle) as one whit.Fused. Each
// output is a nest of loops with one stride a loop on either side, so that NHWC and
// row-major images are read and written where they are; what Pad and the gradients
// leave out has been filled before.
func init() {
	registerMoves("x32", 32, tensor.Words)
	registerMoves("x8", 8, (*tensor.Tensor).Bytes)
}

func registerMoves[T element](prefix string, bits int, of func(*tensor.Tensor) []T) {
	for _, m := range []struct {
		domain, op string
		match      func(n *graph.Node) bool
		layout     func(n *graph.Node, in []graph.Layout) Layouts
	}{
		{"", "Transpose", nil, transposeLayout},
		{"", "Slice", func(n *graph.Node) bool { _, _, err := op.SliceSpans(n); return err == nil }, moveLayout},
		{"", "Split", nil, moveLayout},
		{"", "DepthToSpace", nil, depthToSpaceLayout},
		{"", "SpaceToDepth", nil, moveLayout},
		{"", "Pad", padMoves, padLayout},
		{graph.Domain, "PadGrad", padMoves, moveLayout},
		{graph.Domain, "SliceGrad", func(n *graph.Node) bool {
			_, _, err := op.SliceSpans(n)
			return err == nil && n.In[0].Type.Shape.NumElements() > 0
		}, moveLayout},
		{graph.Domain, "Fused", func(n *graph.Node) bool { return shuffleBody(n) != nil }, shuffleLayout},
	} {
		name := m.op
		if name == "Fused" {
			name = "Shuffle"
		}
		Register(Kernel{
			Domain: m.domain, Op: m.op, Name: prefix + "_" + lower(name), Priority: 10,
			Match: func(n *graph.Node, _ *Env) bool {
				if n.In[0].Type.DType.Bits() != bits {
					return false
				}
				for _, v := range n.Out {
					if v == nil || v.Type.Shape.NumElements() == 0 {
						return false
					}
				}
				return m.match == nil || m.match(n)
			},
			Layout:  m.layout,
			Prepare: func(n *graph.Node, e *Env) (*Prepared, error) { return prepareMove(n, e, of) },
		})
	}
}

// moveLayout passes NHWC through.
func moveLayout(n *graph.Node, in []graph.Layout) Layouts {
	l := Layouts{In: make([]graph.Layout, len(in)), Out: make([]graph.Layout, len(n.Out))}
	if in[0].Order == graph.NHWC {
		l.In[0] = nhwc([4]int{})
		for i := range l.Out {
			l.Out[i] = nhwc([4]int{})
		}
	}
	return l
}

// depthToSpaceLayout writes pictures, of at most four channels, row-major: they leave the graph.
func depthToSpaceLayout(n *graph.Node, in []graph.Layout) Layouts {
	l := moveLayout(n, in)
	if n.Out[0].Type.Shape[1] <= 4 {
		l.Out[0] = graph.Layout{}
	}
	return l
}

// padMoves reports Pad and PadGrad nodes that copy one block, with a constant around.
func padMoves(n *graph.Node) bool {
	before, after, err := op.PadBorders(n)
	if err != nil || n.Str("mode", "constant") != "constant" {
		return false
	}
	if v := n.Input(2); n.Op == "Pad" && v != nil && !v.IsConst() {
		return false
	}
	for k, d := range padded(n).Type.Shape {
		if d+min(0, before[k])+min(0, after[k]) <= 0 {
			return false
		}
	}
	return true
}

// padded is the value without what Pad adds: its input, or the output of its gradient.
func padded(n *graph.Node) *graph.Value {
	if n.Op == "Pad" {
		return n.In[0]
	}
	return n.Out[0]
}

// padLayout passes NHWC through where halos hold what is added, zero.
func padLayout(n *graph.Node, in []graph.Layout) Layouts {
	if v := n.Input(2); v != nil && !zero(v) {
		return Layouts{In: make([]graph.Layout, len(in)), Out: make([]graph.Layout, 1)}
	}
	return moveLayout(n, in)
}

// zero reports a constant whose first element is all bits 0.
func zero(v *graph.Value) bool {
	t := v.Tensor()
	return !slices.ContainsFunc(t.Bytes()[:t.DType.Bits()/8], func(b byte) bool { return b != 0 })
}

// transposeLayout reads either order and writes row-major.
func transposeLayout(n *graph.Node, in []graph.Layout) Layouts {
	l := moveLayout(n, in)
	l.Out[0] = graph.Layout{}
	return l
}

func shuffleLayout(n *graph.Node, in []graph.Layout) Layouts {
	t := shuffleBody(n)
	if len(n.In[0].Type.Shape) == 4 && len(n.Out[0].Type.Shape) == 4 && in[0].Order == graph.NHWC {
		one := []int{1, 1, 1, 1}
		_, a := refine(n.In[0].Type.Shape, one, t.In[0].Type.Shape)
		_, b := refine(n.Out[0].Type.Shape, one, t.Out[0].Type.Shape)
		if a && b {
			return moveLayout(n, in)
		}
	}
	return Layouts{In: make([]graph.Layout, len(in)), Out: make([]graph.Layout, 1)}
}

// shuffleBody is the Transpose of a whit.Fused of Reshape, Transpose, Reshape; nil
// for other nodes.
func shuffleBody(n *graph.Node) *graph.Node {
	b := n.Graph("body")
	if b == nil || len(b.Nodes) != 3 || len(n.In) != 1 || len(n.Out) != 1 {
		return nil
	}
	for i, name := range []string{"Reshape", "Transpose", "Reshape"} {
		m := b.Nodes[i]
		if m.Domain != "" || m.Op != name || i == 0 && m.In[0] != b.Inputs[0] || i > 0 && m.In[0] != b.Nodes[i-1].Out[0] {
			return nil
		}
	}
	if b.Outputs[0] != b.Nodes[2].Out[0] {
		return nil
	}
	return b.Nodes[1]
}

// refine spreads the strides of an array of shape s over dims, the same elements
// in the same order. ok is false where dims do not divide the axes of s.
func refine(s tensor.Shape, strides []int, dims []int) (st []int, ok bool) {
	st = make([]int, len(dims))
	j := len(dims) - 1
	for d := len(s) - 1; d >= 0; d-- {
		step := strides[d]
		for rest := s[d]; rest > 1; j-- {
			if j < 0 || rest%dims[j] != 0 {
				return nil, false
			}
			st[j] = step
			step *= dims[j]
			rest /= dims[j]
		}
	}
	return st, true
}

// move is one output: dst[dat + i·dst] = src[sat + i·src] for every index i below dims.
type move struct {
	dims, src, dst []int
	sat, dat       int
	zip            kern.Zipper
}

// order sorts the loops by the stride of the destination, largest first, and joins
// neighbours. There are at least two loops afterwards.
func (m *move) order() {
	var ix []int
	for i, d := range m.dims {
		if d != 1 {
			ix = append(ix, i)
		}
	}
	slices.SortStableFunc(ix, func(a, b int) int { return cmp.Compare(m.dst[b], m.dst[a]) })
	r := move{sat: m.sat, dat: m.dat, zip: m.zip}
	for _, i := range ix {
		if k := len(r.dims) - 1; k >= 0 && r.src[k] == m.src[i]*m.dims[i] && r.dst[k] == m.dst[i]*m.dims[i] {
			r.dims[k] *= m.dims[i]
			r.src[k], r.dst[k] = m.src[i], m.dst[i]
			continue
		}
		r.dims, r.src, r.dst = append(r.dims, m.dims[i]), append(r.src, m.src[i]), append(r.dst, m.dst[i])
	}
	for len(r.dims) < 2 {
		r.dims, r.src, r.dst = slices.Insert(r.dims, 0, 1), slices.Insert(r.src, 0, 0), slices.Insert(r.dst, 0, 0)
	}
	*m = r
}

// units is the number of planes of the two inner loops.
func (m *move) units() int {
	u := 1
	for _, d := range m.dims[:len(m.dims)-2] {
		u *= d
	}
	return u
}

// runMove copies unit u, rows [r0,r1) of it.
func runMove[T element](m *move, dst, src []T, u, r0, r1 int) {
	last := len(m.dims) - 1
	si, di := m.sat, m.dat
	for k := last - 2; k >= 0; k-- {
		i := u % m.dims[k]
		u /= m.dims[k]
		si, di = si+i*m.src[k], di+i*m.dst[k]
	}
	cols, rs, rd := m.dims[last], m.src[last-1], m.dst[last-1]
	cs, cd := m.src[last], m.dst[last]
	switch {
	case cs == 1 && cd == 1 && cols > 4:
		for r := r0; r < r1; r++ {
			copy(dst[di+r*rd:][:cols], src[si+r*rs:])
		}
	case cols == 2 && cd == 1 && rd == 2 && rs == 1: // two rows into pairs
		zip(m.zip, dst[di+2*r0:], src[si+r0:][:r1-r0], src[si+cs+r0:])
	case min(cs, cd, rs, rd) < 0: // backwards
		for r := r0; r < r1; r++ {
			s, d := si+r*rs, di+r*rd
			for range cols {
				dst[d] = src[s]
				s, d = s+cs, d+cd
			}
		}
	case cols < r1-r0: // the longer loop is the inner one
		for c := range cols {
			moveLine(dst[di+c*cd+r0*rd:], rd, src[si+c*cs+r0*rs:], rs, r1-r0)
		}
	default:
		for r := r0; r < r1; r++ {
			moveLine(dst[di+r*rd:], cd, src[si+r*rs:], cs, cols)
		}
	}
}

// moveLine is dst[i*to] = src[i*from] for i < n, where steps are not negative.
func moveLine[T element](dst []T, to int, src []T, from, n int) {
	if n < 1 {
		return
	}
	dst = dst[:(n-1)*to+1]
	if from == 1 && to == 1 {
		copy(dst, src)
		return
	}
	switch {
	case from == 1 && to == 2:
		for i, v := range src[:n] {
			dst[2*i] = v
		}
	case to == 1:
		s := 0
		for i := range dst {
			dst[i] = src[s]
			s += from
		}
	default:
		d, s := 0, 0
		for range n {
			dst[d] = src[s]
			d, s = d+to, s+from
		}
	}
}

// zip is dst[2i] = a[i], dst[2i+1] = b[i] for i < len(a).
func zip[T element](z kern.Zipper, dst, a, b []T) {
	if d, ok := any(dst).([]uint32); ok {
		z.Zip(d, any(a).([]uint32), any(b).([]uint32))
		return
	}
	dst, b = dst[:2*len(a)], b[:len(a)]
	for i, v := range a {
		dst[2*i], dst[2*i+1] = v, b[i]
	}
}

// physical are the strides of a value over its logical axes.
func physical(v *graph.Value) (st []int, at int) {
	s := v.Type.Shape
	if v.Layout.Order == graph.NHWC {
		n, c, h, w, off := Stride(s, v.Layout)
		return []int{n, c, h, w}, off
	}
	return s.Strides(), 0
}

// moveOf is the loops of output i of the node.
func moveOf(n *graph.Node, i int) move {
	x, y := n.In[0], n.Out[i]
	xs, ys := x.Type.Shape, y.Type.Shape
	var m move
	var xst, yst []int
	xst, m.sat = physical(x)
	yst, m.dat = physical(y)
	perm := func(n *graph.Node, rank int) []int {
		p := make([]int, rank)
		for k := range p {
			p[k] = rank - 1 - k
		}
		for k, v := range n.Ints("perm") {
			p[k] = int(v)
		}
		return p
	}
	switch n.Op {
	case "Transpose":
		m.dims, m.dst = ys, yst
		for _, k := range perm(n, len(xs)) {
			m.src = append(m.src, xst[k])
		}
	case "Slice":
		starts, steps, _ := op.SliceSpans(n)
		m.dims, m.dst = ys, yst
		for k, st := range xst {
			m.src = append(m.src, st*steps[k])
			m.sat += st * starts[k]
		}
	case "SliceGrad":
		starts, steps, _ := op.SliceSpans(n)
		m.dims, m.src = xs, xst
		for k, st := range yst {
			m.dst = append(m.dst, st*steps[k])
			m.dat += st * starts[k]
		}
	case "Pad", "PadGrad":
		// In the longer of the two the block begins behind what is added, in the shorter
		// behind what is cut.
		before, after, _ := op.PadBorders(n)
		short, long, ss, ls := &m.sat, &m.dat, xst, yst
		if n.Op == "PadGrad" {
			short, long, ss, ls = &m.dat, &m.sat, yst, xst
		}
		for k, d := range padded(n).Type.Shape {
			m.dims = append(m.dims, d+min(0, before[k])+min(0, after[k]))
			*short -= min(0, before[k]) * ss[k]
			*long += max(0, before[k]) * ls[k]
		}
		m.src, m.dst = xst, yst
	case "Split":
		axis := PartsAxis(n)
		for _, v := range n.Out[:i] {
			m.sat += v.Type.Shape[axis] * xst[axis]
		}
		m.dims, m.src, m.dst = ys, xst, yst
	case "DepthToSpace", "SpaceToDepth":
		// The deep image has channels deep, the wide one rows and columns wide.
		deep, wide, w := xst, yst, xs
		if n.Op == "SpaceToDepth" {
			deep, wide, w = yst, xst, ys
		}
		b := int(n.Int("blocksize", 1))
		c := w[1] / (b * b)
		row, col, ch := b*c*deep[1], c*deep[1], deep[1]
		if n.Str("mode", "DCR") == "CRD" {
			row, col, ch = b*deep[1], deep[1], b*b*deep[1]
		}
		m.dims = []int{w[0], c, w[2], b, w[3], b}
		d := []int{deep[0], ch, deep[2], row, deep[3], col}
		e := []int{wide[0], wide[1], b * wide[2], wide[2], b * wide[3], wide[3]}
		m.src, m.dst = d, e
		if n.Op == "SpaceToDepth" {
			m.src, m.dst = e, d
		}
	case "Fused":
		t := shuffleBody(n)
		mid := t.In[0].Type.Shape
		a, ok := refine(xs, xst, mid)
		if !ok { // row-major: any shape of the same elements
			a = mid.Strides()
		}
		m.dims = t.Out[0].Type.Shape
		if m.dst, ok = refine(ys, yst, m.dims); !ok {
			m.dst = tensor.Shape(m.dims).Strides()
		}
		for _, k := range perm(t, len(mid)) {
			m.src = append(m.src, a[k])
		}
	}
	m.order()
	return m
}

func prepareMove[T element](n *graph.Node, e *Env, of func(*tensor.Tensor) []T) (*Prepared, error) {
	p := &Prepared{}
	for i := 1; i < len(n.In); i++ {
		p.Packed = append(p.Packed, i)
	}
	for i, v := range n.Out {
		if v.Within == n.In[0] { // part of the input's memory
			continue
		}
		m := moveOf(n, i)
		m.zip = kern.ZipperOf(e.CPU)
		if n.Op == "Pad" || n.Op == "PadGrad" || n.Op == "SliceGrad" {
			p.Phases = append(p.Phases, around(n, of))
		}
		units, rows := m.units(), m.dims[len(m.dims)-2]
		tu, tr := split(units, rows, m.dims[len(m.dims)-1]*16)
		var y view
		halo := v.Layout.Halo != [4]int{}
		if halo {
			y = viewOf(v)
		}
		p.Phases = append(p.Phases, Phase{Tiles: tu * tr, Run: func(c *Call, tile int, _ []byte) {
			src, dst := of(c.In[0]), of(c.Out[i])
			if halo {
				r0, r1 := part(tile, tu*tr, y.n*y.h)
				for r := r0; r < r1; r++ {
					clearHalo4(&y, dst, r/y.h, r%y.h, r%y.h+1)
				}
			}
			u0, u1 := part(tile/tr, tu, units)
			r0, r1 := part(tile%tr, tr, rows)
			for u := u0; u < u1; u++ {
				runMove(&m, dst, src, u, r0, r1)
			}
		}})
	}
	return p, nil
}

// around is the phase that fills output 0, halo and all, with Pad's constant or zero.
func around[T element](n *graph.Node, of func(*tensor.Tensor) []T) Phase {
	var c T
	if n.Op == "Pad" && n.Input(2) != nil {
		c = of(n.In[2].Tensor())[0]
	}
	v := n.Out[0]
	size := PhysicalLen(v.Type.Shape, v.Layout)
	return Phase{Tiles: (size + spanLen - 1) / spanLen, Run: func(call *Call, tile int, _ []byte) {
		d := of(call.Out[0])[tile*spanLen : min(size, (tile+1)*spanLen)]
		if c == 0 {
			clear(d)
			return
		}
		for i := range d {
			d[i] = c
		}
	}}
}
