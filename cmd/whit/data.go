package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"whit/data"
	"whit/internal/modelfile"
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

// openData opens a dataset as the model's input.
func openData(ctx context.Context, f *modelfile.File, name string, given shapes) (data.Sets, error) {
	in, err := dataInput(f, given)
	if err != nil {
		return data.Sets{}, err
	}
	return data.Open(ctx, name, f.Card, in, data.Options{})
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
				return printJSON(c.OutOrStdout(), map[string]any{"schema": 1, "datasets": data.Sources()})
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
