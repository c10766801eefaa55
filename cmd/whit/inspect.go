package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"whit/format"
	"whit/graph"
	"whit/internal/modelfile"
	"whit/op"
	"whit/pass"
	"whit/plan"
	"whit/tensor"
	"whit/zoo"
)

type inspectNode struct {
	Name   string   `json:"name"`
	Op     string   `json:"op"`
	Inputs []string `json:"inputs"`
	Output string   `json:"output"`
	Shape  string   `json:"shape"`
	MACs   int64    `json:"macs"`
}

type inspectTensor struct {
	Name     string  `json:"name"`
	Type     string  `json:"type"`
	Encoding string  `json:"encoding"`
	Elements int     `json:"elements"`
	Dense    int64   `json:"dense_bytes"`
	Held     int64   `json:"held_bytes"`
	Stored   int64   `json:"stored_bytes,omitempty"`
	Books    int64   `json:"element_bytes,omitempty"` // of these, scales, centroids and other elements
	Coder    string  `json:"coder,omitempty"`
	Sparsity float64 `json:"sparsity"`
}

type inspectResult struct {
	Schema  int               `json:"schema"`
	Model   string            `json:"model"`
	Format  string            `json:"format"`
	Bytes   int64             `json:"file_bytes"`
	Inputs  []string          `json:"inputs"`
	Outputs []string          `json:"outputs"`
	Params  int64             `json:"parameters"`
	MACs    int64             `json:"macs"`
	Dense   int64             `json:"dense_bytes"`
	Nodes   []inspectNode     `json:"nodes"`
	Tensors []inspectTensor   `json:"tensors"`
	Plan    []plan.NodeInfo   `json:"plan,omitempty"`
	Arena   int               `json:"arena_bytes,omitempty"`
	Meta    map[string]string `json:"metadata,omitempty"`
	Task    string            `json:"task,omitempty"`
	Prep    string            `json:"preprocessing,omitempty"`
	Licence string            `json:"licence,omitempty"`
	Where   *inspectBytes     `json:"bytes,omitempty"`
}

// inspectBytes says where the bytes of a .whit file are; they add up to file_bytes.
type inspectBytes struct {
	Weights   int64 `json:"weights"` // the constants' payload
	Graph     int64 `json:"graph"`
	Card      int64 `json:"card"`
	Names     int64 `json:"names"`
	Meta      int64 `json:"metadata"`
	Receipt   int64 `json:"receipt"`
	Choices   int64 `json:"choices"`   // of kernels
	Container int64 `json:"container"` // and what frames the payload
	Beside    int64 `json:"beside"`    // all but the payload
}

func inspectCmd() *cobra.Command {
	var asJSON, showPlan, showBytes, tune bool
	sh := shapes{}
	c := &cobra.Command{
		Use:     "inspect MODEL",
		Short:   "Show nodes, shapes, bytes, MACs, sparsity and the plan of a model",
		Example: "  whit inspect model.whit\n  whit inspect model.onnx --plan --shape input=1,3,224,224",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if tune && !showPlan {
				return usage("--tune is with --plan")
			}
			f, err := modelfile.Load(args[0], "")
			if err != nil {
				return err
			}
			r, err := inspect(c.Context(), f, sh, showPlan, tune)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			if err := r.print(c.OutOrStdout()); err != nil || !showBytes {
				return err
			}
			return r.printBytes(c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	c.Flags().BoolVar(&showBytes, "bytes", false, "where the bytes of a .whit file are")
	c.Flags().BoolVar(&showPlan, "plan", false, "the compiled plan: kernel, MACs and bytes of every step, and why a sparse kernel was taken or not")
	c.Flags().BoolVar(&tune, "tune", false, "with --plan: the plan of --tune; such nodes say \"tuned\"")
	c.Flags().Var(sh, "shape", "shape of an input, name=1,3,224,224 (repeatable)")
	return c
}

func inspect(ctx context.Context, f *modelfile.File, sh shapes, showPlan, tune bool) (*inspectResult, error) {
	r := &inspectResult{Schema: 1, Model: f.Base, Format: f.Format, Bytes: f.Bytes, Meta: f.Graph.Meta}
	if f.Card != nil {
		r.Task, r.Prep, r.Licence = f.Card.Task, f.Card.String(), f.Card.Licence
	}
	g, _ := f.Graph.Clone()
	stored := map[string]format.WeightSize{}
	if f.Sizes != nil {
		z := f.Sizes
		b := &inspectBytes{Graph: z.Graph, Card: z.Card, Names: z.Names, Meta: z.Meta, Receipt: z.Receipt, Choices: z.Choices, Container: z.Container + z.Data}
		for _, w := range z.Weights {
			stored[w.Name] = w
			b.Weights += w.Bytes
		}
		b.Container -= b.Weights
		b.Beside = z.File - b.Weights
		r.Where = b
	}
	for _, v := range g.Inputs {
		r.Inputs = append(r.Inputs, v.Name+" "+v.Decl.String())
	}
	for _, v := range g.Values() {
		if v.Kind == graph.Computed || v.Kind == graph.Input || v.Type.DType == tensor.Invalid {
			continue
		}
		t := inspectTensor{Name: v.Name, Type: v.Type.String(), Encoding: "dense", Elements: v.Type.Shape.NumElements(),
			Dense: int64(v.Type.NumBytes())}
		t.Held = t.Dense
		if v.Weight != nil {
			t.Encoding, t.Held = format.EncodingName(v.Weight), v.Weight.Bytes()
		}
		if s, ok := stored[v.Name]; ok {
			t.Stored, t.Books, t.Coder = s.Bytes, s.Elements, s.Coder
		}
		t.Sparsity = sparsity(v.Tensor())
		if v.Type.DType.IsFloat() {
			r.Params += int64(t.Elements)
			r.Dense += t.Dense
		}
		r.Tensors = append(r.Tensors, t)
	}
	// Shapes and MACs need a binding; a model that cannot be bound still has nodes.
	types, err := binding(g, sh)
	var outs []*graph.Value // as bound
	if err == nil {
		if op.Check(g) == nil {
			b, _ := g.Clone()
			if bound, berr := pass.Bind(b, types, nil); berr == nil {
				outs = bound.Graph.Outputs
				byName := map[string]*graph.Node{}
				for _, n := range bound.Graph.Nodes {
					byName[n.Name] = n
				}
				for _, n := range g.Nodes {
					r.add(n, byName[n.Name])
				}
			} else if showPlan {
				return nil, fmt.Errorf("%s: %w", f.Base, berr)
			}
		}
	} else if showPlan || len(sh) > 0 {
		return nil, err
	}
	for i, v := range g.Outputs { // declared, else as bound: neither need be known
		t := ""
		if v.Decl.DType != tensor.Invalid {
			t = " " + v.Decl.String()
		} else if outs != nil {
			t = " " + outs[i].Type.String()
		}
		r.Outputs = append(r.Outputs, v.Name+t)
	}
	if r.Nodes == nil {
		for _, n := range g.Nodes {
			r.add(n, nil)
		}
	}
	if showPlan {
		o, err := tunePlan(ctx, f, types, plan.Options{}, tune)
		if err != nil {
			return nil, err
		}
		p, err := plan.NewProgram(f.Graph, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Base, err)
		}
		pl, err := p.Plan(types)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Base, err)
		}
		r.Plan, r.Arena = pl.Nodes(), pl.ArenaBytes()
	}
	return r, nil
}

func (r *inspectResult) add(n, bound *graph.Node) {
	e := inspectNode{Name: n.Name, Op: n.OpName()}
	for _, v := range n.In {
		if v == nil {
			e.Inputs = append(e.Inputs, "")
		} else {
			e.Inputs = append(e.Inputs, v.Name)
		}
	}
	if len(n.Out) > 0 && n.Out[0] != nil {
		e.Output = n.Out[0].Name
	}
	if bound != nil {
		e.MACs, _ = op.Cost(bound)
		r.MACs += e.MACs
		if len(bound.Out) > 0 && bound.Out[0] != nil {
			e.Shape = bound.Out[0].Type.String()
		}
	}
	r.Nodes = append(r.Nodes, e)
}

func (r *inspectResult) print(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s, %d bytes\n", r.Model, r.Format, r.Bytes)
	fmt.Fprintf(w, "inputs   %s\noutputs  %s\n", strings.Join(r.Inputs, ", "), strings.Join(r.Outputs, ", "))
	for _, l := range [][2]string{{"task", r.Task}, {"input", r.Prep}, {"licence", r.Licence},
		{"source", r.Meta[zoo.MetaModel]}, {"terms", r.Meta[zoo.MetaTerms]}, {"trained", r.Meta[zoo.MetaTrained]}} {
		if l[1] != "" {
			fmt.Fprintf(w, "%-8s %s\n", l[0], printable(l[1]))
		}
	}
	fmt.Fprintf(w, "%d parameters, %d bytes dense (%.1fx the file), %.3g MACs\n\n", r.Params, r.Dense, float64(r.Dense)/float64(max(1, r.Bytes)), float64(r.MACs))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "node\top\tshape\tMACs")
	for _, n := range r.Nodes {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\n", n.Name, n.Op, n.Shape, n.MACs)
	}
	fmt.Fprintln(tw, "\ntensor\ttype\tencoding\tdense bytes\tin memory\tstored\tcoder\tsparsity")
	for _, t := range r.Tensors {
		stored := "-"
		if t.Stored > 0 {
			stored = fmt.Sprint(t.Stored)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%.1f%%\n", t.Name, t.Type, t.Encoding, t.Dense, t.Held, stored, t.Coder, 100*t.Sparsity)
	}
	if r.Plan != nil {
		fmt.Fprintln(tw, "\nstep\top\tkernel\toutput\tMACs\tbytes\twhy")
		for _, n := range r.Plan {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", n.Node, n.Op, n.Kernel, n.Output, n.MACs, n.Bytes, n.Why)
		}
		fmt.Fprintf(tw, "arena\t\t\t\t\t%d\t\n", r.Arena)
	}
	return tw.Flush()
}

func (r *inspectResult) printBytes(w io.Writer) error {
	b := r.Where
	if b == nil {
		_, err := fmt.Fprintln(w, "\nthe file is no .whit: nothing is known of its bytes")
		return err
	}
	books := int64(0)
	for _, t := range r.Tensors {
		books += t.Books
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\nbytes\t")
	for _, l := range []struct {
		name string
		n    int64
	}{{"weights", b.Weights}, {"  of them codebooks, scales, other elements", books}, {"graph", b.Graph}, {"card", b.Card}, {"names", b.Names},
		{"metadata", b.Meta}, {"receipt", b.Receipt}, {"choices of kernels", b.Choices}, {"container", b.Container}, {"beside the weights", b.Beside}} {
		fmt.Fprintf(tw, "%d\t  %s\n", l.n, l.name)
	}
	return tw.Flush()
}

// printable is text from a file for one line of a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// sparsity is the fraction of zeros.
func sparsity(t *tensor.Tensor) float64 {
	if t.Len() == 0 || t.DType.Packed() {
		return 0
	}
	size, zeros := t.DType.Bits()/8, 0
	b := t.Bytes()
	for i := 0; i < len(b); i += size {
		z := true
		for k, x := range b[i : i+size] {
			// The sign bit of a float does not matter: -0 is zero.
			if x != 0 && !(k == size-1 && x == 0x80 && t.DType.IsFloat()) {
				z = false
				break
			}
		}
		if z {
			zeros++
		}
	}
	return float64(zeros) / float64(t.Len())
}
