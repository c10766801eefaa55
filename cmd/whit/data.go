package main

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"whit/compress/method"
	"whit/data"
	"whit/internal/modelfile"
	"whit/pass"
	"whit/tensor"
)

// dataInput is the shape of one sample of the model's only input, without N, as declared or
// given by --shape; dimensions that are open are -1.
func dataInput(f *modelfile.File, given shapes) ([]int, error) {
	if len(f.Graph.Inputs) != 1 || len(f.Graph.Outputs) == 0 {
		return nil, fmt.Errorf("%s has %d inputs and %d outputs, a dataset feeds one input", f.Base, len(f.Graph.Inputs), len(f.Graph.Outputs))
	}
	v := f.Graph.Inputs[0]
	for name := range given {
		if name != v.Name {
			return nil, usage("--shape: the model has no input %q", name)
		}
	}
	var dims []int
	if sh, ok := given[v.Name]; ok {
		dims = sh
	} else {
		if !v.Decl.Ranked {
			return nil, usage("input %q has no declared shape; give --shape %s=...", v.Name, v.Name)
		}
		dims = v.Decl.Sizes()
	}
	if len(dims) < 2 || v.Decl.DType != tensor.Float32 {
		return nil, fmt.Errorf("%s: input %q is %v, want a float32 batch of samples", f.Base, v.Name, v.Decl)
	}
	return dims[1:], nil
}

// openData opens a dataset as the model's input. Where the metric is about classes, "" if it is
// not known yet, the data may have no more of them than the model.
func openData(ctx context.Context, f *modelfile.File, name string, given shapes, metric string) (data.Sets, error) {
	in, err := dataInput(f, given)
	if err != nil {
		return data.Sets{}, err
	}
	var o data.Options
	switch method.Metric(metric) {
	case "", method.Top1, method.Top5:
		o.Classes = classesOf(f, in)
	}
	return data.Open(ctx, name, f.Card, in, o)
}

// classesOf is how many classes a classifier of samples of the shape in decides among; 0: unknown.
func classesOf(f *modelfile.File, in []int) int {
	if f.Card != nil && f.Card.Task != "" && f.Card.Task != "classify" || slices.Contains(in, -1) {
		return 0
	}
	g, _ := f.Graph.Clone()
	pass.FreeBatch(g, in)
	b, err := pass.Bind(g, map[string]tensor.Type{g.Inputs[0].Name: {DType: tensor.Float32, Shape: append(tensor.Shape{1}, in...)}}, nil)
	if err != nil {
		return 0
	}
	if s := b.Graph.Outputs[0].Type.Shape; len(s) == 2 && s[1] > 1 {
		return s[1]
	}
	return 0
}

type datasetEntry struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	Cached  bool   `json:"cached"`
	Command string `json:"command"`
	Licence string `json:"licence"`
	Bytes   int64  `json:"bytes"`
	Samples string `json:"samples"`
}

func dataCmd() *cobra.Command {
	c := &cobra.Command{
		Use:     "data",
		Short:   "List and pull named datasets",
		Example: "  whit data list\n  whit data pull mnist",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var asJSON bool
	list := &cobra.Command{
		Use:   "list",
		Short: "List the datasets that can be pulled, with source and licence",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if asJSON {
				all := []datasetEntry{}
				for _, s := range data.Sources() {
					all = append(all, datasetEntry{s.Name, s.About, s.Cached(), s.From, s.Licence, s.Bytes, s.Samples})
				}
				return printJSON(c.OutOrStdout(), map[string]any{"schema": 1, "datasets": all})
			}
			tw := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "name\tcached\tlicence\tsource\tabout")
			for _, s := range data.Sources() {
				fmt.Fprintf(tw, "%s\t%v\t%s\t%s\t%s\n", s.Name, s.Cached(), s.Licence, s.From, s.About)
			}
			return tw.Flush()
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	pull := &cobra.Command{
		Use:   "pull NAME",
		Short: "Bring a dataset into the cache",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.ContainsFunc(data.Sources(), func(s data.Source) bool { return s.Name == args[0] }) {
				return usage("unknown dataset %q; 'whit data list' shows those that there are", args[0])
			}
			dir, err := data.Pull(c.Context(), args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), dir)
			return nil
		},
	}
	c.AddCommand(list, pull)
	return c
}
