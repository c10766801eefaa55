package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"whit/card"
	"whit/data"
	"whit/graph"
	"whit/internal/modelfile"
	"whit/internal/safefile"
	"whit/plan"
	"whit/tensor"
)

func runCmd() *cobra.Command {
	var (
		inputs   []string
		output   string
		cardFlag string
		seeded   bool
		threads  int
		asJSON   bool
		tune     bool
		memory   memoryFlag
		sh       = shapes{}
	)
	c := &cobra.Command{
		Use:   "run MODEL",
		Short: "Run a model once on .npy, .npz or image inputs",
		Long: `Run a model once. Inputs are .npy files, one .npz with an array for each input, or
pictures, which the model card turns into the input. Outputs go to an .npz file, or
are summarised on the terminal.`,
		Example: `  whit run model.onnx --input input=x.npy --output y.npz
  whit run model.whit --input picture.png
  whit run model.onnx --seed-input --output y.npz`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(inputs) == 0 && !seeded {
				return usage("give --input or --seed-input")
			}
			if strings.EqualFold(filepath.Ext(output), ".npy") {
				return usage("--output %s: outputs go to an .npz, not an .npy", output)
			}
			if output != "" && same(args[0], output) {
				return usage("%s is the model; give another name for the output", output)
			}
			defer calm(memory.low())()
			f, err := modelfile.Open(args[0], cardFlag)
			if err != nil {
				return err
			}
			if err := supported(f); err != nil {
				return err
			}
			feeds, err := readInputs(f, inputs, sh)
			if err != nil {
				return err
			}
			for name, t := range feeds {
				if _, given := sh[name]; !given {
					sh[name] = t.Shape
				}
			}
			types, err := binding(f.Graph, sh)
			if err != nil {
				return err
			}
			for _, v := range f.Graph.Inputs {
				if feeds[v.Name] != nil {
					types[v.Name] = feeds[v.Name].Type
				} else if !seeded {
					return usage("input %q is missing: give --input %s=FILE, or --seed-input for all that are not given", v.Name, v.Name)
				}
			}
			o, err := tunePlan(c.Context(), f, types, plan.Options{Threads: threads, Direct: memory.low()}, tune)
			if err != nil {
				return err
			}
			memory.release()
			p, err := plan.NewProgram(f.Graph, o)
			if err != nil {
				return fmt.Errorf("%s: %w", f.Base, err)
			}
			f.Graph = nil
			memory.release()
			pl, err := p.Plan(types)
			if err != nil {
				return fmt.Errorf("%s: %w", f.Base, err)
			}
			memory.release()
			s, err := pl.NewSession()
			if err != nil {
				return err
			}
			for i, v := range p.Inputs() {
				if t := feeds[v.Name]; t != nil {
					copy(s.Input(v.Name).Bytes(), t.Bytes())
				} else {
					fillSeeded(s.Input(v.Name), uint64(i)+1)
				}
			}
			if err := s.Run(c.Context()); err != nil {
				return fmt.Errorf("%s: %w", f.Base, err)
			}
			var named []tensor.Named
			for _, v := range p.Outputs() {
				named = append(named, tensor.Named{Name: v.Name, T: s.Output(v.Name)})
			}
			if output != "" {
				unlock, err := safefile.Lock(output)
				if err != nil {
					return err
				}
				defer unlock()
				if err := safefile.Write(output, func(w io.Writer) error { return tensor.WriteNPZ(w, named) }); err != nil {
					return err
				}
			}
			return summarise(c, f, named, asJSON)
		},
	}
	c.Flags().StringArrayVarP(&inputs, "input", "i", nil, "NAME=FILE or FILE: .npy, .npz or a picture (repeatable)")
	c.Flags().StringVarP(&output, "output", "o", "", "write the outputs to this .npz file")
	c.Flags().StringVar(&cardFlag, "card", "", "model card file, or a preset: imagenet, unit, symmetric, raw")
	c.Flags().StringVar(&cardFlag, "preprocess", "", "the same as --card")
	c.Flags().BoolVar(&seeded, "seed-input", false, "fill inputs that are not given with seeded normal values")
	c.Flags().IntVar(&threads, "threads", 0, "workers (0: physical cores)")
	c.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	c.Flags().Var(sh, "shape", "shape of an input, name=1,3,224,224 (repeatable)")
	c.Flags().Var(&memory, "memory", memoryUsage)
	c.Flags().BoolVar(&tune, "tune", false, tuneUsage)
	return c
}

// readInputs reads what --input names.
func readInputs(f *modelfile.File, inputs []string, sh shapes) (map[string]*tensor.Tensor, error) {
	feeds := map[string]*tensor.Tensor{}
	for _, arg := range inputs {
		v, file, err := inputOf(f.Graph, arg)
		if err != nil {
			return nil, err
		}
		switch strings.ToLower(filepath.Ext(file)) {
		case ".npz":
			arrays, err := readNPZ(file)
			if err != nil {
				return nil, err
			}
			if err := feedArrays(f.Graph, v, arrays, feeds); err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
			}
			continue
		case ".npy":
			if feeds[v.Name], err = readNPY(file); err != nil {
				return nil, err
			}
		default:
			if feeds[v.Name], err = readPicture(f, v, file, sh); err != nil {
				return nil, err
			}
		}
	}
	return feeds, nil
}

// inputOf takes NAME=FILE or FILE apart; the input is nil where an .npz is given for all of them. Both
// may have a = in it.
func inputOf(g *graph.Graph, arg string) (v *graph.Value, file string, err error) {
	for _, in := range g.Inputs {
		if rest, ok := strings.CutPrefix(arg, in.Name+"="); ok && (v == nil || len(in.Name) > len(v.Name)) {
			v, file = in, rest
		}
	}
	if v != nil {
		return v, file, nil
	}
	if name, _, named := strings.Cut(arg, "="); named {
		if _, err := os.Stat(arg); err != nil {
			return nil, "", usage("the model has no input %q, its inputs are %s", name, inputNames(g))
		}
	}
	switch {
	case strings.EqualFold(filepath.Ext(arg), ".npz"):
		return nil, arg, nil
	case len(g.Inputs) != 1:
		return nil, "", usage("the model has the inputs %s: give --input NAME=FILE", inputNames(g))
	}
	return g.Inputs[0], arg, nil
}

// feedArrays gives each input the array of its name; where there is one array and one input, or the input v is
// named, names do not matter.
func feedArrays(g *graph.Graph, v *graph.Value, arrays []tensor.Named, feeds map[string]*tensor.Tensor) error {
	var names []string
	for _, a := range arrays {
		names = append(names, a.Name)
	}
	switch i := -1; {
	case v != nil:
		if i = slices.Index(names, v.Name); i < 0 && len(arrays) == 1 {
			i = 0
		}
		if i < 0 {
			return fmt.Errorf("%d arrays, and none is called %q", len(arrays), v.Name)
		}
		feeds[v.Name] = arrays[i].T
		return nil
	case len(arrays) == 1 && len(g.Inputs) == 1:
		feeds[g.Inputs[0].Name] = arrays[0].T
		return nil
	}
	found := false
	for _, in := range g.Inputs {
		if i := slices.Index(names, in.Name); i >= 0 {
			feeds[in.Name], found = arrays[i].T, true
		}
	}
	if !found {
		return fmt.Errorf("none of its %d arrays is called like an input, the inputs are %s", len(arrays), inputNames(g))
	}
	return nil
}

// inputNames are the names of a model's inputs, quoted; a few, if they are many.
func inputNames(g *graph.Graph) string {
	var q []string
	for i, in := range g.Inputs {
		if i == 8 {
			q = append(q, "...")
			break
		}
		q = append(q, strconv.Quote(in.Name))
	}
	return strings.Join(q, ", ")
}

func readNPY(file string) (*tensor.Tensor, error) {
	r, _, err := openSized(file)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	t, err := tensor.ReadNPY(bufio.NewReader(r))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return t, nil
}

func readNPZ(file string) ([]tensor.Named, error) {
	r, size, err := openSized(file)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	m, err := tensor.ReadNPZ(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return m, nil
}

func openSized(file string) (*os.File, int64, error) {
	r, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	st, err := r.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", filepath.Base(file))
	}
	if err != nil {
		r.Close()
		return nil, 0, err
	}
	return r, st.Size(), nil
}

// readPicture turns a picture into one sample of the input as the card says. An input
// of any size takes the picture's own, where the card neither resizes nor crops.
func readPicture(f *modelfile.File, v *graph.Value, file string, sh shapes) (*tensor.Tensor, error) {
	if f.Card == nil {
		return nil, usage("%s has no model card: give --card FILE or --preprocess imagenet|unit|symmetric|raw", f.Base)
	}
	img, err := data.DecodeImage(file)
	if err != nil {
		return nil, err
	}
	of := shapes{}
	if s, ok := sh[v.Name]; ok {
		of[v.Name] = s
	} else if d := v.Decl.Dims; f.Card.Input.Resize == nil && f.Card.Input.Crop == (card.Size{}) && len(d) == 4 && f.Card.Channels() > 0 {
		s := tensor.Shape{1, f.Card.Channels(), img.Bounds().Dy(), img.Bounds().Dx()}
		if f.Card.Input.Layout == "nhwc" {
			s = tensor.Shape{1, s[2], s[3], s[1]}
		}
		for i := range s {
			if d[i].Size >= 0 {
				s[i] = d[i].Size
			}
		}
		of[v.Name] = s
	}
	types, err := binding(&graph.Graph{Inputs: []*graph.Value{v}}, of)
	if err != nil {
		return nil, err
	}
	t := tensor.New(types[v.Name].DType, types[v.Name].Shape...)
	if err := f.Card.Preprocess(t, img); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return t, nil
}

type outputSummary struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Min  number `json:"min"`
	Max  number `json:"max"`
	Mean number `json:"mean"`
	Top  []top  `json:"top,omitempty"`
}

type top struct {
	Index int    `json:"index"`
	Label string `json:"label,omitempty"`
	Value number `json:"value"`
}

// summarise prints each output: range, mean, and for a classifier the best five.
func summarise(c *cobra.Command, f *modelfile.File, outs []tensor.Named, asJSON bool) error {
	var rows []outputSummary
	for _, o := range outs {
		t := o.T
		r := outputSummary{Name: o.Name, Type: t.Type.String()}
		if x := values(t); len(x) > 0 {
			r.Min, r.Max = number(math.Inf(1)), number(math.Inf(-1))
			for _, y := range x {
				r.Min, r.Max, r.Mean = min(r.Min, number(y)), max(r.Max, number(y)), r.Mean+number(y/float64(len(x)))
			}
			if len(t.Shape) == 2 && t.Shape[0] == 1 && t.DType.IsFloat() && f.Card != nil && f.Card.Task == "classify" {
				idx := make([]int, len(x))
				for i := range idx {
					idx[i] = i
				}
				sort.SliceStable(idx, func(a, b int) bool { return x[idx[a]] > x[idx[b]] })
				for _, i := range idx[:min(5, len(idx))] {
					e := top{Index: i, Value: number(x[i])}
					if i < len(f.Card.Labels) {
						e.Label = f.Card.Labels[i]
					}
					r.Top = append(r.Top, e)
				}
			}
		}
		rows = append(rows, r)
	}
	w := c.OutOrStdout()
	if asJSON {
		return printJSON(w, map[string]any{"schema": 1, "model": f.Base, "outputs": rows})
	}
	for _, r := range rows {
		fmt.Fprintf(w, "%s %s: min %.6g, mean %.6g, max %.6g\n", printable(r.Name), r.Type, float64(r.Min), float64(r.Mean), float64(r.Max))
		for _, e := range r.Top {
			fmt.Fprintf(w, "  %4d  %9.4f  %s\n", e.Index, float64(e.Value), e.Label)
		}
	}
	return nil
}

// values are the elements of t as numbers; nil where they are packed or of a type that is none.
func values(t *tensor.Tensor) []float64 {
	switch t.DType {
	case tensor.Float16, tensor.BFloat16, tensor.Float32, tensor.Float64:
		x := tensor.New(tensor.Float64, t.Shape...)
		tensor.Convert(x, t)
		return tensor.Of[float64](x)
	case tensor.Int8:
		return numbers(tensor.Of[int8](t))
	case tensor.Int16:
		return numbers(tensor.Of[int16](t))
	case tensor.Int32:
		return numbers(tensor.Of[int32](t))
	case tensor.Int64:
		return numbers(tensor.Of[int64](t))
	case tensor.Uint16:
		return numbers(tensor.Of[uint16](t))
	case tensor.Uint32:
		return numbers(tensor.Of[uint32](t))
	case tensor.Uint64:
		return numbers(tensor.Of[uint64](t))
	case tensor.Uint8, tensor.Bool:
		return numbers(t.Bytes())
	}
	return nil
}

func numbers[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64](x []T) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}
