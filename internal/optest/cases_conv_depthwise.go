package optest

import (
	"fmt"

	"whit/graph"
	"whit/tensor"
)

// A convolution and the depthwise one that reads it, as one node.
func init() {
	for i, c := range []struct {
		cin, cout, h, w int
		first           map[string]any
		k               int
		act, dwAct      string
		dw              map[string]any
		dk              int
		bias, dwBias    bool
	}{
		{cin: 5, cout: 19, h: 7, w: 7, k: 1, act: "Relu", dwAct: "Relu", dw: window(3, 1, 1, 1, 1, 1, 1), dk: 3, bias: true, dwBias: true},
		{cin: 16, cout: 40, h: 12, w: 30, k: 1, act: "Clip", dw: window(3, 2, 2, 1, 1, 1, 1), dk: 3, bias: true},
		{cin: 3, cout: 16, h: 21, w: 33, first: window(3, 2, 2, 1, 1, 1, 1), k: 3, act: "Relu", dwAct: "Clip", dw: window(3, 1, 1, 1, 1, 1, 1), dk: 3, bias: true, dwBias: true},
		{cin: 6, cout: 33, h: 9, w: 8, k: 1, act: "PRelu", dwAct: "PRelu", dw: window(5, 1, 1, 2, 2, 2, 2), dk: 5, dwBias: true},
		{cin: 4, cout: 8, h: 40, w: 6, k: 1, dwAct: "LeakyRelu", dw: window(2, 3, 1, 0, 0, 1, 1), dk: 2, bias: true},
		{cin: 400, cout: 17, h: 5, w: 6, first: window(3, 2, 1, 1, 0, 1, 2), k: 3, act: "Relu", dw: window(3, 1, 1, 1, 1, 1, 1), dk: 3, bias: true, dwBias: true},
		{cin: 3, cout: 16, h: 6, w: 40, k: 1, dw: window(1, 2, 2, 0, 0, 0, 0), dk: 1},
	} {
		b := graph.New("body")
		var in []*tensor.Tensor
		input := func(name string, shape ...int) *graph.Value {
			in = append(in, Rand(uint64(900+10*i+len(in)), tensor.Float32, shape...))
			return b.AddInput(name, tensor.Float32, shape...)
		}
		act := func(v *graph.Value, op string) *graph.Value {
			switch op {
			case "":
				return v
			case "Clip":
				return b.Add("", op, nil, v, b.NewConst("", F32([]float32{-0.5})), b.NewConst("", F32([]float32{1.5})))
			case "PRelu":
				return b.Add("", op, nil, v, b.NewConst("", Rand(77, tensor.Float32, c.cout, 1, 1)))
			}
			return b.Add("", op, nil, v)
		}
		x := []*graph.Value{input("x", 2, c.cin, c.h, c.w), input("w", c.cout, c.cin, c.k, c.k)}
		if c.bias {
			x = append(x, input("b", c.cout))
		}
		mid := act(b.Add("", "Conv", c.first, x...), c.act)
		y := []*graph.Value{mid, input("dw", c.cout, 1, c.dk, c.dk)}
		if c.dwBias {
			y = append(y, input("db", c.cout))
		}
		c.dw["group"] = int64(c.cout)
		b.Outputs = []*graph.Value{act(b.Add("", "Conv", c.dw, y...), c.dwAct)}
		Add(Case{Name: fmt.Sprintf("fused/conv_depthwise/%d", i), Domain: graph.Domain, Op: "Fused", Attrs: map[string]any{"body": b}, In: in, F32Only: true,
			Tol: 1e-5 * float64(max(1, c.cin*c.k*c.k/100))})
	}
}

// window is the attributes of a convolution.
func window(k, sh, sw int, pads ...int64) map[string]any {
	return map[string]any{"kernel_shape": []int64{int64(k), int64(k)}, "strides": []int64{int64(sh), int64(sw)}, "pads": pads}
}
