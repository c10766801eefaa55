package optest

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

func init() {
	f := func(v ...float32) *tensor.Tensor { return vec(v...) }
	ten := func(seed uint64, shape ...int) *tensor.Tensor { return Rand(seed, tensor.Float32, shape...) }
	a := func(kv ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}

	// x = -1, 0, 2 and, for the gradient operator, dy = 2 and x = -1, 2 (y for Sigmoid and Tanh).
	for _, u := range []struct {
		op    string
		attrs map[string]any
		y     [3]float32
		dx    [2]float32
	}{
		{"LeakyRelu", a("alpha", float32(0.1)), [3]float32{-0.1, 0, 2}, [2]float32{0.2, 2}},
		{"Elu", a("alpha", float32(2)), [3]float32{-1.2642411, 0, 2}, [2]float32{1.4715178, 2}},
		{"Selu", a("alpha", float32(2), "gamma", float32(3)), [3]float32{-3.7927234, 0, 6}, [2]float32{4.4145533, 6}},
		{"Celu", a("alpha", float32(2)), [3]float32{-0.7869387, 0, 2}, [2]float32{1.2130613, 2}},
		{"ThresholdedRelu", a("alpha", float32(0.5)), [3]float32{0, 0, 2}, [2]float32{0, 2}},
		{"HardSigmoid", a("alpha", float32(0.25), "beta", float32(0.6)), [3]float32{0.35, 0.6, 1}, [2]float32{0.5, 0}},
		{"HardSwish", nil, [3]float32{-1.0 / 3, 0, 5.0 / 3}, [2]float32{1.0 / 3, 7.0 / 3}},
		{"Softplus", nil, [3]float32{0.3132617, 0.6931472, 2.126928}, [2]float32{0.5378828, 1.7615942}},
		{"Softsign", nil, [3]float32{-0.5, 0, 2.0 / 3}, [2]float32{0.5, 2.0 / 9}},
		{"Mish", nil, [3]float32{-0.3034015, 0, 1.943959}, [2]float32{2 * 0.0592168, 2 * 1.0693179}},
		{"Swish", a("alpha", float32(2)), [3]float32{-0.1192029, 0, 1.9640275}, [2]float32{2 * -0.0907842, 2 * 1.0526643}},
		{"Gelu", nil, [3]float32{-0.1586553, 0, 1.9544997}, [2]float32{2 * -0.0833155, 2 * 1.0852318}},
		{"Sigmoid", nil, [3]float32{0.2689414, 0.5, 0.8807971}, [2]float32{-4, -4}},
		{"Tanh", nil, [3]float32{-0.7615942, 0, 0.9640276}, [2]float32{0, -6}},
		{"Shrink", a("lambd", float32(1.5), "bias", float32(0.5)), [3]float32{0, 0, 1.5}, [2]float32{0, 2}},
	} {
		Add(
			Case{Name: u.op, Op: u.op, Attrs: u.attrs, In: in(f(-1, 0, 2)), Want: in(f(u.y[:]...))},
			Case{Name: u.op + "/grad", Op: u.op, Attrs: u.attrs, In: in(ten(7, 3, 5)), Grad: []int{0}},
			Case{Name: u.op + "/default", Op: u.op, In: in(ten(8, 2, 3, 5)), Grad: []int{0}},
			Case{Name: u.op + "/extremes", Op: u.op, In: in(f(-1e4, 1e4, float32(math.NaN())))},
			Case{Name: u.op + "/two", Op: u.op, In: in(f(1), f(2)), Err: true},
			Case{Name: u.op + "/bool", Op: u.op, In: in(vec(true)), Err: true},
			Case{Name: u.op + "Grad", Domain: graph.Domain, Op: u.op + "Grad", Attrs: u.attrs, In: in(f(2, 2), f(-1, 2)), Want: in(f(u.dx[:]...)), Tol: 2e-5},
			Case{Name: u.op + "Grad/shape", Domain: graph.Domain, Op: u.op + "Grad", In: in(f(2, 2), f(-1)), Err: true},
		)
	}
	// Longer than a kernel's tile.
	for _, name := range []string{"Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish"} {
		Add(Case{Name: name + "/long", Op: name, In: in(ten(9, 10007))})
	}
	Add(
		Case{Name: "Clip/long", Op: "Clip", In: in(ten(9, 10007), of([]int{}, float32(-1)), of([]int{}, float32(1))), ConstIn: []int{1, 2}},
		Case{Name: "Add/long", Op: "Add", In: in(ten(9, 10007), ten(8, 10007))},
		Case{Name: "Gelu/tanh", Op: "Gelu", Attrs: a("approximate", "tanh"), In: in(f(-1, 0, 1)), Want: in(f(-0.1588080, 0, 0.8411920)), Grad: []int{0}},
		Case{Name: "Gelu/other", Op: "Gelu", Attrs: a("approximate", "fast"), In: in(f(-1)), Err: true},
		Case{Name: "Celu/zero", Op: "Celu", Attrs: a("alpha", float32(0)), In: in(f(-1)), Err: true},
		Case{Name: "Softplus/large", Op: "Softplus", In: in(f(1000, -1000)), Want: in(f(1000, 0)), F32Only: true},
		Case{Name: "Sigmoid/large", Op: "Sigmoid", In: in(f(1000, -1000)), Want: in(f(1, 0))},
		Case{Name: "Shrink/int8", Op: "Shrink", Attrs: a("lambd", float32(1.5), "bias", float32(1)), In: in(vec[int8](-5, 1, 4)), Want: in(vec[int8](-4, 0, 3))},

		Case{Name: "prelu", Op: "PRelu", In: in(f(-1, 0, 2), f(0.5, 1, 1)), Want: in(f(-0.5, 0, 2)), Tol: 1e-6},
		Case{Name: "prelu/channel", Op: "PRelu", In: in(ten(1, 2, 3, 4, 5), ten(2, 3, 1, 1)), Grad: []int{0, 1}},
		Case{Name: "prelu/scalar", Op: "PRelu", In: in(ten(1, 2, 3), ten(2, 1)), Grad: []int{0, 1}},
		Case{Name: "prelu/int32", Op: "PRelu", In: in(vec[int32](-3, 4), vec[int32](2)), Want: in(vec[int32](-6, 4))},
		Case{Name: "prelu/wider", Op: "PRelu", In: in(f(1), f(1, 2)), Err: true},

		Case{Name: "bitwiseand", Op: "BitwiseAnd", In: in(vec[int8](-1, 6), vec[int8](5)), Want: in(vec[int8](5, 4))},
		Case{Name: "bitwiseor", Op: "BitwiseOr", In: in(vec[uint16](1, 6), vec[uint16](8)), Want: in(vec[uint16](9, 14))},
		Case{Name: "bitwisexor", Op: "BitwiseXor", In: in(vec[int64](5, -1), vec[int64](1)), Want: in(vec[int64](4, -2))},
		Case{Name: "bitwiseand/unsigned", Op: "BitwiseAnd", In: in(vec[uint32](13), vec[uint32](6)), Want: in(vec[uint32](4))},
		Case{Name: "bitwiseor/signed", Op: "BitwiseOr", In: in(vec[int16](-8), vec[int16](1)), Want: in(vec[int16](-7))},
		Case{Name: "bitwisexor/unsigned", Op: "BitwiseXor", In: in(vec[uint64](5), vec[uint64](1)), Want: in(vec[uint64](4))},
		Case{Name: "bitshift/leftsigned", Op: "BitShift", Attrs: a("direction", "LEFT"), In: in(vec[int8](65, 1, 1), vec[int8](1, 8, -1)), Want: in(vec[int8](-126, 0, 0))},
		Case{Name: "bitshift/rightunsigned", Op: "BitShift", Attrs: a("direction", "RIGHT"), In: in(vec[uint8](200, 200), vec[uint8](3, 8)), Want: in(vec[uint8](25, 0))},
		Case{Name: "prelu/uint32", Op: "PRelu", In: in(vec[uint32](3), vec[uint32](9)), Want: in(vec[uint32](3))},
		Case{Name: "bitwisenot", Op: "BitwiseNot", In: in(vec[uint8](0, 5)), Want: in(vec[uint8](255, 250))},
		Case{Name: "bitwisenot/signed", Op: "BitwiseNot", In: in(vec[int32](0, 5)), Want: in(vec[int32](-1, -6))},
		Case{Name: "bitwiseand/float", Op: "BitwiseAnd", In: in(f(1), f(1)), Err: true},
		Case{Name: "bitshift/left", Op: "BitShift", Attrs: a("direction", "LEFT"), In: in(vec[uint8](16, 4, 200), vec[uint8](1, 8, 1)), Want: in(vec[uint8](32, 0, 144))},
		Case{Name: "bitshift/right", Op: "BitShift", Attrs: a("direction", "RIGHT"), In: in(vec[int8](-16, 16, -1, 5), vec[int8](2, 2, 8, -1)), Want: in(vec[int8](-4, 4, -1, 0))},
		Case{Name: "bitshift/direction", Op: "BitShift", In: in(vec[uint8](16), vec[uint8](1)), Err: true},
	)
}
