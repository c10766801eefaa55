package train

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"testing"

	"whit/graph"
	"whit/zoo"
)

// TestTrainsZoo trains architectures with BatchNormalization, Dropout, shuffles and
// residuals on a few pictures: they learn, the running statistics move, the frozen
// network gives what was learnt (two thirds would be chance), and the number of
// threads does not show.
func TestTrainsZoo(t *testing.T) {
	for _, c := range []struct {
		arch   string
		width  float64
		side   int
		epochs int
		long   bool
	}{
		{"resnet20", 0, 8, 3, false},
		{"vgg-s", 0, 8, 6, false},
		{"mobilenet2", 0.25, 32, 30, true},
		{"shufflenet2", 0.5, 32, 30, true},
	} {
		t.Run(c.arch, func(t *testing.T) {
			if c.long && os.Getenv("WHIT_LONG") == "" {
				t.Skip("long")
			}
			a, err := zoo.Find(c.arch)
			if err != nil {
				t.Fatal(err)
			}
			if a, err = a.With(zoo.Options{Classes: 3, Width: c.width, Input: []int{3, c.side, c.side}}); err != nil {
				t.Fatal(err)
			}
			var first, last float64
			sum := func(threads int) (*graph.Graph, [32]byte) {
				g, err := a.Build(1)
				if err != nil {
					t.Fatal(err)
				}
				Promote(g)
				o := Options{Epochs: c.epochs, LR: 0.003, Batch: 16, Seed: 1, Threads: threads, Schedule: "constant"}
				first = 0
				o.Progress = func(e Event) {
					if last = e.Loss; first == 0 {
						first = e.Loss
					}
				}
				if _, err := Run(context.Background(), g, newBlobs(128, 3, 1, 3, c.side, c.side), o); err != nil {
					t.Fatal(err)
				}
				h := sha256.New()
				for _, v := range g.Values() {
					if v.Kind == graph.Param || v.Kind == graph.State {
						fmt.Fprint(h, v.Name)
						h.Write(v.Data.Bytes())
					}
				}
				return g, [32]byte(h.Sum(nil))
			}
			g, one := sum(1)
			Demote(g)
			e, err := Evaluate(context.Background(), g, newBlobs(96, 3, 2, 3, c.side, c.side), EvalOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if e.Error > 0.3 || last > first/2 {
				t.Errorf("error %.3f on other pictures; loss %.3f, at first %.3f", e.Error, last, first)
			}
			if c.arch != "resnet20" {
				return
			}
			if _, two := sum(2); one != two {
				t.Error("two threads give other bytes than one")
			}
		})
	}
}
