package optest

import (
	"math/rand/v2"

	"whit/tensor"
)

// Pruned is Rand with zeros: of the weights (rows along axis 0) blocks of rows
// consecutive outputs that share their positions stay at density; ragged takes
// away single weights of blocks that stay. Every seventh block of rows is zero.
func Pruned(seed uint64, rows int, density float64, ragged bool, shape ...int) *tensor.Tensor {
	t := Rand(seed, tensor.Float32, shape...)
	r := rand.New(rand.NewPCG(seed, 0x7370))
	w := tensor.Of[float32](t)
	if len(w) == 0 {
		return t
	}
	k := len(w) / shape[0]
	for o := 0; o < shape[0]; o += rows {
		for i := range k {
			keep := r.Float64() < density && o/rows%7 != 5
			for j := o; j < min(shape[0], o+rows); j++ {
				if !keep || ragged && r.Float64() < 0.2 {
					w[j*k+i] = 0
				}
			}
		}
	}
	return t
}

// Transposed is a matrix transposed.
func Transposed(t *tensor.Tensor) *tensor.Tensor {
	y := tensor.New(t.DType, t.Shape[1], t.Shape[0])
	a, b := tensor.Of[float32](t), tensor.Of[float32](y)
	for i := range t.Shape[0] {
		for j := range t.Shape[1] {
			b[j*t.Shape[0]+i] = a[i*t.Shape[1]+j]
		}
	}
	return y
}

func init() {
	f := tensor.Float32
	ints := func(v ...int64) []int64 { return v }
	patterns := []struct {
		name   string
		rows   int
		ragged bool
		d      float64
	}{{"1x1", 1, false, 0.1}, {"2x1", 2, false, 0.1}, {"4x1", 4, false, 0.1}, {"4x1ragged", 4, true, 0.15}, {"empty", 4, false, 0}}
	for _, p := range patterns {
		w := func(seed uint64, shape ...int) *tensor.Tensor { return Pruned(seed, p.rows, p.d, p.ragged, shape...) }
		add := func(c Case) { c.F32Only = true; c.ConstIn = []int{1}; Add(c) }
		conv := func(name string, attrs map[string]any, in ...*tensor.Tensor) {
			add(Case{Name: "sparse/conv/" + p.name + "/" + name, Op: "Conv", Attrs: attrs, In: in})
		}
		conv("1x1", nil, Rand(1, f, 2, 72, 7, 7), w(2, 69, 72, 1, 1), Rand(3, f, 69))
		conv("1x1s2", map[string]any{"strides": ints(2, 2)}, Rand(1, f, 2, 32, 9, 12), w(2, 66, 32, 1, 1))
		conv("3x3", map[string]any{"pads": ints(1, 1, 1, 1)}, Rand(1, f, 1, 33, 15, 14), w(2, 37, 33, 3, 3), Rand(3, f, 37))
		conv("3x3s2", map[string]any{"pads": ints(0, 0, 1, 1), "strides": ints(2, 2)}, Rand(1, f, 1, 24, 16, 20), w(2, 64, 24, 3, 3), Rand(3, f, 64))
		conv("odd", map[string]any{"pads": ints(3, 1, 2, 0), "strides": ints(2, 3), "dilations": ints(3, 2)},
			Rand(1, f, 2, 16, 17, 19), w(2, 70, 16, 3, 2), Rand(3, f, 70))
		// Too little work for some variants' sparse kernels: not among those that all must take.
		add(Case{Name: "conv/onepixel/" + p.name, Op: "Conv", In: []*tensor.Tensor{Rand(1, f, 1, 48, 3, 3), w(2, 70, 48, 3, 3), Rand(3, f, 70)}})
		conv("stride beyond", map[string]any{"strides": ints(2147483647, 2)}, Rand(1, f, 1, 16, 5, 60), w(2, 32, 16, 3, 3))
		conv("5x5wide", map[string]any{"pads": ints(2, 2, 2, 2)}, Rand(1, f, 1, 16, 3, 90), w(2, 40, 16, 5, 5), Rand(3, f, 40))
		add(Case{Name: "sparse/gemm/" + p.name + "/row", Op: "Gemm", Attrs: map[string]any{"transB": int64(1)},
			In: []*tensor.Tensor{Rand(1, f, 1, 150), w(2, 70, 150), Rand(3, f, 70)}})
		add(Case{Name: "sparse/gemm/" + p.name + "/rows", Op: "Gemm", Attrs: map[string]any{"transB": int64(1)},
			In: []*tensor.Tensor{Rand(1, f, 13, 150), w(2, 70, 150), Rand(3, f, 1, 70)}})
		add(Case{Name: "sparse/gemm/" + p.name + "/columns", Op: "Gemm",
			In: []*tensor.Tensor{Rand(1, f, 9, 150), Transposed(w(2, 66, 150))}})
		add(Case{Name: "sparse/matmul/" + p.name + "/row", Op: "MatMul", In: []*tensor.Tensor{Rand(1, f, 150), Transposed(w(2, 66, 150))}})
		add(Case{Name: "sparse/matmul/" + p.name + "/batch", Op: "MatMul", In: []*tensor.Tensor{Rand(1, f, 3, 5, 150), Transposed(w(2, 66, 150))}})
	}
	few := func(name string, attrs map[string]any, in ...*tensor.Tensor) {
		Add(Case{Name: "few/conv/" + name, Op: "Conv", Attrs: attrs, In: in, F32Only: true, ConstIn: []int{1}, Tol: 1e-4})
	}
	same := map[string]any{"pads": ints(1, 1, 1, 1)}
	few("one", map[string]any{"pads": ints(2, 2, 2, 2)}, Rand(1, f, 2, 19, 13, 41), Rand(2, f, 1, 19, 5, 5), Rand(3, f, 1))
	few("two", same, Rand(1, f, 1, 16, 9, 70), Rand(2, f, 2, 16, 3, 3))
	few("three", same, Rand(1, f, 1, 33, 17, 30), Rand(2, f, 3, 33, 3, 3), Rand(3, f, 3))
	few("five", map[string]any{"pads": ints(0, 2, 1, 0), "dilations": ints(1, 2)}, Rand(1, f, 1, 24, 21, 60), Rand(2, f, 5, 24, 3, 3), Rand(3, f, 5))
	few("strides", map[string]any{"pads": ints(1, 0, 0, 2), "strides": ints(2, 3)}, Rand(1, f, 1, 24, 21, 70), Rand(2, f, 1, 24, 5, 5), Rand(3, f, 1))
}
