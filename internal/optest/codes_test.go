package optest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"whit/graph"
	"whit/internal/cpu"
	"whit/kernel"
	"whit/tensor"
	"whit/weight"
)

// TestCodesEqualDense wants the bits of the dense kernel from products whose weights stay
// packed, on the same CPU, of every encoding, held by rows and by columns.
func TestCodesEqualDense(t *testing.T) {
	codebook := func(n int) func(s tensor.Shape) weight.Weight {
		return func(s tensor.Shape) weight.Weight {
			q, c := tensor.New(tensor.Uint8, s...), tensor.Of[float32](Rand(5, tensor.Float32, n))
			for i := range q.Bytes() {
				q.Bytes()[i] = byte(i * 7919 >> 3 % n)
			}
			return weight.Codebook{Indices: q, Centroids: c}
		}
	}
	levels := func(d tensor.DType, axis int, zero bool) func(s tensor.Shape) weight.Weight {
		return func(s tensor.Shape) weight.Weight {
			q := tensor.New(d, s...)
			for i := range q.Bytes() {
				q.Bytes()[i] = byte(i * 7919 >> 3)
			}
			n := 1
			if axis != weight.PerTensor {
				n = s[axis]
			}
			w := weight.Int8{Q: q, Axis: axis, Scale: tensor.Of[float32](Rand(6, tensor.Float32, n))}
			if zero {
				w.Zero = make([]int32, n)
				for i := range w.Zero {
					w.Zero[i] = int32(i % 5)
				}
			}
			return w
		}
	}
	grouped := func(d tensor.DType, group int, zero bool) func(s tensor.Shape) weight.Weight {
		return func(s tensor.Shape) weight.Weight {
			q := tensor.New(d, s...)
			for i := range q.Bytes()[:q.NumBytes()-1] { // no bits behind the last level
				q.Bytes()[i] = byte(i * 7919 >> 3)
			}
			w := weight.Int8{Q: q, Axis: 0, Group: group}
			if s[0] == 1013 { // transposed
				w.Axis = 1
			}
			n := w.ScaleShape().NumElements()
			w.Scale = tensor.Of[float32](Rand(6, tensor.Float32, n))
			if zero {
				w.Zero = make([]int32, n)
				for i := range w.Zero {
					w.Zero[i] = int32(i % 2)
				}
			}
			return w
		}
	}
	for _, enc := range []struct {
		name, kernel string
		axis         bool // of rows if transposed, else of columns
		make         func(s tensor.Shape) weight.Weight
	}{
		{"codebook 2", "f32_codes4_", false, codebook(2)}, {"codebook 16", "f32_codes4_", false, codebook(16)},
		{"int4", "f32_codesi4_", false, levels(tensor.Int4, weight.PerTensor, false)}, {"uint4 axis 0", "f32_codesu4_", true, levels(tensor.Uint4, 0, true)},
		{"int4 groups", "f32_codesi4_", false, grouped(tensor.Int4, 32, false)}, {"uint4 groups", "f32_codesu4_", false, grouped(tensor.Uint4, 128, true)},
		{"int2 groups", "f32_codesi4_", false, grouped(tensor.Int2, 64, true)}, {"uint2 group of all", "f32_codesu4_", false, grouped(tensor.Uint2, 1000, true)},
		{"int8 groups", "f32_codesi8_", false, grouped(tensor.Int8, 40, true)},
		{"int8", "f32_codesi8_", false, levels(tensor.Int8, weight.PerTensor, false)},
		{"uint8", "f32_codesu8_", false, levels(tensor.Uint8, weight.PerTensor, true)},
		{"int8 axis 0", "f32_codesi8_", true, levels(tensor.Int8, 0, true)}, {"uint8 axis 1", "f32_codesu8_", true, levels(tensor.Uint8, 1, true)},
	} {
		for _, m := range []int{1, 3, 4} {
			for _, op := range []string{"Gemm", "GemmT", "MatMul", "GemmRelu"} {
				if strings.Contains(enc.name, "group") && strings.HasPrefix(op, "Gemm") && op != "GemmT" {
					continue
				}
				const k, n = 643, 1013 // 2.6 MB, and nothing divides them
				trans := op == "GemmT" || op == "GemmRelu"
				shape := tensor.Shape{k, n}
				attrs := map[string]any{}
				if trans {
					shape, attrs["transB"] = tensor.Shape{n, k}, int64(1)
				}
				w := enc.make(shape)
				if err := weight.Check(w); err != nil {
					t.Fatal(err)
				}
				if i, ok := w.(weight.Int8); ok && i.Group == 0 && i.Axis != weight.PerTensor && (i.Axis == 1) == trans {
					continue // scales along k
				}
				c := Case{Op: strings.TrimSuffix(strings.TrimSuffix(op, "Relu"), "T"), Attrs: attrs, ConstIn: []int{1, 2},
					In: []*tensor.Tensor{Rand(1, tensor.Float32, m, k), w.Dense()}}
				if op != "MatMul" {
					c.In = append(c.In, Rand(3, tensor.Float32, n))
				}
				g, feeds := c.Build()
				if op == "GemmRelu" {
					var ok bool
					if g, feeds, ok = fused(&c, "Relu"); !ok {
						t.Fatal("not fused")
					}
				}
				want, err := Eval(g, feeds)
				if err != nil {
					t.Fatal(err)
				}
				node := g.Nodes[0]
				for _, f := range cpu.Detect().Variants() {
					e := &kernel.Env{CPU: f, Pack: func(_ *graph.Value, _ string, build func() []byte) []byte { return build() }}
					dense := kernel.Select(node, e)
					label := fmt.Sprintf("%s/%s/%d/%v", enc.name, op, m, f)
					bits := runKernel(t, label, dense, node, e, feeds, want, 0)
					v := node.In[1]
					data := v.Data
					v.Weight, v.Data = w, nil
					k := kernel.Select(node, e)
					if coded := strings.HasPrefix(k.Name, "f32_codes"); coded != f.AVX2FMA {
						t.Errorf("%s: runs on %s: %s", label, k.Name, kernel.Why(node, e))
					} else if coded {
						got := runKernel(t, label, k, node, e, feeds, want, 0)
						if !bytes.Equal(got[0].Bytes(), bits[0].Bytes()) {
							t.Errorf("%s: bits differ from the dense kernel's by %g", label, Diff(got[0], bits[0]))
						}
						if why := kernel.Why(node, e); !strings.HasPrefix(why, enc.kernel) {
							t.Errorf("%s: why is %q", label, why)
						}
					}
					v.Weight, v.Data = nil, data
				}
			}
		}
	}
}
