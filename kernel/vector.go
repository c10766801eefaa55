package kernel

import (
	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// Elementwise float32 operators. NHWC values pass through: the loops run over
// physical memory, whatever the strides.
func init() {
	for name, op := range map[string]kern.Op{"Add": kern.OpAdd, "Sub": kern.OpSub, "Mul": kern.OpMul, "Div": kern.OpDiv, "PRelu": kern.OpPRelu} {
		registerElementwise(Kernel{
			Op: name, Name: "f32_" + lower(name), Priority: 10,
			Match:  func(n *graph.Node, _ *Env) bool { return f32Node(n) && len(n.In) == 2 },
			Layout: elementwiseLayout,
			Prepare: func(n *graph.Node, e *Env) (*Prepared, error) {
				flat := kern.FlatOf(e.CPU)
				return elementwise(n, func(*Call) binaryFunc {
					return func(_, dst, a, b []float32, sa, sb int) { flat.Binary(op, dst, a, b, sa, sb) }
				}), nil
			},
		})
	}
	unary := func(name string, match func(n *graph.Node) bool, f func(n *graph.Node, v kern.Flat) func(dst, x []float32)) {
		registerElementwise(Kernel{
			Op: name, Name: "f32_" + lower(name), Priority: 10,
			Match: func(n *graph.Node, _ *Env) bool {
				return f32Node(n) && len(n.Out) == 1 && (match == nil && len(n.In) == 1 || match != nil && match(n))
			},
			Layout: elementwiseLayout,
			Prepare: func(n *graph.Node, e *Env) (*Prepared, error) {
				m := *n
				m.In = n.In[:1]
				run := f(n, kern.FlatOf(e.CPU))
				p := elementwise(&m, func(*Call) binaryFunc {
					return func(_, dst, a, _ []float32, _, _ int) { run(dst, a) }
				})
				for i := 1; i < len(n.In); i++ {
					p.Packed = append(p.Packed, i)
				}
				return p, nil
			},
		})
	}
	clamp := func(n *graph.Node, v kern.Flat) func(dst, x []float32) {
		a, _ := limits(n)
		return func(dst, x []float32) { v.Clamp(dst, x, a.lo, a.hi) }
	}
	constLimits := func(n *graph.Node) bool { _, ok := limits(n); return ok }
	unary("Relu", nil, clamp)
	unary("Clip", constLimits, clamp)
	unary("LeakyRelu", nil, func(n *graph.Node, v kern.Flat) func(dst, x []float32) {
		slope := []float32{n.Float("alpha", 0.01)}
		return func(dst, x []float32) { v.Binary(kern.OpPRelu, dst, x, slope, 1, 0) }
	})
	unary("Sigmoid", nil, func(_ *graph.Node, v kern.Flat) func(dst, x []float32) { return v.Sigmoid })
	unary("Tanh", nil, func(_ *graph.Node, v kern.Flat) func(dst, x []float32) { return v.Tanh })
	unary("HardSigmoid", nil, func(n *graph.Node, v kern.Flat) func(dst, x []float32) {
		return hard(v, n.Float("alpha", 0.2), n.Float("beta", 0.5), false)
	})
	unary("HardSwish", nil, func(_ *graph.Node, v kern.Flat) func(dst, x []float32) { return hard(v, 1.0/6, 0.5, true) })
}

// hard is max(0, min(1, a·x + b)), times x if so; NaN stays NaN. dst may be x.
func hard(v kern.Flat, a, b float32, times bool) func(dst, x []float32) {
	return func(dst, x []float32) {
		var h [512]float32 // between the steps
		as, bs := [1]float32{a}, [1]float32{b}
		for len(dst) > 0 {
			n := min(len(dst), len(h))
			v.Binary(kern.OpMul, h[:n], x, as[:], 1, 0)
			v.Binary(kern.OpAdd, h[:n], h[:n], bs[:], 1, 0)
			v.Clamp(h[:n], h[:n], 0, 1)
			if times {
				v.Binary(kern.OpMul, dst[:n], x, h[:n], 1, 1)
			} else {
				copy(dst[:n], h[:n])
			}
			dst, x = dst[n:], x[n:]
		}
	}
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// elementwiseLayout asks for NHWC where an image comes in it, else for row-major.
func elementwiseLayout(n *graph.Node, in []graph.Layout) Layouts {
	l := Layouts{In: make([]graph.Layout, len(in)), Out: make([]graph.Layout, len(n.Out))}
	if len(n.Out[0].Type.Shape) != 4 {
		return l
	}
	for i, v := range n.In {
		if in[i].Order != graph.NHWC || v == nil || v.IsConst() {
			continue
		}
		l.Out[0] = nhwc([4]int{})
		for j, w := range n.In {
			if w != nil && !w.IsConst() && len(w.Type.Shape) == 4 {
				l.In[j] = nhwc([4]int{})
			}
		}
		break
	}
	return l
}

// binaryFunc is dst[i] = f(a[i·sa], b[i·sb]), steps 0 or 1, with tmp for what lies between.
type binaryFunc = func(tmp, dst, a, b []float32, sa, sb int)

// loop is a nest of loops over up to two inputs and an output.
type loop struct {
	dims []int
	st   [3][]int // strides of a, b and y over dims
	at   [3]int   // where each begins
}

// stridesOver are the strides of v over dims, the output's logical shape, with 0 where
// v is broadcast; at is where its first element is.
func stridesOver(v *graph.Value, dims tensor.Shape) (st []int, at int) {
	st = make([]int, len(dims))
	s := v.Type.Shape
	own := s.Strides()
	if v.Layout.Order == graph.NHWC {
		n, c, h, w, off := Stride(s, v.Layout)
		own, at = []int{n, c, h, w}, off
	}
	for i := range s {
		if s[i] != 1 {
			st[len(dims)-len(s)+i] = own[i]
		}
	}
	return st, at
}

// nest makes the loops of an elementwise node: NHWC outputs in the order n, h, w,
// c, neighbours joined where all strides allow.
func nest(ins []*graph.Value, out *graph.Value) loop {
	var l loop
	shape := out.Type.Shape
	var st [3][]int
	for i, v := range ins {
		st[i], l.at[i] = stridesOver(v, shape)
	}
	for i := len(ins); i < 2; i++ {
		st[i] = make([]int, len(shape))
	}
	st[2], l.at[2] = stridesOver(out, shape)
	order := make([]int, len(shape))
	for i := range order {
		order[i] = i
	}
	if out.Layout.Order == graph.NHWC {
		order = []int{0, 2, 3, 1}
	}
	for _, d := range order {
		if shape[d] == 1 {
			continue
		}
		k := len(l.dims) - 1
		join := k >= 0
		for j := range st {
			join = join && l.st[j][k] == st[j][d]*shape[d]
		}
		if join {
			l.dims[k] *= shape[d]
			for j := range st {
				l.st[j][k] = st[j][d]
			}
			continue
		}
		l.dims = append(l.dims, shape[d])
		for j := range st {
			l.st[j] = append(l.st[j], st[j][d])
		}
	}
	if len(l.dims) == 0 {
		l.dims = []int{1}
		for j := range l.st {
			l.st[j] = []int{1}
		}
	}
	return l
}

// repeat is how many floats a short row of b, the same for every pixel, is
// repeated to in scratch, so that loops are long.
const repeat = 512

// joinRepeated joins the last two loops where a and y are contiguous over both and b
// is one row of period floats (channels) for all; 0: nothing joined.
func (l *loop) joinRepeated() (period int) {
	k := len(l.dims) - 1
	if k < 1 || l.dims[k] > repeat/4 || l.st[1][k-1] != 0 || l.st[1][k] != 1 {
		return 0
	}
	for _, j := range []int{0, 2} {
		if l.st[j][k] != 1 || l.st[j][k-1] != l.dims[k] {
			return 0
		}
	}
	period = l.dims[k]
	l.dims[k-1] *= period
	l.dims = l.dims[:k]
	for j := range l.st {
		l.st[j] = l.st[j][:k]
		l.st[j][k-1] = 1
	}
	l.st[1][k-1] = 0
	// Loops further out may join now.
	for k--; k > 0; k-- {
		for _, j := range []int{0, 2} {
			if l.st[j][k-1] != l.dims[k] {
				return period
			}
		}
		if l.st[1][k-1] != 0 {
			return period
		}
		l.dims[k-1] *= l.dims[k]
		l.dims = l.dims[:k]
		for j := range l.st {
			l.st[j] = l.st[j][:k]
			l.st[j][k-1] = 1
		}
		l.st[1][k-1] = 0
	}
	return period
}

// elementwise runs f over the loops of the node's one or two inputs.
func elementwise(n *graph.Node, bind func(c *Call) binaryFunc) *Prepared {
	return elementwiseIn(n, 0, bind)
}

// elementwiseIn is elementwise where f needs that many floats of temporary memory.
func elementwiseIn(n *graph.Node, floats int, bind func(c *Call) binaryFunc) *Prepared {
	const chunk = 8192
	l := nest(n.In, n.Out[0])
	period := 0
	if len(n.In) == 2 {
		period = l.joinRepeated()
	}
	rep := 0 // floats of the repeated row: whole periods
	if period > 0 {
		rep = repeat / period * period
	}
	last := len(l.dims) - 1
	inner, outer := l.dims[last], 1
	for _, d := range l.dims[:last] {
		outer *= d
	}
	sa, sb, sy := l.st[0][last], l.st[1][last], l.st[2][last]
	chunks := max(1, (inner+chunk-1)/chunk)
	units := outer * chunks
	// Tiles of about chunk elements.
	tiles := max(1, min(units, (outer*inner+chunk-1)/chunk))
	shape := n.Out[0].Type.Shape
	if shape.NumElements() == 0 {
		return &Prepared{Phases: []Phase{{Run: func(*Call, int, []byte) {}}}}
	}
	var y view
	halo := n.Out[0].Layout.Halo != [4]int{}
	if halo {
		y = viewOf(n.Out[0])
	}
	f := bind(nil)
	p := &Prepared{Scratch: 4 * (rep + floats)}
	for i, v := range n.In {
		if v.Type.Equal(n.Out[0].Type) {
			p.InPlace = append(p.InPlace, i)
		}
	}
	p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, scratch []byte) {
		a, b, out := f32s(c.In[0]), []float32(nil), f32s(c.Out[0])
		if len(n.In) > 1 {
			b = f32s(c.In[1])
		} else {
			b = a
		}
		tmp := kern.Floats(scratch)[rep:]
		if halo {
			r0, r1 := part(tile, tiles, y.n*y.h)
			for r := r0; r < r1; r++ {
				y.clearHalo(out, r/y.h, r%y.h, r%y.h+1)
			}
		}
		u0, u1 := part(tile, tiles, units)
		for u := u0; u < u1; u++ {
			i, k := u/chunks, u%chunks
			from, to := part(k, chunks, inner)
			ia, ib, iy := l.at[0]+from*sa, l.at[1]+from*sb, l.at[2]+from*sy
			for d := last - 1; d >= 0; d-- {
				r := i % l.dims[d]
				i /= l.dims[d]
				ia, ib, iy = ia+r*l.st[0][d], ib+r*l.st[1][d], iy+r*l.st[2][d]
			}
			if period > 0 {
				row := kern.Floats(scratch)[:rep]
				// Units of one tile mostly share the row, but a gate differs by image.
				copy(row, b[ib:ib+period])
				for k := period; k < rep; k *= 2 {
					copy(row[k:], row[:k])
				}
				for j := from; j < to; {
					k := j % period
					step := min(to-j, rep-k)
					f(tmp, out[iy:iy+step], a[ia:], row[k:], 1, 1)
					j, ia, iy = j+step, ia+step, iy+step
				}
				continue
			}
			if sy == 1 && sa <= 1 && sb <= 1 {
				f(tmp, out[iy:iy+to-from], a[ia:], b[ib:], sa, sb)
				continue
			}
			for j := range to - from {
				f(tmp, out[iy+j*sy:][:1], a[ia+j*sa:][:1], b[ib+j*sb:][:1], 1, 1)
			}
		}
	}}}
	return p
}
