package kernel

import (
	"slices"

	"whit/graph"
	"whit/internal/kern"
	"whit/op"
	"whit/tensor"
)

// Training operators on flat memory: the loss, the updates, and elementwise work
// on values of one layout.
func init() {
	f32 := func(f func(n *graph.Node) bool) func(*graph.Node, *Env) bool {
		return func(n *graph.Node, e *Env) bool { return n.In[0].Type.DType == tensor.Float32 && f(n) }
	}
	always := func(*graph.Node) bool { return true }
	Register(Kernel{
		Domain: graph.Domain, Op: "ReluGrad", Name: "f32_relugrad", Priority: 10,
		Match: f32(always), Layout: alikeLayout, Prepare: prepareAlike(func(k kern.Vec, c *Call, from, to int) {
			k.ReluGrad(f32s(c.Out[0])[from:to], f32s(c.In[0])[from:], f32s(c.In[1])[from:])
		}, 0),
	})
	Register(Kernel{
		Domain: graph.Domain, Op: "GradSum", Name: "f32_gradsum", Priority: 10,
		Match: f32(always), Layout: alikeLayout, Prepare: func(n *graph.Node, e *Env) (*Prepared, error) {
			flat := kern.FlatOf(e.CPU)
			return prepareAlike(func(k kern.Vec, c *Call, from, to int) {
				y := f32s(c.Out[0])[from:to]
				if len(c.In) == 1 {
					copy(y, f32s(c.In[0])[from:to])
					return
				}
				flat.Binary(kern.OpAdd, y, f32s(c.In[0])[from:to], f32s(c.In[1])[from:to], 1, 1)
				for _, t := range c.In[2:] {
					k.Add(y, f32s(t)[from:to])
				}
			}, 0)(n, e)
		},
	})
	// SumTo of equal shapes: a gradient that was stretched along no axis in this binding.
	Register(Kernel{
		Domain: graph.Domain, Op: "SumTo", Name: "f32_sumto_same", Priority: 5,
		Match: f32(func(n *graph.Node) bool { return n.In[0].Type.Equal(n.Out[0].Type) }),
		Prepare: prepareAlike(func(_ kern.Vec, c *Call, from, to int) {
			copy(f32s(c.Out[0])[from:to], f32s(c.In[0])[from:to])
		}, 0),
	})
	Register(Kernel{
		Domain: graph.Domain, Op: "SoftmaxXent", Name: "f32_softmaxxent", Priority: 10,
		Match: f32(func(n *graph.Node) bool { return n.Input(2) == nil }), Prepare: prepareXent,
	})
	Register(Kernel{
		Domain: graph.Domain, Op: "SoftmaxXentGrad", Name: "f32_softmaxxentgrad", Priority: 10,
		Match:   f32(func(n *graph.Node) bool { return n.Input(2) == nil && n.Input(4) == nil && n.Input(3) != nil }),
		Prepare: prepareXentGrad,
	})
	Register(Kernel{Domain: graph.Domain, Op: "AdamW", Name: "f32_adamw", Priority: 10, Match: f32(always), Prepare: prepareAdamW})
	Register(Kernel{Domain: graph.Domain, Op: "SGD", Name: "f32_sgd", Priority: 10, Match: f32(always), Prepare: prepareSGD})
	Register(Kernel{
		Domain: graph.Domain, Op: "EMA", Name: "f32_ema", Priority: 10, Match: f32(always),
		Prepare: prepareAlike(func(k kern.Vec, c *Call, from, to int) {
			k.EMA(f32s(c.In[0])[from:to], f32s(c.In[1])[from:], f32s(c.In[2])[0])
		}),
	})
	Register(Kernel{
		Domain: graph.Domain, Op: "Assign", Name: "f32_assign", Priority: 10, Match: f32(always),
		Prepare: prepareAlike(func(k kern.Vec, c *Call, from, to int) { copy(f32s(c.In[0])[from:to], f32s(c.In[1])[from:]) }),
	})
}

// spanLen is how many elements a tile of elementwise work has: 64 KiB, far below
// 200 µs and above the cost of claiming a tile.
const spanLen = 1 << 14

// alikeLayout wants all inputs in the layout of the first that is an image, else in
// the first one's, and gives that to the output.
func alikeLayout(n *graph.Node, in []graph.Layout) Layouts {
	l := graph.Layout{Order: in[0].Order, CStride: in[0].CStride}
	if i := slices.IndexFunc(in, func(l graph.Layout) bool { return l.Order == graph.NHWC }); i >= 0 &&
		!slices.ContainsFunc(n.In, (*graph.Value).IsConst) {
		l = graph.Layout{Order: graph.NHWC, CStride: in[i].CStride}
	}
	ls := Layouts{Out: []graph.Layout{l}}
	for range n.In {
		ls.In = append(ls.In, l)
	}
	return ls
}

// prepareAlike runs work on spans of the elements where all values lie alike in
// memory, halos (all zero) and all; else value by value through row-major copies.
// inPlace lists the inputs whose memory the output may take over.
func prepareAlike(work func(k kern.Vec, c *Call, from, to int), inPlace ...int) func(*graph.Node, *Env) (*Prepared, error) {
	return func(n *graph.Node, e *Env) (*Prepared, error) {
		first, vec := n.In[0], kern.VecOf(e.CPU)
		alike := true
		for _, vs := range [][]*graph.Value{n.In, n.Out} {
			for _, v := range vs {
				alike = alike && (v == nil || v.Layout == first.Layout)
			}
		}
		if !alike {
			return unlike(n)
		}
		size := first.Type.Shape.NumElements()
		if first.Layout.Order == graph.NHWC {
			size = PhysicalLen(first.Type.Shape, first.Layout)
		}
		return &Prepared{InPlace: inPlace, Phases: []Phase{{Tiles: max(1, (size+spanLen-1)/spanLen),
			Run: func(c *Call, tile int, _ []byte) { work(vec, c, tile*spanLen, min(size, (tile+1)*spanLen)) }}}}, nil
	}
}

// unlike runs the reference on row-major copies of the inputs and copies its
// output into place.
func unlike(n *graph.Node) (*Prepared, error) {
	o := op.Of(n)
	return &Prepared{Phases: []Phase{{Tiles: 1, Run: func(*Call, int, []byte) {}}}, Err: func(c *Call) error {
		in := make([]*tensor.Tensor, len(c.In))
		for i, t := range c.In {
			in[i] = t
			if t != nil && n.In[i].Layout.Order == graph.NHWC {
				in[i] = tensor.New(t.DType, t.Shape...)
				relayout(f32s(in[i]), f32s(t), t.Shape, graph.Layout{}, n.In[i].Layout)
			}
		}
		out := []*tensor.Tensor{tensor.New(c.Out[0].DType, c.Out[0].Shape...)}
		if err := o.Ref(n, in, out); err != nil {
			return err
		}
		clear(f32s(c.Out[0]))
		relayout(f32s(c.Out[0]), f32s(out[0]), out[0].Shape, n.Out[0].Layout, graph.Layout{})
		return nil
	}}, nil
}

// relayout copies the elements of src in layout from to dst in layout to.
func relayout(dst, src []float32, s tensor.Shape, to, from graph.Layout) {
	tn, tc, th, tw, t0 := Stride(s, to)
	fn, fc, fh, fw, f0 := Stride(s, from)
	for n := range s[0] {
		for c := range s[1] {
			for y := range s[2] {
				for x := range s[3] {
					dst[t0+n*tn+c*tc+y*th+x*tw] = src[f0+n*fn+c*fc+y*fh+x*fw]
				}
			}
		}
	}
}

// xentTarget is the loss's target of class k.
func xentTarget(smoothing float64, label, k, classes int) float64 {
	t := smoothing / float64(classes)
	if k == label {
		t += 1 - smoothing
	}
	return t
}

// badLabel reports the first label beyond the classes.
func badLabel(n *graph.Node) func(c *Call) error {
	classes := n.In[0].Type.Shape[1]
	return func(c *Call) error {
		for i, l := range tensor.Of[int32](c.In[1]) {
			if int(l) >= classes {
				return op.Errorf(n, "label %d of sample %d, the logits have %d classes", l, i, classes)
			}
		}
		return nil
	}
}

func labelled(labels []int32) float64 {
	m := 0
	for _, l := range labels {
		if l >= 0 {
			m++
		}
	}
	return float64(max(1, m))
}

// prepareXent: samples in tiles, then the sum from the first to the last.
func prepareXent(n *graph.Node, _ *Env) (*Prepared, error) {
	rows, classes := n.In[0].Type.Shape[0], n.In[0].Type.Shape[1]
	smoothing := float64(n.Float("smoothing", 0))
	const block = 32
	each := func(call *Call) []float32 {
		if len(call.Out) > 1 && call.Out[1] != nil {
			return f32s(call.Out[1])
		}
		return kern.Floats(call.Temp)[2*rows:]
	}
	// Temp holds the losses in float64 (as two floats each would lose bits): they are
	// summed as rounded float32 losses are not.
	p := &Prepared{Temp: 8*rows + 4*rows, Scratch: 8 * classes, Err: badLabel(n)}
	p.Phases = []Phase{
		{Tiles: max(1, (rows+block-1)/block), Run: func(call *Call, tile int, scratch []byte) {
			x, labels, loss, out := f32s(call.In[0]), tensor.Of[int32](call.In[1]), kern.Doubles(call.Temp), each(call)
			prob := kern.Doubles(scratch)
			for i := tile * block; i < min(rows, (tile+1)*block); i++ {
				loss[i], out[i] = 0, 0
				l := int(labels[i])
				if l < 0 || l >= classes {
					continue
				}
				row := x[i*classes : (i+1)*classes]
				ls := kern.Softmax(prob, row)
				s := 0.0
				if smoothing == 0 {
					s = ls - float64(row[l])
				} else {
					for k, v := range row {
						s += float64(xentTarget(smoothing, l, k, classes) * (ls - float64(v)))
					}
				}
				loss[i], out[i] = s, float32(s)
			}
		}},
		{Tiles: 1, Run: func(call *Call, _ int, _ []byte) {
			s := 0.0
			for _, v := range kern.Doubles(call.Temp)[:rows] {
				s += v
			}
			f32s(call.Out[0])[0] = float32(s / labelled(tensor.Of[int32](call.In[1])))
		}},
	}
	return p, nil
}

func prepareXentGrad(n *graph.Node, _ *Env) (*Prepared, error) {
	rows, classes := n.In[0].Type.Shape[0], n.In[0].Type.Shape[1]
	smoothing := float64(n.Float("smoothing", 0))
	const block = 32
	return &Prepared{Scratch: 8 * classes, Err: badLabel(n), Phases: []Phase{{
		Tiles: max(1, (rows+block-1)/block),
		Run: func(call *Call, tile int, scratch []byte) {
			x, labels, dx := f32s(call.In[0]), tensor.Of[int32](call.In[1]), f32s(call.Out[0])
			w := float64(f32s(call.In[3])[0]) / labelled(labels)
			prob := kern.Doubles(scratch)[:classes]
			for i := tile * block; i < min(rows, (tile+1)*block); i++ {
				d := dx[i*classes : (i+1)*classes]
				l := int(labels[i])
				if l < 0 {
					clear(d)
					continue
				}
				kern.Softmax(prob, x[i*classes:(i+1)*classes])
				for k, p := range prob {
					d[k] = float32(w * (p - xentTarget(smoothing, l, k, classes)))
				}
			}
		},
	}}}, nil
}

func prepareAdamW(n *graph.Node, env *Env) (*Prepared, error) {
	size := n.In[0].Type.Shape.NumElements()
	scale, vec := n.Float("scale", 1), kern.VecOf(env.CPU)
	base := kern.Adam{Beta1: n.Float("beta1", 0.9), Beta2: n.Float("beta2", 0.999), Epsilon: n.Float("epsilon", 1e-8),
		Decay: n.Float("decay", 0), L2: n.Float("l2", 0), L1: n.Float("l1", 0)}
	return updateSpans(size, func(c *Call, from, to int) {
		s, h := base, f32s(c.In[4])
		s.LR, s.C1, s.C2, s.EMA = h[0]*scale, h[1], h[2], h[3]
		var e []float32
		if len(c.In) > 5 && c.In[5] != nil {
			e = f32s(c.In[5])[from:to]
		}
		vec.AdamW(&s, f32s(c.In[0])[from:to], f32s(c.In[1])[from:], f32s(c.In[2])[from:], f32s(c.In[3])[from:], e)
	})
}

func prepareSGD(n *graph.Node, env *Env) (*Prepared, error) {
	size := n.In[0].Type.Shape.NumElements()
	scale, vec := n.Float("scale", 1), kern.VecOf(env.CPU)
	base := kern.SGD{Momentum: n.Float("momentum", 0), Nesterov: n.Int("nesterov", 0) != 0,
		Decay: n.Float("decay", 0), L2: n.Float("l2", 0), L1: n.Float("l1", 0)}
	return updateSpans(size, func(c *Call, from, to int) {
		s, h := base, f32s(c.In[3])
		s.LR, s.EMA = h[0]*scale, h[3]
		var buf, e []float32
		if c.In[2] != nil {
			buf = f32s(c.In[2])[from:to]
		}
		if len(c.In) > 4 && c.In[4] != nil {
			e = f32s(c.In[4])[from:to]
		}
		vec.SGD(&s, f32s(c.In[0])[from:to], f32s(c.In[1])[from:], buf, e)
	})
}

func updateSpans(size int, work func(c *Call, from, to int)) (*Prepared, error) {
	return &Prepared{Phases: []Phase{{Tiles: max(1, (size+spanLen-1)/spanLen),
		Run: func(c *Call, tile int, _ []byte) { work(c, tile*spanLen, min(size, (tile+1)*spanLen)) }}}}, nil
}
