package plan

import (
	"context"
	"testing"

	"whit/tensor"
	"whit/zoo"
)

// TestSteadyStateAllocatesNothing runs LeNet-5 on its kernels.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, arch := range []string{"lenet300", "lenet5"} {
		for _, threads := range []int{1, 2} {
			g, err := zoo.Build(arch, 1)
			if err != nil {
				t.Fatal(err)
			}
			p, err := NewProgram(g, Options{Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			pl, err := p.Plan(map[string]tensor.Type{"input": {DType: tensor.Float32, Shape: tensor.Shape{1, 1, 28, 28}}})
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range pl.Nodes() {
				if n.Kernel == "reference" {
					t.Errorf("%s: node %s (%s) runs on its reference", arch, n.Node, n.Op)
				}
			}
			s, err := pl.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			if n := testing.AllocsPerRun(20, func() {
				if err := s.Run(ctx); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s, %d threads: %v allocations a run", arch, threads, n)
			}
		}
	}
}

func BenchmarkRun(b *testing.B) {
	for _, arch := range []string{"lenet300", "lenet5"} {
		b.Run(arch, func(b *testing.B) {
			g, err := zoo.Build(arch, 1)
			if err != nil {
				b.Fatal(err)
			}
			p, err := NewProgram(g, Options{Threads: 1})
			if err != nil {
				b.Fatal(err)
			}
			pl, err := p.Plan(map[string]tensor.Type{"input": {DType: tensor.Float32, Shape: tensor.Shape{1, 1, 28, 28}}})
			if err != nil {
				b.Fatal(err)
			}
			s, err := pl.NewSession()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Run(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
