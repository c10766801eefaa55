package pass

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"whit/graph"
	"whit/internal/optest"
	"whit/tensor"
	"whit/weight"
)

// qnet builds graphs in which every value is quantised.
type qnet struct{ *graph.Graph }

func (g qnet) f(v ...float32) *graph.Value {
	if len(v) == 1 {
		return g.NewConst("", tensor.Scalar(v[0]))
	}
	return g.NewConst("", tensor.From(v, len(v)))
}

func (g qnet) u8(v byte) *graph.Value { return g.NewConst("", tensor.Scalar(v)) }

func (g qnet) q(v *graph.Value, scale float32, zero byte) *graph.Value {
	return g.Add("", "QuantizeLinear", nil, v, g.f(scale), g.u8(zero))
}

func (g qnet) dq(v *graph.Value, scale float32, zero byte) *graph.Value {
	return g.Add("", "DequantizeLinear", nil, v, g.f(scale), g.u8(zero))
}

func (g qnet) qdq(v *graph.Value, scale float32, zero byte) *graph.Value {
	return g.dq(g.q(v, scale, zero), scale, zero)
}

// weights are integers of one scale a channel, and a bias in units of sx·sw·off.
func (g qnet) weights(seed uint64, sx, off float32, shape ...int) (w, b *graph.Value) {
	n := shape[0]
	sw, sb := tensor.New(tensor.Float32, n), tensor.New(tensor.Float32, n)
	for i := range n {
		tensor.Of[float32](sw)[i] = 0.002 + 0.0001*float32(i)
		tensor.Of[float32](sb)[i] = sx * tensor.Of[float32](sw)[i] * off
	}
	axis := map[string]any{"axis": int64(0)}
	w = g.Add("", "DequantizeLinear", axis, g.NewConst("", optest.Rand(seed, tensor.Int8, shape...)), g.NewConst("", sw), g.NewConst("", tensor.New(tensor.Int8, n)))
	b = g.Add("", "DequantizeLinear", axis, g.NewConst("", optest.Rand(seed+1, tensor.Int32, n)), g.NewConst("", sb), g.NewConst("", tensor.New(tensor.Int32, n)))
	return w, b
}

// low is a constant of levels below a byte.
func (g qnet) low(d tensor.DType, shape ...int) *graph.Value {
	levels := make([]int32, tensor.Shape(shape).NumElements())
	for i := range levels {
		levels[i] = int32(i*i) % 3
		if d.IsSigned() {
			levels[i] -= 1
		}
	}
	q, err := weight.PackLevels(d, levels, shape...)
	if err != nil {
		panic(err)
	}
	return g.NewConst("", q)
}

func TestQuantize(t *testing.T) {
	const sx, zx = 0.02, 120
	pads := attrs("pads", []int64{1, 1, 1, 1})
	for _, c := range []struct {
		name  string
		build func(g qnet, x *graph.Value) *graph.Value // x and the result are floats; the result is quantised with 0.05, 100
		ops   string
	}{
		{"conv", func(g qnet, x *graph.Value) *graph.Value {
			w, b := g.weights(1, sx, 1, 8, 6, 3, 3)
			return g.Add("", "Conv", pads, x, w, b)
		}, "QuantizeLinear QLinearConv DequantizeLinear"},
		{"conv, weights held as levels", func(g qnet, x *graph.Value) *graph.Value {
			w, b := g.weights(1, sx, 1, 8, 6, 3, 3)
			d := w.Producer
			g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return n == d })
			held, err := weight.NewInt8(d.In[0].Data, 0, tensor.Of[float32](d.In[1].Data), nil)
			if err != nil {
				t.Fatal(err)
			}
			return g.Add("", "Conv", pads, x, g.NewWeight("held", held), b)
		}, "QuantizeLinear QLinearConv DequantizeLinear"},
		{"conv relu", func(g qnet, x *graph.Value) *graph.Value {
			w, b := g.weights(1, sx, 1, 8, 6, 3, 3)
			return g.Add("", "Relu", nil, g.Add("", "Conv", pads, x, w, b))
		}, "QuantizeLinear whit.Fused DequantizeLinear"},
		{"conv prelu pool", func(g qnet, x *graph.Value) *graph.Value {
			w, b := g.weights(1, sx, 1, 8, 6, 3, 3)
			y := g.Add("", "PRelu", nil, g.Add("", "Conv", pads, x, w, b), g.NewConst("", optest.F32([]float32{-1, 0.5, 0.1, 2, 0, 0.3, 1, 0.25}, 8, 1, 1)))
			return g.Add("", "MaxPool", attrs("kernel_shape", []int64{2, 2}), y)
		}, "QuantizeLinear whit.QLinearConvPRelu MaxPool DequantizeLinear"},
		{"conv leaky relu", func(g qnet, x *graph.Value) *graph.Value {
			w, _ := g.weights(1, sx, 1, 8, 6, 3, 3)
			return g.Add("", "LeakyRelu", attrs("alpha", float32(0.2)), g.Add("", "Conv", pads, x, w))
		}, "QuantizeLinear whit.QLinearConvPRelu DequantizeLinear"},
		{"gemm prelu", func(g qnet, x *graph.Value) *graph.Value {
			w, b := g.weights(1, sx, 1, 9, 150)
			y := g.Add("", "Gemm", attrs("transB", int64(1)), g.Add("", "Flatten", nil, x), w, b)
			return g.Add("", "PRelu", nil, y, g.NewConst("", optest.Rand(6, tensor.Float32, 9)))
		}, "QuantizeLinear Flatten Reshape whit.QLinearConvPRelu Reshape DequantizeLinear"},
		{"conv clip pool", func(g qnet, x *graph.Value) *graph.Value {
			w, b := g.weights(1, sx, 1, 8, 6, 3, 3)
			y := g.Add("", "Clip", nil, g.Add("", "Conv", pads, x, w, b), g.f(-0.5), g.f(1))
			return g.Add("", "MaxPool", attrs("kernel_shape", []int64{2, 2}), y)
		}, "QuantizeLinear whit.Fused MaxPool DequantizeLinear"},
		{"another bias", func(g qnet, x *graph.Value) *graph.Value {
			w, b := g.weights(1, sx, 1.5, 8, 6, 3, 3)
			return g.Add("", "Conv", pads, x, w, b)
		}, "QuantizeLinear DequantizeLinear Conv QuantizeLinear DequantizeLinear"},
		{"gemm", func(g qnet, x *graph.Value) *graph.Value {
			w, b := g.weights(1, sx, 1, 9, 150)
			return g.Add("", "Gemm", attrs("transB", int64(1)), g.Add("", "Flatten", nil, x), w, b)
		}, "QuantizeLinear Flatten Reshape QLinearConv Reshape DequantizeLinear"},
		{"conv of int4", func(g qnet, x *graph.Value) *graph.Value {
			w := g.Add("", "DequantizeLinear", attrs("axis", int64(0)), g.low(tensor.Int4, 8, 6, 3, 3), g.NewConst("", optest.F32([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 8)))
			return g.Add("", "Conv", pads, x, w)
		}, "QuantizeLinear QLinearConv DequantizeLinear"},
		{"conv of uint2", func(g qnet, x *graph.Value) *graph.Value {
			w := g.Add("", "DequantizeLinear", nil, g.low(tensor.Uint2, 8, 6, 3, 3), g.f(0.01), g.low(tensor.Uint2))
			return g.Add("", "Conv", pads, x, w)
		}, "QuantizeLinear QLinearConv DequantizeLinear"},
		{"conv of blocks", func(g qnet, x *graph.Value) *graph.Value {
			w := g.Add("", "DequantizeLinear", attrs("axis", int64(1), "block_size", int64(4)), g.low(tensor.Int4, 8, 6, 1, 1), g.NewConst("", optest.Rand(4, tensor.Float32, 8, 2, 1, 1)))
			return g.Add("", "Conv", nil, x, w)
		}, "QuantizeLinear DequantizeLinear Conv QuantizeLinear DequantizeLinear"},
		{"matmul", func(g qnet, x *graph.Value) *graph.Value {
			w := g.dq(g.NewConst("", optest.Rand(5, tensor.Uint8, 5, 7)), 0.01, 128)
			return g.Add("", "MatMul", nil, x, w)
		}, "QuantizeLinear Reshape QLinearConv Reshape DequantizeLinear"},
		{"residual", func(g qnet, x *graph.Value) *graph.Value {
			w, b := g.weights(1, sx, 1, 6, 6, 3, 3)
			y := g.qdq(g.Add("", "Conv", pads, x, w, b), 0.03, 7)
			return g.Add("", "Relu", nil, g.Add("", "Add", nil, x, y))
		}, "QuantizeLinear QLinearConv whit.Fused DequantizeLinear"},
		{"squeeze and excite", func(g qnet, x *graph.Value) *graph.Value {
			w, b := g.weights(1, 0.015, 1, 6, 6, 1, 1)
			y := g.Add("", "Conv", nil, g.qdq(g.Add("", "GlobalAveragePool", nil, x), 0.015, 110), w, b)
			y = g.qdq(g.Add("", "HardSigmoid", nil, g.qdq(y, 0.02, 120)), 1.0/255, 0)
			return g.Add("", "Relu", nil, g.Add("", "Mul", nil, y, x))
		}, "QuantizeLinear whit.QLinearGlobalAveragePool QLinearConv whit.QTable whit.Fused DequantizeLinear"},
		{"products", func(g qnet, x *graph.Value) *graph.Value {
			w, b := g.weights(1, sx, 1, 6, 6, 3, 3)
			y := g.qdq(g.Add("", "Conv", pads, x, w, b), 0.03, 7)
			rows := g.Add("", "AveragePool", attrs("kernel_shape", []int64{1, 5}), x)
			return g.Add("", "Mul", nil, g.qdq(g.Add("", "Mul", nil, y, x), 0.05, 110), g.qdq(rows, sx, zx))
		}, "QuantizeLinear QLinearConv whit.QLinearMul DequantizeLinear whit.QLinearAveragePool DequantizeLinear Mul QuantizeLinear DequantizeLinear"},
		{"pools", func(g qnet, x *graph.Value) *graph.Value {
			y := g.Add("", "AveragePool", attrs("kernel_shape", []int64{2, 2}, "pads", []int64{1, 1, 1, 1}), x)
			return g.Add("", "GlobalAveragePool", nil, g.qdq(y, 0.015, 110))
		}, "QuantizeLinear whit.QLinearAveragePool whit.QLinearGlobalAveragePool DequantizeLinear"},
		{"functions", func(g qnet, x *graph.Value) *graph.Value {
			slope := g.NewConst("", optest.F32([]float32{-1, 0.5, 0.1, 2, 0, 0.3}, 6, 1, 1))
			y := g.Add("", "PRelu", nil, x, slope)
			y = g.Add("", "MaxPool", attrs("kernel_shape", []int64{2, 2}), y)
			return g.Add("", "HardSwish", nil, g.qdq(y, 0.04, 90))
		}, "QuantizeLinear whit.QTable MaxPool whit.QTable DequantizeLinear"},
		{"moves", func(g qnet, x *graph.Value) *graph.Value {
			y := g.Add("", "Transpose", attrs("perm", []int64{0, 2, 3, 1}), x)
			y = g.qdq(y, sx, zx)
			return g.Add("", "Reshape", nil, y, g.NewConst("", tensor.Ints(2, -1)))
		}, "QuantizeLinear Transpose Reshape whit.QTable DequantizeLinear"},
		{"concat", func(g qnet, x *graph.Value) *graph.Value {
			return g.Add("", "Concat", attrs("axis", int64(1)), x, g.qdq(g.Add("", "Tanh", nil, x), 0.01, 128))
		}, "QuantizeLinear whit.QTable whit.QTable Concat DequantizeLinear"},
		{"hardswish of nodes", func(g qnet, x *graph.Value) *graph.Value {
			return g.Add("", "Mul", nil, x, g.qdq(g.Add("", "HardSigmoid", attrs("alpha", float32(1)/6), x), 1.0/255, 0))
		}, "QuantizeLinear whit.QTable DequantizeLinear"},
		{"hardswish of more nodes", func(g qnet, x *graph.Value) *graph.Value {
			three := g.dq(g.NewConst("", tensor.From([]uint8{255}, 1)), 3.0/255, 0)
			y := g.qdq(g.Add("", "Add", nil, x, three), 0.03, 60)
			y = g.qdq(g.Add("", "Clip", nil, y, g.f(0), g.f(6)), 6.0/255, 0)
			return g.Add("", "Div", nil, g.qdq(g.Add("", "Mul", nil, x, y), 0.05, 20), g.f(6))
		}, "QuantizeLinear whit.QTable DequantizeLinear"},
		{"one value and channels", func(g qnet, x *graph.Value) *graph.Value {
			slope := g.NewConst("", optest.F32([]float32{-1, 0.5, 0.1, 2, 0, 0.3}, 6, 1, 1))
			y := g.qdq(g.Add("", "PRelu", nil, x, slope), 0.04, 90)
			y = g.Add("", "Sub", nil, g.Add("", "Max", nil, x, y), g.Add("", "Mul", nil, y, y))
			return g.Add("", "Add", nil, y, g.Add("", "DequantizeLinear", nil, g.NewConst("", optest.Rand(8, tensor.Int8, 6, 1, 1)), g.f(0.01)))
		}, "QuantizeLinear whit.QTable DequantizeLinear"},
		{"a table that others read", func(g qnet, x *graph.Value) *graph.Value {
			y := g.qdq(g.Add("", "Sigmoid", nil, x), 1.0/255, 0)
			return g.Add("", "Concat", attrs("axis", int64(1)), g.qdq(g.Add("", "Mul", nil, x, y), 0.05, 100), g.qdq(g.Add("", "Tanh", nil, y), 0.05, 100))
		}, "QuantizeLinear whit.QTable whit.QTable whit.QTable Concat DequantizeLinear"},
		{"zero scale", func(g qnet, x *graph.Value) *graph.Value {
			return g.Add("", "Add", nil, x, g.dq(g.q(x, 1, 0), 0, 0))
		}, "QuantizeLinear DequantizeLinear whit.QTable DequantizeLinear Add QuantizeLinear DequantizeLinear"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := qnet{graph.New("q")}
			x := g.AddInput("x", tensor.Float32, 2, 6, 5, 5)
			y := g.qdq(c.build(g, g.qdq(x, sx, zx)), 0.05, 100)
			g.Outputs = []*graph.Value{y}
			feeds := map[string]*tensor.Tensor{"x": optest.Rand(3, tensor.Float32, 2, 6, 5, 5)}
			want := eval(t, g.Graph, feeds)[0]
			b, err := Bind(g.Graph, map[string]tensor.Type{"x": feeds["x"].Type}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := Quantize(b.Graph, nil); err != nil {
				t.Fatal(err)
			}
			if err := FoldConstants(b.Graph); err != nil {
				t.Fatal(err)
			}
			var ops []string
			for _, n := range b.Graph.Nodes {
				ops = append(ops, n.OpName())
			}
			if s := strings.Join(ops, " "); s != c.ops {
				t.Errorf("%s\nwant %s\n%v", s, c.ops, b.Graph)
			}
			got := eval(t, b.Graph, feeds)[0]
			off := 0
			for i, v := range tensor.Of[float32](got) {
				switch d := math.Abs(float64(v - tensor.Of[float32](want)[i])); {
				case d > 0.0501:
					t.Fatalf("element %d is %g, want %g: more than a quantum", i, v, tensor.Of[float32](want)[i])
				case d > 0.001:
					off++
				}
			}
			if off*1000 > max(1000, got.Len()) {
				t.Errorf("%d of %d elements differ", off, got.Len())
			}
		})
	}
}

// TestQuantizeProvesSums: what may overflow int32 runs as written.
func TestQuantizeProvesSums(t *testing.T) {
	for _, k := range []int{65_793, 140_000} {
		g := qnet{graph.New("long")}
		x := g.AddInput("x", tensor.Float32, 1, k)
		w := tensor.New(tensor.Int8, 1, k)
		for i := range w.Bytes() {
			w.Bytes()[i] = 0x80
		}
		y := g.Add("", "Gemm", attrs("transB", int64(1)), g.qdq(x, 1, 0), g.Add("", "DequantizeLinear", attrs("axis", int64(0)), g.NewConst("", w), g.f(1)))
		g.Outputs = []*graph.Value{g.q(y, 1e6, 0)}
		b, err := Bind(g.Graph, map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{1, k}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := Quantize(b.Graph, nil); err != nil {
			t.Fatal(err)
		}
		fused := slices.ContainsFunc(b.Graph.Nodes, func(n *graph.Node) bool { return n.Op == "QLinearConv" })
		if fused != (k == 65_793) {
			t.Errorf("%s: fused %v", fmt.Sprint(k), fused)
		}
	}
}

// TestFoldLevels: large matrices stay levels, other constants become floats, also where those
// are far larger.
func TestFoldLevels(t *testing.T) {
	for _, c := range []struct {
		name  string
		shape tensor.Shape
		block int
		kind  string
	}{
		{"large matrix", tensor.Shape{1024, 1024}, 32, "int4"},
		{"small matrix", tensor.Shape{64, 64}, 16, ""},
		{"large image", tensor.Shape{1024, 1024, 1, 1}, 64, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := qnet{graph.New("g")}
			s := c.shape.Clone()
			s[0] /= c.block
			w := g.Add("", "DequantizeLinear", attrs("axis", int64(0), "block_size", int64(c.block)), g.low(tensor.Int4, c.shape...), g.NewConst("", optest.Rand(1, tensor.Float32, s...)))
			x := g.AddInput("x", tensor.Float32, 1)
			g.Outputs = []*graph.Value{g.Add("", "Mul", nil, w, x)}
			feeds := map[string]*tensor.Tensor{"x": optest.F32([]float32{2}, 1)}
			want := eval(t, g.Graph, feeds)
			if err := FoldConstants(g.Graph); err != nil {
				t.Fatal(err)
			}
			if len(g.Nodes) != 1 {
				t.Fatalf("%d nodes are left", len(g.Nodes))
			}
			kind := ""
			if w := g.Nodes[0].In[0].Weight; w != nil {
				kind = w.Kind()
			}
			if kind != c.kind {
				t.Errorf("held as %q, want %q", kind, c.kind)
			}
			if d := optest.Diff(eval(t, g.Graph, feeds)[0], want[0]); d != 0 {
				t.Errorf("differs by %g", d)
			}
		})
	}
}
