package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"whit/card"
	"whit/compress"
	"whit/internal/modelfile"
	"whit/internal/pull"
	"whit/internal/safefile"
	"whit/report"
)

func scanCmd() *cobra.Command {
	var (
		f         = compressFlags{shape: shapes{}}
		plot      string
		page      string
		fractions []float64
		tried, by []string
		images    int
	)
	c := &cobra.Command{
		Use:   "scan MODEL",
		Short: "Measure how sensitive the model is to each layer",
		Long: `Change one layer at a time, or all layers of one residual block, retrain nothing, and measure
how far the outputs move: the mean squared difference of logits or outputs, and of decisions the
Kullback-Leibler divergence. zero takes single weights (the smallest), nodes (the weakest output
units), the whole layer and the whole block (Han, Pool, Tran, Dally 2015); the other methods prune
blocks of 4x1, remove channels, round to 8 to 2 bits, share codebooks, put layers on integers
(activations), or take a residual block out (blocks); gptq and obs round and prune with fitting.

What was measured is kept under $WHIT_CACHE by the content of model and data, so that a scan that
was interrupted goes on where it was, and one with more methods measures only these.`,
		Example: `  whit scan model.onnx --data mnist -o scan.json --report scan.html
  whit scan model.onnx --data images/ --methods zero,round --by layer,block --images 64 --plot scan.svg`,
		Args: cobra.ExactArgs(1),
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
			if images < 0 {
				return usage("--images must not be negative")
			}
			set["images"], set["methods"], set["granularity"] = images, tried, by
			if err := compress.CheckScan(set); err != nil {
				return usage("%w", err)
			}
			if err := checkGlob(f.keep); err != nil {
				return err
			}
			if err := checkOutputs(f.output, page, plot); err != nil {
				return err
			}
			m, err := modelfile.Load(args[0], f.cardFlag)
			if err != nil {
				return err
			}
			if err := supported(m); err != nil {
				return err
			}
			sets, err := openData(c.Context(), m, f.data, f.shape, f.metric)
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
				compress.Options{Model: m.Base, Threads: f.threads, Keep: f.keep, Progress: p.event, NoFinetune: true, Metric: f.metric,
					WorkDir: scanCache(), Resume: true, Tool: compress.Tool{Version: Version}}, set)
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
			if page != "" {
				if err := safefile.Write(page, func(w io.Writer) error { return report.ScanHTML(w, r) }); err != nil {
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
	fl.StringSliceVar(&tried, "methods", []string{"zero", "4x1", "channels", "round", "codebook", "activations", "blocks"}, "what is tried: also gptq and obs")
	fl.StringSliceVar(&by, "by", []string{"weight", "node", "layer", "block"}, "what is changed at a time: zero by any of weight, node, layer, block; other methods by layer and block")
	fl.IntVar(&images, "images", 256, "images of the choice split to measure on (0: all)")
	fl.StringVar(&f.metric, "metric", "", "what decides whether decisions are compared: see compress")
	fl.IntVar(&f.threads, "threads", 0, "workers (0: physical cores)")
	fl.StringVarP(&f.output, "output", "o", "", "write the curves as JSON")
	fl.StringVar(&plot, "plot", "", "write the curves as SVG")
	fl.StringVar(&page, "report", "", "write a table and the curves as an offline HTML page")
	fl.BoolVar(&f.asJSON, "json", false, "one line of JSON")
	return c
}

// scanCache is where measurements are kept; "" where none can be written.
func scanCache() string {
	dir, err := pull.CacheDir()
	if err != nil {
		return ""
	}
	dir = filepath.Join(dir, "scan")
	if os.MkdirAll(dir, 0o755) != nil {
		return ""
	}
	f, err := os.CreateTemp(dir, ".probe*")
	if err != nil {
		return ""
	}
	f.Close()
	if os.Remove(f.Name()) != nil {
		return ""
	}
	return dir
}

func printScan(w io.Writer, r *compress.ScanResult) error {
	fmt.Fprintf(w, "%s: error %.2f%%, loss %.4f; layers on %d images\n\n", r.Model, 100*r.Error, r.Loss, r.N)
	far := "MSE"
	if len(r.Curves) > 0 && r.Curves[0].Points[0].KL != nil {
		far = "KL, nats"
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "layer\tby\tmethod\t%s by level\n", far)
	for _, c := range r.Curves {
		fmt.Fprintf(tw, "%s\t%s\t%s\t", c.Layer, c.Granularity, c.Method)
		for _, p := range c.Points {
			if p.Fraction > 0 {
				fmt.Fprintf(tw, "%v: %.2g  ", p.Fraction, p.Far())
			}
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, k := range []struct{ name, what string }{{"weight", "half of its weights"}, {"node", "half of its nodes"}, {"layer", "the whole layer"}, {"block", "the whole block"}} {
		if rank := r.Ranks[k.name]; rank != nil {
			fmt.Fprintf(w, "most sensitive to the loss of %s: %s\n", k.what, strings.Join(rank, ", "))
		}
	}
	return nil
}
