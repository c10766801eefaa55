package optest

import (
	"strings"
	"testing"

	"whit/internal/cpu"
	"whit/internal/kern"
	"whit/kernel"
	"whit/tensor"
)

// TestSparseWhy holds which rung a convolution takes on AVX2, and what it says of it.
func TestSparseWhy(t *testing.T) {
	f := cpu.Features{AVX2FMA: true}
	if kernel.For("", "Conv") == nil || cpu.Detect().And(f) != f {
		t.Skip("NOT RUN: this CPU or build lacks AVX2")
	}
	for _, c := range []struct {
		name string
		w    *tensor.Tensor
		want string
	}{
		{"4x1", Pruned(1, 4, 0.1167, false, 64, 64, 1, 1), "f32_sparse4x1_avx2: density 0."},
		{"2x1", Pruned(1, 2, 0.1167, false, 64, 64, 1, 1), "f32_sparse2x1_avx2: density 0."},
		{"1x1", Pruned(1, 1, 0.1167, false, 64, 64, 1, 1), "f32_sparse_avx2: density 0."},
		{"ragged", Pruned(1, 4, 0.15, true, 64, 64, 1, 1), "f32_sparse4x1_avx2: density 0."},
		{"half", Pruned(1, 1, 0.7, false, 64, 64, 1, 1), "dense: density 0.989 of 4x1 blocks above 0.7"},
		{"dense", Rand(1, tensor.Float32, 64, 64, 1, 1), ""},
		{"three outputs", Rand(1, tensor.Float32, 3, 64, 3, 3), "f32_sparse3x1_avx2: few outputs"},
		{"sixteen outputs", Rand(1, tensor.Float32, 16, 64, 3, 3), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := Case{Name: c.name, Op: "Conv", In: []*tensor.Tensor{Rand(2, tensor.Float32, 1, 64, 28, 28), c.w}, ConstIn: []int{1}}
			g, feeds := k.Build()
			if _, err := Eval(g, feeds); err != nil {
				t.Fatal(err)
			}
			n := g.Nodes[0]
			if got := kernel.Why(n, &kernel.Env{CPU: f}); !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestSparseTaken: every processor of amd64 takes a sparse kernel for the cases whose bits TestSparseEqualsDense
// compares. Only costs are looked at, so that this machine need not have what they are of.
func TestSparseTaken(t *testing.T) {
	for _, c := range All() {
		few := strings.HasPrefix(c.Name, "few/")
		if !few && !strings.HasPrefix(c.Name, "sparse/") {
			continue
		}
		g, feeds := c.Build()
		if _, err := Eval(g, feeds); err != nil {
			t.Fatal(err)
		}
		for _, f := range (cpu.Features{AVX2FMA: true, AVX512: true, VNNI: true}).Variants() {
			if few && kern.SparseOf(f).ISA == "go" { // in portable Go dense products are as fast
				continue
			}
			if why := kernel.Why(g.Nodes[0], &kernel.Env{CPU: f, Direct: true}); !strings.HasPrefix(why, "f32_sparse") {
				t.Errorf("%s/%v: %q", c.Name, f, why)
			}
		}
	}
}
