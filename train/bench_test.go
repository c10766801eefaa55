package train

import (
	"context"
	"testing"

	"whit/zoo"
)

// BenchmarkStep is one training step of 128 resident samples with AdamW.
func BenchmarkStep(b *testing.B) {
	for _, a := range []struct {
		name  string
		shape []int
	}{{"lenet300", []int{1, 28, 28}}, {"lenet5", []int{1, 28, 28}}, {"resnet20", []int{3, 32, 32}}, {"vgg-s", []int{3, 32, 32}}} {
		b.Run(a.name, func(b *testing.B) {
			g, err := zoo.Build(a.name, 1)
			if err != nil {
				b.Fatal(err)
			}
			Promote(g)
			t, err := New(g, newBlobs(1280, 10, 1, a.shape...), Options{Epochs: 1 << 16, Batch: 128, Schedule: "constant", LR: 1e-5})
			if err != nil {
				b.Fatal(err)
			}
			defer t.Close()
			ctx := context.Background()
			for b.Loop() {
				if _, err := t.Step(ctx); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(128*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
		})
	}
}
