package optest

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// bodyOf makes a body: inputs named name.0, name.1, ..., outputs as f returns them.
func bodyOf(name string, inputs int, f func(g *graph.Graph, in []*graph.Value) []*graph.Value) *graph.Graph {
	g := graph.New(name)
	for i := range inputs {
		v := g.AddInput(name+"."+string(rune('a'+i)), tensor.Invalid)
		v.Decl.Ranked = false
	}
	g.Outputs = f(g, g.Inputs)
	// Names of bodies may not meet those of the graph around them.
	for _, n := range g.Nodes {
		for _, v := range n.Out {
			v.Name = name + "/" + v.Name
		}
	}
	return g
}

func init() {
	s0 := func(v int64) *tensor.Tensor { return of([]int{}, v) }
	f := func(v ...float32) *tensor.Tensor { return vec(v...) }
	add := func(g *graph.Graph, a, b *graph.Value) *graph.Value { return g.Add("", "Add", nil, a, b) }
	id := func(g *graph.Graph, v *graph.Value) *graph.Value { return g.Add("", "Identity", nil, v) }
	konst := func(g *graph.Graph, name string, t *tensor.Tensor) *graph.Value {
		return g.NewConst(g.Name+"."+name, t)
	}
	// The sum of what is captured, and the sums on the way.
	sum := bodyOf("sum", 4, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
		s := add(g, in[2], in[3])
		return []*graph.Value{id(g, in[1]), s, id(g, s)}
	})
	// Two states that change places; the results are the arguments.
	swap := bodyOf("swap", 4, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
		return []*graph.Value{id(g, in[1]), in[3], in[2]}
	})
	// A state that doubles its length, until it is long enough.
	grow := bodyOf("grow", 3, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
		y := g.AddN("", "Concat", map[string]any{"axis": int64(0)}, 1, in[2], in[2])[0]
		size := g.Add("", "Size", nil, y)
		return []*graph.Value{g.Add("", "Less", nil, size, konst(g, "limit", s0(10))), y}
	})
	forever := bodyOf("forever", 2, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
		return []*graph.Value{id(g, in[1]), id(g, in[0])}
	})
	uneven := bodyOf("uneven", 2, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
		return []*graph.Value{id(g, in[1]), g.Add("", "Range", nil, konst(g, "zero", s0(0)), in[0], konst(g, "one", s0(1)))}
	})
	nested := bodyOf("nested", 4, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
		inner := bodyOf("inner", 4, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
			return []*graph.Value{id(g, in[1]), add(g, in[2], in[3])}
		})
		return []*graph.Value{id(g, in[1]), g.Add("", "Loop", map[string]any{"body": inner, graph.CapturesAttr: int64(1)}, in[0], nil, in[2], in[3])}
	})
	// Adds one at even iterations, doubles at odd ones.
	turns := bodyOf("turns", 3, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
		even := g.Add("", "Equal", nil, g.Add("", "Mod", nil, in[0], konst(g, "two", s0(2))), konst(g, "zero", s0(0)))
		then := bodyOf("even", 1, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
			return []*graph.Value{add(g, in[0], konst(g, "one", f(1)))}
		})
		els := bodyOf("odd", 1, func(g *graph.Graph, in []*graph.Value) []*graph.Value { return []*graph.Value{add(g, in[0], in[0])} })
		return []*graph.Value{id(g, in[1]), g.Add("", "If", map[string]any{"then_branch": then, "else_branch": els}, even, in[2], in[2])}
	})
	prefix := bodyOf("prefix", 2, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
		s := add(g, in[0], in[1])
		return []*graph.Value{s, id(g, s)}
	})
	pick := bodyOf("pick", 3, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
		return []*graph.Value{g.Add("", "Mul", nil, in[0], in[2]), id(g, in[1])}
	})
	a := func(body *graph.Graph, kv ...any) map[string]any {
		m := map[string]any{"body": body}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	one := graph.CapturesAttr
	yes := of([]int{}, true)
	Add(
		Case{Name: "loop", Op: "Loop", Outs: 2, Attrs: a(sum, one, int64(1)), In: in(s0(3), nil, f(0, 0), f(1, 2)), Want: in(f(3, 6), of([]int{3, 2}, float32(1), 2, 2, 4, 3, 6))},
		Case{Name: "loop/const", Op: "Loop", Outs: 2, ConstIn: []int{0, 1}, Attrs: a(sum, one, int64(1)), In: in(s0(3), yes, f(0, 0), f(1, 2)), Want: in(f(3, 6), of([]int{3, 2}, float32(1), 2, 2, 4, 3, 6))},
		Case{Name: "loop/never", Op: "Loop", Outs: 2, Attrs: a(sum, one, int64(1)), In: in(s0(3), of([]int{1}, false), f(0, 0), f(1, 2)), Want: in(f(0, 0), of([]int{0, 2}, []float32{}...))},
		Case{Name: "loop/none", Op: "Loop", Outs: 2, Attrs: a(sum, one, int64(1)), In: in(s0(math.MinInt64), nil, f(0, 0), f(1, 2)), Want: in(f(0, 0), of([]int{0, 2}, []float32{}...))},
		Case{Name: "loop/swap", Op: "Loop", Outs: 2, Attrs: a(swap), In: in(s0(3), yes, f(1, 2), f(3, 4)), Want: in(f(3, 4), f(1, 2))},
		Case{Name: "loop/grow", Op: "Loop", Attrs: a(grow), In: in(nil, nil, f(1, 2, 3)), Want: in(f(1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3))},
		Case{Name: "loop/nested", Op: "Loop", Attrs: a(nested, one, int64(1)), In: in(s0(4), nil, f(0), f(1)), Want: in(f(6))},
		Case{Name: "loop/if", Op: "Loop", F32Only: true, Attrs: a(turns), In: in(s0(5), nil, f(1)), Want: in(f(11))},
		Case{Name: "loop/forever", Op: "Loop", Attrs: a(forever), In: in(nil, nil), Err: true},
		Case{Name: "loop/uneven", Op: "Loop", Attrs: a(uneven), In: in(s0(3), nil), Err: true},
		Case{Name: "loop/body", Op: "Loop", In: in(s0(3), nil), Err: true},
		Case{Name: "loop/inputs", Op: "Loop", Attrs: a(sum), In: in(s0(3), nil, f(1)), Err: true},
		Case{Name: "loop/count", Op: "Loop", Attrs: a(forever), In: in(f(3), nil), Err: true},

		Case{Name: "scan", Op: "Scan", Outs: 2, Attrs: a(prefix, "num_scan_inputs", int64(1)), In: in(f(0), of([]int{3, 1}, float32(1), 2, 3)), Want: in(f(6), of([]int{3, 1}, float32(1), 3, 6))},
		Case{Name: "scan/back", Op: "Scan", Outs: 2, Attrs: a(prefix, "num_scan_inputs", int64(1), "scan_input_directions", []int64{1}, "scan_output_directions", []int64{1}, "scan_input_axes", []int64{-1}, "scan_output_axes", []int64{1}),
			In: in(f(0, 0), of([]int{2, 3}, float32(1), 2, 3, 4, 5, 6)), Want: in(f(6, 15), of([]int{2, 3}, float32(6), 5, 3, 15, 11, 6))},
		Case{Name: "scan/two", Op: "Scan", Outs: 2, Attrs: a(pick, "num_scan_inputs", int64(2), one, int64(1)), In: in(f(1, 2), vec[int32](7, 8), f(10)), Want: in(of([]int{2, 1}, float32(10), 20), vec[int32](7, 8))},
		Case{Name: "scan/empty", Op: "Scan", Outs: 2, Attrs: a(prefix, "num_scan_inputs", int64(1)), In: in(f(5), of([]int{0, 1}, []float32{}...)), Want: in(f(5), of([]int{0, 1}, []float32{}...))},
		Case{Name: "scan/lengths", Op: "Scan", Outs: 2, Attrs: a(pick, "num_scan_inputs", int64(2), one, int64(1)), In: in(f(1, 2), vec[int32](7), f(10)), Err: true},
		Case{Name: "scan/axis", Op: "Scan", Outs: 2, Attrs: a(prefix, "num_scan_inputs", int64(1), "scan_input_axes", []int64{2}), In: in(f(5), of([]int{1, 1}, float32(1))), Err: true},
		Case{Name: "scan/number", Op: "Scan", Outs: 2, Attrs: a(prefix, "num_scan_inputs", int64(3)), In: in(f(5), f(1)), Err: true},

		Case{Name: "optional/none", Op: "OptionalHasElement", In: in(nil), Want: in(of([]int{}, false))},
		Case{Name: "optional/some", Op: "OptionalHasElement", In: in(f(1)), Want: in(yes)},
		Case{Name: "optional/get", Op: "OptionalGetElement", In: in(f(1)), Want: in(f(1)), Grad: []int{0}},
		Case{Name: "optional/empty", Op: "OptionalGetElement", In: in(nil), Err: true},
	)
}
