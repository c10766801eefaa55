package optest

import (
	"maps"
	"math"
	"slices"

	"whit/graph"
	"whit/tensor"
)

// Functions of one value in several nodes, as exporters write them.
func init() {
	type body struct {
		*graph.Graph
		x *graph.Value
	}
	one := func(b body, op string, in ...*graph.Value) *graph.Value { return b.Add("", op, nil, in...) }
	num := func(b body, v float64) *graph.Value { return b.NewConst("", tensor.Scalar(float32(v))) }
	bodies := map[string]func(b body) *graph.Value{
		"silu": func(b body) *graph.Value { return one(b, "Mul", b.x, one(b, "Sigmoid", b.x)) },
		"hardswish": func(b body) *graph.Value {
			t := one(b, "Clip", one(b, "Add", b.x, num(b, 3)), num(b, 0), num(b, 6))
			return one(b, "Div", one(b, "Mul", b.x, t), num(b, 6))
		},
		"hardsigmoid": func(b body) *graph.Value { return one(b, "Mul", one(b, "HardSigmoid", b.x), b.x) },
		"gelu": func(b body) *graph.Value {
			t := one(b, "Add", one(b, "Erf", one(b, "Div", b.x, num(b, math.Sqrt2))), num(b, 1))
			return one(b, "Mul", one(b, "Mul", b.x, t), num(b, 0.5))
		},
		"gelu tanh": func(b body) *graph.Value {
			t := one(b, "Mul", one(b, "Pow", b.x, num(b, 3)), num(b, 0.044715))
			t = one(b, "Tanh", one(b, "Mul", one(b, "Add", b.x, t), num(b, 0.7978845608)))
			return one(b, "Mul", one(b, "Mul", num(b, 0.5), b.x), one(b, "Add", num(b, 1), t))
		},
		"rest": func(b body) *graph.Value {
			t := one(b, "Sub", num(b, 1), one(b, "Exp", one(b, "Neg", one(b, "Pow", b.x, num(b, 2)))))
			return one(b, "LeakyRelu", one(b, "Relu", one(b, "HardSwish", one(b, "Mul", t, b.x))))
		},
	}
	// In the same order in every process, which random tests pick from.
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		for _, s := range []tensor.Shape{{2, 21, 5, 6}, {3, 1111}} {
			b := body{Graph: graph.New("body")}
			b.x = b.AddInput("body_x", tensor.Invalid, s...)
			b.Outputs = []*graph.Value{bodies[name](b)}
			Add(Case{Name: "fused/curve/" + name + "/" + s.String(), Domain: graph.Domain, Op: "Fused", Attrs: map[string]any{"body": b.Graph},
				In: []*tensor.Tensor{Rand(uint64(len(s)), tensor.Float32, s...)}, F32Only: true})
		}
	}
	wide := Rand(5, tensor.Float32, 1, 3, 20, 30)
	for i, v := range tensor.Of[float32](wide) {
		tensor.Of[float32](wide)[i] = 8 * v
	}
	for _, c := range []struct {
		op    string
		attrs map[string]any
	}{{"Gelu", nil}, {"Gelu", map[string]any{"approximate": "tanh"}}, {"Swish", map[string]any{"alpha": float32(1.5)}}, {"Mish", nil}, {"Erf", nil}} {
		Add(Case{Name: "nhwc/curve", Op: c.op, Attrs: c.attrs, In: []*tensor.Tensor{wide}, F32Only: true})
	}
}
