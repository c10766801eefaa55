package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"whit/card"
	"whit/compress"
	"whit/internal/safefile"
	"whit/report"
)

func scanCmd() *cobra.Command {
	var (
		f         = compressFlags{shape: shapes{}}
		plot      string
		fractions []float64
		images    int
	)
	c := &cobra.Command{
		Use:   "scan MODEL",
		Short: "Measure how sensitive the model is to each layer",
		Long: `Zero a part of one layer at a time, retrain nothing, and measure the model: by single
weights (the smallest), by nodes (the weakest output units) and by the whole layer.
Half of each layer is always among the parts (Han, Pool, Tran, Dally 2015).`,
		Example: "  whit scan model.onnx --data mnist -o scan.json --plot scan.svg",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.data == "" {
				return usage("give --data: mnist, a folder of images, or an .npz")
			}
			set := map[string]any{}
			if len(fractions) > 0 {
				for _, x := range fractions {
					if !(x > 0 && x <= 1) {
						return usage("--fractions: want numbers above 0 and up to 1, found %v", x)
					}
				}
				set["fractions"] = append([]float64{0.5}, fractions...)
			}
			if images > 0 {
				set["images"] = images
			}
			m, err := load(args[0], f.cardFlag)
			if err != nil {
				return err
			}
			if err := supported(m); err != nil {
				return err
			}
			sets, err := openData(c.Context(), m, f.data, f.shape)
			if err != nil {
				return err
			}
			d, _, err := f.dataOf(c.Context(), m, sets)
			if err != nil {
				return err
			}
			p := newStages(c.ErrOrStderr())
			var crd card.Card
			if m.Card != nil {
				crd = *m.Card
			}
			r, err := compress.Scan(c.Context(), m.Graph, crd, d,
				compress.Options{Model: m.Base, Threads: f.threads, Keep: f.keep, Progress: p.event}, set)
			p.done()
			if err != nil {
				return err
			}
			if f.output != "" {
				b, err := json.MarshalIndent(r, "", " ")
				if err != nil {
					return err
				}
				if err := safefile.WriteBytes(f.output, append(b, '\n')); err != nil {
					return err
				}
			}
			if plot != "" {
				if err := safefile.Write(plot, func(w io.Writer) error { return report.ScanSVG(w, r) }); err != nil {
					return err
				}
			}
			if f.asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			return printScan(c.OutOrStdout(), r)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.data, "data", "", "mnist, a folder of images (sub-folders are labels), a folder of idx files, or an .npz")
	fl.StringVar(&f.cardFlag, "card", "", "model card file, or a preset: imagenet, unit, symmetric, raw")
	fl.StringVar(&f.cardFlag, "preprocess", "", "the same as --card")
	fl.StringVar(&f.keep, "keep", "", "glob of layers to leave out")
	fl.Float64SliceVar(&fractions, "fractions", nil, "comma-separated `parts` to zero besides half (default 0.3,0.5,0.7,0.8,0.9,0.95,0.98)")
	fl.Lookup("fractions").DefValue = ""
	fl.IntVar(&images, "images", 0, "images of the choice split to measure on (0: all)")
	fl.IntVar(&f.threads, "threads", 0, "workers (0: physical cores)")
	fl.StringVarP(&f.output, "output", "o", "", "write the curves as JSON")
	fl.StringVar(&plot, "plot", "", "write the curves as SVG")
	fl.BoolVar(&f.asJSON, "json", false, "one line of JSON")
	return c
}

func printScan(w io.Writer, r *compress.ScanResult) error {
	fmt.Fprintf(w, "%s: error %.2f%%, loss %.4f on %d images\n\n", r.Model, 100*r.Error, r.Loss, r.N)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, c := range r.Curves {
		if i == 0 {
			fmt.Fprint(tw, "layer\tby")
			for _, p := range c.Points {
				if p.Fraction > 0 {
					fmt.Fprintf(tw, "\t%.0f%%", 100*p.Fraction)
				}
			}
			fmt.Fprintln(tw)
		}
		if c.Granularity == "layer" {
			continue
		}
		fmt.Fprintf(tw, "%s\t%s", c.Layer, c.Granularity)
		for _, p := range c.Points {
			if p.Fraction > 0 {
				fmt.Fprintf(tw, "\t%.2f%%", 100*p.Error)
			}
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, k := range []struct{ name, what string }{{"weight", "half of its weights"}, {"node", "half of its nodes"}, {"layer", "the whole layer"}} {
		if rank := r.Ranks[k.name]; rank != nil {
			fmt.Fprintf(w, "most sensitive to the loss of %s: %s\n", k.what, strings.Join(rank, ", "))
		}
	}
	return nil
}
