package optest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"whit/graph"
	"whit/internal/cpu"
	"whit/kernel"
	"whit/weight"
)

// TestSparseEqualsDense wants the bits of the dense kernel from the sparse one on the
// same CPU, from dense constants that hold zeros and from sparse weights, and from convolutions
// of few outputs.
func TestSparseEqualsDense(t *testing.T) {
	ran := 0
	for _, c := range All() {
		few := strings.HasPrefix(c.Name, "few/")
		if !few && !strings.HasPrefix(c.Name, "sparse/") {
			continue
		}
		for _, act := range []string{"", "Relu", "Clip", "PRelu", "Add", "Add Relu"} {
			for i := 2; i < len(c.In); i++ {
				c.ConstIn = append(c.ConstIn[:1:1], i)
			}
			g, feeds := c.Build()
			if act != "" {
				var ok bool
				if g, feeds, ok = fused(&c, act); !ok {
					continue
				}
			}
			want, err := Eval(g, feeds)
			if err != nil {
				t.Fatal(err)
			}
			n := g.Nodes[0]
			if act == "PRelu" && c.Op != "Conv" {
				continue
			}
			for _, f := range cpu.Detect().Variants() {
				for _, encoded := range []bool{false, true} {
					if few && (encoded || !f.AVX2FMA) {
						continue
					}
					packs := map[string][]byte{}
					planes := false
					e := &kernel.Env{CPU: f, Direct: true, Planes: func(*graph.Value) bool { return planes }, Pack: func(v *graph.Value, packing string, build func() []byte) []byte {
						if packs[packing] == nil {
							packs[packing] = build()
						}
						return packs[packing]
					}}
					if w := n.In[1]; encoded {
						s, err := weight.SparseOf(w.Data, nil)
						if err != nil {
							t.Fatal(err)
						}
						w.Weight, w.Data = s, nil
					}
					results := map[bool][][]byte{}
					for _, k := range kernel.For(n.Domain, n.Op) {
						sparse := strings.HasPrefix(k.Name, "f32_sparse")
						planes = strings.HasSuffix(k.Name, "_planes")
						if !k.Match(n, e) || !sparse && k.Name != "f32_conv" && k.Name != "f32_gemm" && k.Name != "f32_matmul" {
							continue
						}
						for i := range physical {
							label := fmt.Sprintf("%s/%s/%s/%v", c.Name, act, k.Name, f)
							if got := runKernel(t, label, &k, n, e, feeds, want, i); got != nil {
								results[sparse] = append(results[sparse], got[0].Bytes())
							}
						}
					}
					if len(results[true]) == 0 {
						t.Errorf("%s/%s/%v: no sparse kernel takes it: %s", c.Name, act, f, kernel.Why(n, e))
					}
					for _, b := range results[true] {
						if ran++; len(results[false]) == 0 || !bytes.Equal(b, results[false][0]) {
							t.Errorf("%s/%s/%v: bits differ from the dense kernel's", c.Name, act, f)
							break
						}
					}
					n.In[1].Data, n.In[1].Weight = n.In[1].Tensor(), nil
				}
			}
		}
	}
	if ran == 0 {
		t.Error("nothing ran")
	}
	t.Logf("%d results", ran)
}
