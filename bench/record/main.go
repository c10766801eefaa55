// Command record tries recipes for the smallest networks without opening a test set: the training images, MNIST's or those of a
// folder with train/ and test/, are cut into 5/6 to train on and 1/6 to choose by, as whit compress does.
//
//	record [-data DATA] [-seed N] [-work DIR] [-o FILE.whit | -race ROUNDS] MODEL.onnx RECIPE.yaml...
//
// Several recipes are followed one after the other, each on what the one before left; what was finished is kept in
// the work folder, so that trials that begin alike share it. Printed are the bytes of the file and the error on the images to choose by.
//
// With -race recipes are rivals, each followed from the model on, and meet in rounds by successive halving (K. Jamieson,
// A. Talwalkar: Non-stochastic best arm identification and hyperparameter optimization, 2016): first all with a part of their
// epochs, then the half with the lower loss on the images to choose by with twice as many, and in the last round with all of them.
package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"whit/card"
	"whit/compress"
	"whit/compress/method"
	"whit/compress/search"
	"whit/data"
	"whit/format"
	"whit/graph"
	"whit/onnx"
)

func main() {
	name := flag.String("data", "mnist", "mnist, or a folder with train/ and test/")
	seed := flag.Uint64("seed", 1, "seed")
	work := flag.String("work", "", "folder that keeps finished steps")
	out := flag.String("o", "", "file to write")
	threads := flag.Int("threads", 0, "workers (0: physical cores)")
	rounds := flag.Int("race", 0, "let the recipes race in so many rounds (0: follow all, one after the other)")
	flag.Parse()
	if err := run(context.Background(), flag.Args(), *name, *seed, *work, *out, *threads, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, name string, seed uint64, work, out string, threads, rounds int) error {
	if len(args) < 2 || rounds < 0 || rounds > 16 || rounds > 0 && out != "" {
		return fmt.Errorf("want a model and recipes, and 0 to 16 rounds; a race writes no file")
	}
	g, err := onnx.ReadFile(args[0])
	if err != nil {
		return err
	}
	c, err := card.Parse([]byte(g.Meta[card.MetaKey]), nil)
	if err != nil {
		return err
	}
	if len(g.Inputs) != 1 || len(g.Inputs[0].Decl.Dims) < 2 {
		return fmt.Errorf("%d inputs, want one of a batch of samples", len(g.Inputs))
	}
	sets, err := data.Open(ctx, name, &c, g.Inputs[0].Decl.Sizes()[1:], data.Options{})
	if err != nil {
		return err
	}
	if sets.Train == nil {
		return fmt.Errorf("data %s have no training set of their own", name)
	}
	never := func(context.Context) (data.Dataset, error) { return nil, fmt.Errorf("the test set stays closed") }
	fit, choice, err := compress.Parts(compress.Data{Set: sets.Train, Test: never})
	if err != nil {
		return err
	}
	if work != "" {
		if err := os.MkdirAll(work, 0o755); err != nil {
			return err
		}
	}
	began := time.Now()
	fresh := func() *method.State {
		sg, _ := g.Clone()
		s := &method.State{Graph: sg, Float: g, Layers: method.FindLayers(sg, ""), Train: fit, Choice: choice, Seed: seed, Threads: threads}
		if work != "" {
			s.Memo = &method.Memo{Dir: work, Salt: fmt.Sprint(seed)}
		}
		s.Progress = func(e method.Event) {
			if e.Done == float64(int(e.Done)) {
				fmt.Printf("%6.1fs %s %.0f/%.0f %s\n", time.Since(began).Seconds(), e.Stage, e.Done, e.Total, e.Message)
			}
		}
		return s
	}
	yaml, err := c.YAML()
	if err != nil {
		return err
	}
	var all []*rival
	for _, name := range args[1:] {
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		r, err := compress.ParseRecipe(src)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, &rival{name: name, recipe: r})
	}
	// follow lets s go through a recipe's steps.
	follow := func(s *method.State, r *rival, steps []method.Step) (b []byte, e method.Eval, err error) {
		for _, st := range steps {
			if err := s.Step(ctx, st, search.Methods); err != nil {
				return nil, e, fmt.Errorf("%s: %w", st.Method, err)
			}
			if b, e, err = measure(ctx, s, yaml); err != nil {
				return nil, e, err
			}
			stored := ""
			for _, l := range s.Layers {
				stored += fmt.Sprintf(" %s %v %d", l.Name, l.Weight.Value.Type.Shape, l.Weight.Stored())
			}
			fmt.Printf("%s %s: %d bytes, %.1fx, error %.2f%%, loss %.4f,%s\n", r.name, st.Method, len(b), float64(method.DenseBytes(g))/float64(len(b)), 100*e.Error, e.Loss, stored)
			if out != "" {
				if err := os.WriteFile(out, b, 0o644); err != nil {
					return nil, e, err
				}
			}
		}
		return b, e, nil
	}
	if rounds > 0 {
		return race(os.Stdout, all, rounds, func(r *rival, steps []method.Step) ([]byte, method.Eval, error) { return follow(fresh(), r, steps) })
	}
	s := fresh()
	for _, r := range all {
		if _, _, err := follow(s, r, r.recipe.Steps); err != nil {
			return err
		}
	}
	return nil
}

// rival is a recipe in a race, and what its last round gave.
type rival struct {
	name   string
	recipe *method.Recipe
	bytes  int
	eval   method.Eval
}

// race lets recipes meet in rounds; in the last one they have all of their epochs.
func race(w io.Writer, all []*rival, rounds int, follow func(r *rival, steps []method.Step) ([]byte, method.Eval, error)) error {
	for k := rounds - 1; k >= 0; k-- {
		for _, r := range all {
			b, e, err := follow(r, shorter(r.recipe.Steps, 1<<k))
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			r.bytes, r.eval = len(b), e
		}
		slices.SortStableFunc(all, func(a, b *rival) int { return cmp.Compare(a.eval.Loss, b.eval.Loss) })
		fmt.Fprintf(w, "with 1/%d of the epochs:\n", 1<<k)
		for i, r := range all {
			fmt.Fprintf(w, "%3d. %s: %d bytes, error %.2f%%, loss %.4f\n", i+1, r.name, r.bytes, 100*r.eval.Error, r.eval.Loss)
		}
		if k > 0 {
			all = all[:(len(all)+1)/2]
		}
	}
	return nil
}

// shorter are steps with a part of the epochs that they give, at least one where there are any.
func shorter(steps []method.Step, by int) []method.Step {
	steps = slices.Clone(steps)
	for i := range steps {
		if n, ok := steps[i].Set["epochs"].(int); ok {
			steps[i].Set = maps.Clone(steps[i].Set)
			steps[i].Set["epochs"] = (n + by - 1) / by
		}
	}
	return steps
}

// measure is the file of the state as it stands, and its figures on the images to choose by.
func measure(ctx context.Context, s *method.State, yaml []byte) ([]byte, method.Eval, error) {
	f, err := s.Freeze()
	if err != nil {
		return nil, method.Eval{}, err
	}
	var b bytes.Buffer
	if _, err := format.Write(&b, &format.File{Graph: withoutCard(f), Card: yaml}, format.Options{Strip: true}); err != nil {
		return nil, method.Eval{}, err
	}
	e, err := s.Measure(ctx, f)
	return b.Bytes(), e, err
}

// withoutCard is the graph without the card among its metadata: the file has it in a place of its own.
func withoutCard(g *graph.Graph) *graph.Graph {
	g.Meta = maps.Clone(g.Meta)
	delete(g.Meta, card.MetaKey)
	return g
}
