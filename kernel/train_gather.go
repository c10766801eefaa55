package kernel

import (
	"fmt"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// Lookups in a codebook: Gather from a vector of float32 by constant indices, and
// its gradient, the sum of dy over the places of each centroid (S. Han, H. Mao, W.
// J. Dally: Deep Compression, 2016, section 3.3). The sums are float64 in at most
// 64 parts of dy, added from the first to the last.
func init() {
	book := func(shape tensor.Shape, v, ix *graph.Value) bool {
		return v.Type.DType == tensor.Float32 && ix.IsConst() && (ix.Type.DType == tensor.Int32 || ix.Type.DType == tensor.Int64) &&
			len(shape) == 1 && shape[0] > 0 && shape[0] < 1<<31 && ix.Type.Shape.NumElements() > 0
	}
	Register(Kernel{
		Op: "Gather", Name: "f32_codebook", Priority: 10,
		Match: func(n *graph.Node, _ *Env) bool {
			return !n.In[0].IsConst() && book(n.In[0].Type.Shape, n.In[0], n.In[1]) && indicesFit(n.In[1], n.In[0].Type.Shape[0])
		},
		Prepare: func(n *graph.Node, e *Env) (*Prepared, error) {
			ix := codebookIndex(e, n.In[1], n.In[0].Type.Shape[0])
			return &Prepared{Packed: []int{1}, Phases: []Phase{{Tiles: (len(ix) + spanLen - 1) / spanLen, Run: func(c *Call, tile int, _ []byte) {
				from, to := tile*spanLen, min(len(ix), (tile+1)*spanLen)
				table, y := f32s(c.In[0]), f32s(c.Out[0])[from:to]
				for i, k := range ix[from:to] {
					y[i] = table[k]
				}
			}}}}, nil
		},
	})
	Register(Kernel{
		Domain: graph.Domain, Op: "GatherGrad", Name: "f32_codebookgrad", Priority: 10,
		Match: func(n *graph.Node, _ *Env) bool {
			return !n.In[0].IsConst() && book(n.Out[0].Type.Shape, n.In[0], n.In[1]) && indicesFit(n.In[1], n.Out[0].Type.Shape[0])
		},
		Prepare: func(n *graph.Node, e *Env) (*Prepared, error) {
			k := n.Out[0].Type.Shape[0]
			ix := codebookIndex(e, n.In[1], k)
			parts := min(64, (len(ix)+spanLen-1)/spanLen)
			return &Prepared{Packed: []int{1, 2}, Temp: 8 * parts * k, Phases: []Phase{
				{Tiles: parts, Run: func(c *Call, part int, _ []byte) {
					sum, dy := kern.Doubles(c.Temp)[part*k:][:k], f32s(c.In[0])
					clear(sum)
					from, to := part*len(ix)/parts, (part+1)*len(ix)/parts
					dy = dy[from:to]
					for i, j := range ix[from:to] {
						if g := dy[i]; g != 0 { // pruned places add nothing
							sum[j] += float64(g)
						}
					}
				}},
				{Tiles: 1, Run: func(c *Call, _ int, _ []byte) {
					sum, d := kern.Doubles(c.Temp), f32s(c.Out[0])
					for j := range k {
						s := 0.0
						for p := range parts {
							s += sum[p*k+j]
						}
						d[j] = float32(s)
					}
				}},
			}}, nil
		},
	})
}

// indicesFit reports whether all indices are in -k..k-1, as ONNX allows.
func indicesFit(v *graph.Value, k int) bool {
	ok := true
	eachIndex(v, func(_ int, x int64) { ok = ok && x >= int64(-k) && x < int64(k) })
	return ok
}

func eachIndex(v *graph.Value, f func(i int, x int64)) {
	if t := v.Tensor(); t.DType == tensor.Int32 {
		for i, x := range tensor.Of[int32](t) {
			f(i, int64(x))
		}
	} else {
		for i, x := range tensor.Of[int64](t) {
			f(i, x)
		}
	}
}

// codebookIndex is the indices as places in a table of k entries.
func codebookIndex(e *Env, v *graph.Value, k int) []int32 {
	n := v.Type.Shape.NumElements()
	b := e.Pack(v, fmt.Sprintf("codebook_index/%d", k), func() []byte {
		t := tensor.New(tensor.Int32, n)
		eachIndex(v, func(i int, x int64) {
			if x < 0 {
				x += int64(k)
			}
			tensor.Of[int32](t)[i] = int32(x)
		})
		return t.Bytes()
	})
	t, err := tensor.View(tensor.Type{DType: tensor.Int32, Shape: tensor.Shape{n}}, b)
	if err != nil {
		panic(err) // made above
	}
	return tensor.Of[int32](t)
}
