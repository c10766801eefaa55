package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"whit/compress"
	"whit/data"
	"whit/graph"
	"whit/internal/modelfile"
	"whit/internal/safefile"
	"whit/recipes"
	"whit/report"
	"whit/tensor"
	"whit/train"
	"whit/zoo"
)

// demoImages is how many held-out training images the demo writes as pictures.
const demoImages = 300

func demoCmd() *cobra.Command {
	var (
		arch, dir string
		seed      uint64
		threads   int
		images    int
		asJSON    bool
	)
	c := &cobra.Command{
		Use:   "demo",
		Short: "The main job end to end: train, compress, verify, report",
		Long: `Fetch MNIST, train a network, compress it by Deep Compression, measure the written
file, and explain it in a report. Choices are made on images held out of the training
set; the test set is used once. It writes into --dir: dense.onnx, compressed.whit,
compressed.onnx, report.html, and images/, 300 of the held-out images, so that

  whit compress DIR/dense.onnx --data DIR/images

works as for any model.`,
		Example: "  whit demo\n  whit demo --arch lenet5 --dir demo5",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, w := c.Context(), c.OutOrStdout()
			started := time.Now()
			say := func(format string, args ...any) {
				if !asJSON {
					fmt.Fprintf(w, format, args...)
				}
			}
			if arch != "lenet300" && arch != "lenet5" {
				return usage("--arch %s: want lenet300 or lenet5", arch)
			}
			if images < 0 {
				return usage("--report-images must not be negative")
			}
			a, err := zoo.Find(arch)
			if err != nil {
				return err
			}
			steps, err := recipes.Read("deep-compression-" + arch)
			if err != nil {
				return err
			}
			rec, err := compress.ParseRecipe(steps)
			if err != nil {
				return err
			}
			crd, err := modelfile.ParseCard(a.Card)
			if err != nil {
				return err
			}
			sets, err := data.Open(ctx, "mnist", crd, a.Input, data.Options{})
			if err != nil {
				return err
			}
			d, openImages, err := (&compressFlags{data: "mnist", images: images}).dataOf(ctx, nil, sets)
			if err != nil {
				return err
			}
			fit, choice, err := compress.Parts(d)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			dense := filepath.Join(dir, "dense.onnx")
			out := filepath.Join(dir, "compressed.whit")
			unlock, err := safefile.Lock(dense)
			if err != nil {
				return err
			}
			defer unlock()

			say("1/4 MNIST: %d images to train on, %d held out for decisions, %d to test once\n", fit.Len(), choice.Len(), sets.Test.Len())
			g, err := zoo.Build(arch, seed)
			if err != nil {
				return err
			}
			train.Promote(g)
			opt := train.Defaults(arch)
			opt.Seed, opt.Threads = seed, threads
			var b bar
			opt.Progress = func(e train.Event) {
				if b.b == nil {
					b = newBar(c.ErrOrStderr(), int64(e.Steps), "training "+arch)
				}
				b.set(int64(e.Step))
				b.describe(fmt.Sprintf("training %s: epoch %d/%d, loss %.3f", arch, e.Epoch, e.Epochs, e.Loss))
			}
			res, err := train.Run(ctx, g, fit, opt)
			b.done()
			if err != nil {
				return err
			}
			train.Demote(g)
			if _, err := modelfile.Save(dense, g, crd); err != nil {
				return err
			}
			say("2/4 trained %s: %d epochs in %.1f s (%.0f images/s), written to %s\n", arch, res.Epochs, res.Seconds, res.SamplesPerSecond, dense)

			m, err := modelfile.Load(dense, "")
			if err != nil {
				return err
			}
			promise := 0.005
			budget := compress.Budget{MaxDrop: &promise}
			if rec.Paper != nil {
				if p, ok := rec.Paper.Stage("huffman"); ok && p.Ratio > 0 { // the paper's own size
					var weights int64
					for _, v := range m.Graph.Values() {
						if v.Kind == graph.Const && v.Type.DType == tensor.Float32 {
							weights += int64(v.Type.NumBytes())
						}
					}
					budget.TargetSize = int64(float64(weights) / p.Ratio)
				}
			}
			r, unmet := compressTo(c, m, d, compress.Options{Recipe: rec, Budget: budget, Seed: seed, Threads: threads, Model: "dense.onnx",
				Image: openImages, Images: images,
				Replay: fmt.Sprintf("whit compress dense.onnx --data mnist --recipe recipe.yaml --seed %d -o compressed.whit", seed)}, out)
			if unmet != nil && !errors.Is(unmet, compress.ErrUnmet) {
				return unmet
			}
			if r.Unmet != "" {
				out = filepath.Join(dir, r.Unmet)
			}
			say("3/4 compressed: %d bytes from %d (%.1fx), written to %s\n", r.Bytes.After, r.Bytes.Before, r.Bytes.Ratio, out)
			onnxOut, page := filepath.Join(dir, "compressed.onnx"), filepath.Join(dir, "report.html")
			if err := writeONNX(out, onnxOut); err != nil {
				return err
			}
			if err := safefile.Write(page, func(w io.Writer) error { return report.HTML(w, r, report.Options{Images: images}) }); err != nil {
				return err
			}
			pics := filepath.Join(dir, "images")
			if _, err := data.WriteImages(ctx, pics, choice, demoImages); err != nil {
				return err
			}
			say("4/4 verified by the engine on the written file; wrote %s, %s, %s\n\n", onnxOut, page, pics)
			if asJSON {
				s := summary(r)
				s.Seconds = time.Since(started).Seconds()
				if err := printJSON(w, s); err != nil {
					return err
				}
				return unmet
			}
			if err := report.Text(w, r); err != nil {
				return err
			}
			fmt.Fprintf(w, "\n%.0f s in all. Next: open %s, or compress with your own promise:\n  whit compress %s --data %s --max-drop 0.5%%\n",
				time.Since(started).Seconds(), page, dense, pics)
			return unmet
		},
	}
	f := c.Flags()
	f.StringVar(&arch, "arch", "lenet300", "lenet300 or lenet5")
	f.StringVar(&dir, "dir", "demo", "folder to write into")
	f.Uint64Var(&seed, "seed", 1, "seed")
	f.IntVar(&threads, "threads", 0, "workers (0: physical cores)")
	f.IntVar(&images, "report-images", 0, "show this many of the images whose decision flipped in the report")
	f.BoolVar(&asJSON, "json", false, "one line of JSON")
	return c
}
