package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"whit/data"
	"whit/internal/modelfile"
	"whit/op"
	"whit/pass"
	"whit/plan"
	"whit/tensor"
	"whit/train"
)

type checkResult struct {
	Schema   int      `json:"schema"`
	Model    string   `json:"model"`
	OK       bool     `json:"ok"`
	Problems []string `json:"problems,omitempty"`
	Note     string   `json:"note,omitempty"`
	// Data is how the model does on --data under several ways of preprocessing.
	Data []checkScore `json:"data,omitempty"`
}

type checkScore struct {
	Preset string  `json:"preset"`
	Color  string  `json:"color"`
	Offset int     `json:"label_offset"`
	N      int     `json:"n"`
	Right  float64 `json:"right"`
	Error  string  `json:"error,omitempty"`
}

func checkCmd() *cobra.Command {
	var (
		asJSON             bool
		dataName, cardFlag string
		threads            int
		sh                 = shapes{}
	)
	c := &cobra.Command{
		Use:   "check MODEL",
		Short: "List all that cannot run, and how the data fit, before anything runs",
		Long: `Check that whit can run a model: every operator, type, shape and attribute. All
problems are listed, not only the first. Exit code 0 means that it can run.

With --data, labelled pictures, the model is scored under its own card and the common
ways of preprocessing, in RGB and BGR, and with labels shifted by one: the row that
stands out is how the model was trained.`,
		Example: "  whit check model.onnx\n  whit check model.onnx --data images/",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := modelfile.Load(args[0], cardFlag)
			if err != nil {
				return err
			}
			r := checkResult{Schema: 1, Model: f.Base}
			list := func(err error) {
				var ce *op.CheckError
				if errors.As(err, &ce) {
					for _, e := range ce.Errs {
						r.Problems = append(r.Problems, e.Error())
					}
				} else if err != nil {
					r.Problems = append(r.Problems, err.Error())
				}
			}
			list(op.Check(f.Graph))
			if len(r.Problems) == 0 {
				types, err := binding(f.Graph, sh)
				if err != nil {
					r.Note = "operators are known; shapes were not checked: " + err.Error()
				} else {
					g, _ := f.Graph.Clone()
					pass.Simplify(g)
					_, err := pass.Bind(g, types, nil)
					list(err)
				}
			}
			r.OK = len(r.Problems) == 0
			if r.OK && dataName != "" {
				if r.Data, err = checkData(c.Context(), f, dataName, sh, threads); err != nil {
					return err
				}
			}
			w := c.OutOrStdout()
			if asJSON {
				if err := printJSON(w, r); err != nil {
					return err
				}
			} else {
				for _, p := range r.Problems {
					fmt.Fprintf(w, "%s: %s\n", f.Base, p)
				}
				if r.Note != "" {
					fmt.Fprintf(w, "%s: %s\n", f.Base, r.Note)
				}
				if r.OK {
					fmt.Fprintf(w, "%s: ok, %d nodes can run\n", f.Base, len(f.Graph.Nodes))
				}
				if r.Data != nil {
					tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
					fmt.Fprintln(tw, "\npreprocessing\tcolour\tlabels\timages\tright")
					for _, d := range r.Data {
						if d.Error != "" {
							fmt.Fprintf(tw, "%s\t%s\t\t\t%s\n", d.Preset, d.Color, d.Error)
							continue
						}
						fmt.Fprintf(tw, "%s\t%s\t%+d\t%d\t%.1f%%\n", d.Preset, d.Color, d.Offset, d.N, 100*d.Right)
					}
					if err := tw.Flush(); err != nil {
						return err
					}
				}
			}
			if !r.OK {
				return fmt.Errorf("%s: %d problems", f.Base, len(r.Problems))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	c.Flags().StringVar(&dataName, "data", "", "labelled pictures to score the model on under several ways of preprocessing")
	c.Flags().StringVar(&cardFlag, "card", "", "model card file, or a preset: imagenet, unit, symmetric, raw")
	c.Flags().StringVar(&cardFlag, "preprocess", "", "the same as --card")
	c.Flags().IntVar(&threads, "threads", 0, "workers (0: physical cores)")
	c.Flags().Var(sh, "shape", "shape of an input, name=1,3,224,224 (repeatable)")
	return c
}

// checkData scores the model on labelled data under its own card and the presets.
func checkData(ctx context.Context, f *modelfile.File, name string, sh shapes, threads int) ([]checkScore, error) {
	in, err := dataInput(f, sh)
	if err != nil {
		return nil, err
	}
	if slices.Contains(in, -1) {
		_, err := binding(f.Graph, nil) // says what is open
		return nil, err
	}
	port, out := f.Graph.Inputs[0].Name, f.Graph.Outputs[0].Name
	g, _ := f.Graph.Clone()
	pass.FreeBatch(g, in)
	if d := g.Inputs[0].Decl.Dims; len(d) > 0 {
		d[0].Size = -1
	}
	p, err := plan.NewProgram(g, plan.Options{Threads: threads})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Base, err)
	}
	bind := func(n int) (*plan.Plan, error) {
		return p.Plan(map[string]tensor.Type{port: {DType: tensor.Float32, Shape: append(tensor.Shape{n}, in...)}})
	}
	classes := func(ctx context.Context, pl *plan.Plan, x []float32, n int) ([]int32, error) {
		s, err := pl.NewSession()
		if err != nil {
			return nil, err
		}
		copy(tensor.Of[float32](s.Input(port)), x)
		if err := s.Run(ctx); err != nil {
			return nil, err
		}
		y := s.Output(out)
		if y.DType != tensor.Float32 || len(y.Shape) < 2 || y.Shape[0] != n || y.Len() == 0 {
			return nil, fmt.Errorf("output %q is %v, want scores of classes, float32[%d,C]", out, y.Type, n)
		}
		v, k := tensor.Of[float32](y), y.Len()/n
		best := make([]int32, n)
		for i := range best {
			best[i] = int32(train.Argmax(v[i*k : (i+1)*k]))
		}
		return best, nil
	}
	single := false // it takes one sample at a time
	predict := func(ctx context.Context, x []float32, n int) ([]int32, error) {
		if !single {
			if pl, err := bind(n); err == nil {
				if best, err := classes(ctx, pl, x, n); err == nil || ctx.Err() != nil {
					return best, err
				}
			}
			single = true // whatever is wrong shows there too
		}
		pl, err := bind(1)
		if err != nil {
			return nil, err
		}
		var best []int32
		for i := range n {
			c, err := classes(ctx, pl, x[i*len(x)/n:(i+1)*len(x)/n], 1)
			if err != nil {
				return nil, err
			}
			best = append(best, c...)
		}
		return best, nil
	}
	scores, err := data.Check(ctx, name, in, predict, data.CheckOptions{Card: f.Card, Classes: classesOf(f, in)})
	if err != nil {
		return nil, err
	}
	if len(scores) > 0 && scores[0].Err != nil { // the best row comes first: nothing could be measured
		return nil, scores[0].Err
	}
	var rows []checkScore
	for _, s := range scores {
		r := checkScore{Preset: s.Preset, Color: s.Color, Offset: s.Offset, N: s.N, Right: s.Right}
		if s.Err != nil {
			r.Error = oneLine(s.Err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}
