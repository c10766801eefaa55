// Command record tries recipes for the smallest LeNets without opening a test set: MNIST's training images are
// cut into 50,000 to train on and 10,000 to choose by, as whit compress does.
//
//	record MODEL.onnx RECIPE.yaml... [-seed N] [-work DIR] [-o FILE.whit]
//
// Several recipes are followed one after the other, each on what the one before left; what was finished is kept in
// the work folder, so that trials that begin alike share it. Printed are the bytes of the file and the error on the images to choose by.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
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
	seed := flag.Uint64("seed", 1, "seed")
	work := flag.String("work", "", "folder that keeps finished steps")
	out := flag.String("o", "", "file to write")
	threads := flag.Int("threads", 0, "workers (0: physical cores)")
	flag.Parse()
	if err := run(context.Background(), flag.Args(), *seed, *work, *out, *threads); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, seed uint64, work, out string, threads int) error {
	if len(args) < 2 {
		return fmt.Errorf("want a model and recipes")
	}
	g, err := onnx.ReadFile(args[0])
	if err != nil {
		return err
	}
	c, err := card.Parse([]byte(g.Meta[card.MetaKey]), nil)
	if err != nil {
		return err
	}
	sets, err := data.Open(ctx, "mnist", &c, []int{1, 28, 28}, data.Options{})
	if err != nil {
		return err
	}
	never := func(context.Context) (data.Dataset, error) { return nil, fmt.Errorf("the test set stays closed") }
	fit, choice, err := compress.Parts(compress.Data{Set: sets.Train, Test: never})
	if err != nil {
		return err
	}
	sg, _ := g.Clone()
	s := &method.State{Graph: sg, Float: g, Layers: method.FindLayers(sg, ""), Train: fit, Choice: choice, Seed: seed, Threads: threads}
	if work != "" {
		if err := os.MkdirAll(work, 0o755); err != nil {
			return err
		}
		s.Memo = &method.Memo{Dir: work, Salt: fmt.Sprint(seed)}
	}
	began := time.Now()
	s.Progress = func(e method.Event) {
		if e.Done == float64(int(e.Done)) {
			fmt.Printf("%6.1fs %s %.0f/%.0f %s\n", time.Since(began).Seconds(), e.Stage, e.Done, e.Total, e.Message)
		}
	}
	yaml, err := c.YAML()
	if err != nil {
		return err
	}
	for _, name := range args[1:] {
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		r, err := compress.ParseRecipe(src)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, st := range r.Steps {
			if err := s.Step(ctx, st, search.Methods); err != nil {
				return fmt.Errorf("%s: %w", st.Method, err)
			}
			b, e, err := measure(ctx, s, yaml)
			if err != nil {
				return err
			}
			stored := ""
			for _, l := range s.Layers {
				stored += fmt.Sprintf(" %s %v %d", l.Name, l.Weight.Value.Type.Shape, l.Weight.Stored())
			}
			fmt.Printf("%s %s: %d bytes, %.1fx, error %.2f%%, loss %.4f,%s\n", name, st.Method, len(b), float64(method.DenseBytes(g))/float64(len(b)), 100*e.Error, e.Loss, stored)
			if out != "" {
				if err := os.WriteFile(out, b, 0o644); err != nil {
					return err
				}
			}
		}
	}
	return nil
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
