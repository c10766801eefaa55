package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"whit/compress"
	"whit/compress/method"
	"whit/data"
	"whit/internal/modelfile"
	"whit/plan"
	"whit/report"
	"whit/tensor"
	"whit/train"
)

type evalResult struct {
	Schema int     `json:"schema"`
	Model  string  `json:"model"`
	Set    string  `json:"set"`
	N      int     `json:"n"`
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Error  float64 `json:"error"`
	Loss   number  `json:"loss"`
	Speed  float64 `json:"samples_per_second"`
	// Classes and Groups are the parts of the set, the worst first; Against what is compared with.
	Classes      []compress.Part        `json:"classes"`
	Groups       []compress.Part        `json:"groups"`
	Verification *compress.Verification `json:"verification,omitempty"`
	Against      *compress.Metric       `json:"against,omitempty"`
}

func evalCmd() *cobra.Command {
	var (
		dataName, cardFlag string
		threads, batch     int
		asJSON, tune       bool
		metric, against    string
		pairs              string
	)
	sh := shapes{}
	c := &cobra.Command{
		Use:   "eval MODEL",
		Short: "Measure a model on a dataset",
		Long: `Measure a classifier on labelled data: top-1 error and cross-entropy. On MNIST, and on
a folder that has train/ and test/, the test set is measured. Other models are measured by
PSNR, where an .npz has targets y, or against another model: agreement of decisions,
cosine of outputs, recall of detections. verification is of embeddings whose labels are identities (a folder each), or
of the pairs that --pairs lists, lines of NAME,NAME,1 (one identity) or 0 (two). --json lists classes, and groups where
pictures lie in CLASS/GROUP/ or an .npz has integers group; with --against their drops, the worst first.`,
		Example: "  whit eval model.whit --data mnist\n  whit eval model.onnx --data images/ --json\n  whit eval small.whit --data images/ --metric cosine --against model.onnx",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := modelfile.Load(args[0], cardFlag)
			if err != nil {
				return err
			}
			if err := supported(f); err != nil {
				return err
			}
			sets, err := openData(c.Context(), f, dataName, sh, metric)
			if err != nil {
				return err
			}
			set, name := sets.Test, "test"
			if set == nil {
				set, name = sets.All, "all"
			}
			t0 := time.Now()
			if _, ok := data.TargetsOf(set); ok && metric == "" {
				metric = string(method.PSNR)
			}
			m := method.Metric(metric)
			if metric != "" && !slices.Contains(method.Metrics, m) {
				return usage("--metric %q, want one of %v", metric, method.Metrics)
			}
			if metric == "" && against != "" {
				m = method.Top1
			}
			if pairs != "" {
				if m != method.Verification {
					return usage("--pairs is of --metric verification")
				}
				if set, err = readPairs(pairs, set); err != nil {
					return err
				}
			}
			if m != "" && (m != method.Top1 || against != "") {
				before := f
				if against != "" {
					if before, err = modelfile.Load(against, ""); err != nil {
						return err
					}
				} else if m == method.Agreement || m == method.Cosine || m == method.Recall {
					return usage("--metric %s compares with another model: give --against", m)
				}
				q, err := compress.Compare(c.Context(), before.Graph, f.Graph, set, string(m), nil, threads)
				if err != nil {
					return fmt.Errorf("%s: %w", f.Base, err)
				}
				r := evalResult{Schema: 1, Model: f.Base, Set: name, N: q.Metric.N, Metric: string(m), Value: q.Metric.After.Value, Error: 1 - q.Metric.After.Value,
					Classes: q.Classes, Groups: q.Groups, Verification: q.Verification, Speed: float64(set.Len()) / time.Since(t0).Seconds()}
				if m == method.PSNR {
					r.Error = 0
				}
				if against != "" {
					r.Against = &q.Metric
				}
				if asJSON {
					return printJSON(c.OutOrStdout(), r)
				}
				fmt.Fprintf(c.OutOrStdout(), "%s: %s on %d samples (%s), %.0f samples/s\n", f.Base, m.Text(r.Value), r.N, name, r.Speed)
				return report.Comparison(c.OutOrStdout(), q, against != "")
			}
			var o plan.Options
			if len(f.Graph.Inputs) == 1 {
				n := batch
				if n <= 0 {
					n = train.EvalSamples(set.Shape())
				}
				shape := append(tensor.Shape{min(n, set.Len())}, set.Shape()...)
				types := map[string]tensor.Type{f.Graph.Inputs[0].Name: {DType: tensor.Float32, Shape: shape}}
				if o, err = tunePlan(c.Context(), f, types, plan.Options{Threads: threads}, tune && set.Len() > 0); err != nil {
					return err
				}
			}
			t0 = time.Now()
			e, err := train.Evaluate(c.Context(), f.Graph, set, train.EvalOptions{Threads: threads, Batch: batch, Plan: &o})
			if err != nil {
				return fmt.Errorf("%s: %w", f.Base, err)
			}
			if e.N == 0 {
				return usage("%s has no labels; --metric cosine or agreement --against MODEL does without", filepath.Base(dataName))
			}
			r := evalResult{Schema: 1, Model: f.Base, Set: name, N: e.N, Metric: "top1", Value: 1 - e.Error, Error: e.Error, Loss: number(e.Loss),
				Speed: float64(set.Len()) / time.Since(t0).Seconds()}
			if asJSON {
				var labels []string
				if f.Card != nil {
					labels = f.Card.Labels
				}
				r.Classes, r.Groups = compress.ByPart(set, e, labels)
				return printJSON(c.OutOrStdout(), r)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: error %.2f%%, loss %.4f on %d samples (%s), %.0f samples/s\n", f.Base, 100*r.Error, e.Loss, r.N, name, r.Speed)
			return nil
		},
	}
	c.Flags().StringVar(&dataName, "data", "mnist", "mnist, a folder of labelled images, a folder of idx files, or an .npz")
	c.Flags().StringVar(&cardFlag, "card", "", "model card file, or a preset: imagenet, unit, symmetric, raw")
	c.Flags().StringVar(&cardFlag, "preprocess", "", "the same as --card")
	c.Flags().StringVar(&metric, "metric", "", "top1, top5, agreement, cosine, psnr, recall or verification (default: top1, or psnr where the data have targets)")
	c.Flags().StringVar(&against, "against", "", "the model before, to compare with")
	c.Flags().StringVar(&pairs, "pairs", "", "pairs to verify: lines of NAME,NAME,1 or 0; names are below the folder, or numbers")
	c.Flags().Var(sh, "shape", "shape of the input, name=1,3,224,224, where the model leaves it open")
	c.Flags().IntVar(&threads, "threads", 0, "workers (0: physical cores)")
	c.Flags().IntVar(&batch, "batch", 0, "samples a run (0: 256)")
	c.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	c.Flags().BoolVar(&tune, "tune", false, tuneUsage)
	return c
}
