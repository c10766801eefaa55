package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"whit/card"
	"whit/compress"
	"whit/data"
	"whit/graph"
	"whit/internal/modelfile"
	"whit/internal/safefile"
	"whit/train"
	"whit/zoo"
)

type trainResult struct {
	Schema  int     `json:"schema"`
	Arch    string  `json:"arch"`
	Output  string  `json:"output"`
	Error   float64 `json:"error"`
	Loss    number  `json:"loss"`
	N       int     `json:"n"`
	Speed   float64 `json:"samples_per_second"`
	Seconds float64 `json:"seconds"`
	Epochs  int     `json:"epochs"`
}

func trainCmd() *cobra.Command {
	var (
		arch, dataName, output, recipe string
		teachers                       []string
		threads, size                  int
		width                          float64
		resume, asJSON, hold           bool
		o                              train.Options
	)
	c := &cobra.Command{
		Use:   "train",
		Short: "Train an architecture of the zoo on a dataset",
		Long: `Train an architecture of the zoo on a dataset and write it as .onnx (or .whit, by the
ending of the output). The number of classes is the data's. What is not given is the
architecture's default. The same
seed, data and options give the same bytes, whatever the number of threads. An
interrupted run goes on with --resume from OUT.work/. The error is measured on the
test set, where there is one. A model that is to be compressed with the same data is
best trained with --hold-out: what it loses on images that it has seen says little.`,
		Example: "  whit train --arch lenet300 --data mnist -o lenet300.onnx\n  whit train --arch lenet5 --data mnist --epochs 20 --seed 7 -o lenet5.onnx --json\n  whit train --arch resnet20 --data photos/ -o photos.onnx",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := zoo.Find(arch)
			if err != nil {
				return usageError{err}
			}
			if output == "" {
				output = arch + ".onnx"
			}
			if err := modelfile.CheckName(output); err != nil {
				return usageError{err}
			}
			opt := train.Defaults(arch)
			if recipe != "" {
				if err := readYAML(recipe, &opt); err != nil {
					return err
				}
			}
			override(c, &opt, &o)
			opt.Seed, opt.Threads = o.Seed, threads
			if opt.Teachers, err = loadTeachers(teachers); err != nil {
				return err
			}
			if len(teachers) == 0 && c.Flags().Changed("temperature") {
				return usage("--temperature is of teachers' decisions: it needs --teacher")
			}
			if len(teachers) > 0 {
				opt.Distill, opt.Temperature = cmp.Or(opt.Distill, 0.5), cmp.Or(opt.Temperature, 2)
			}
			if opt, err = opt.WithDefaults(); err != nil {
				return usageError{err}
			}
			ctx := c.Context()
			if width != 0 || size != 0 {
				o := zoo.Options{Width: width}
				if size != 0 {
					o.Input = []int{a.Input[0], size, size}
				}
				if a, err = a.With(o); err != nil {
					return usageError{err}
				}
			}
			a, crd, sets, err := fitArch(ctx, a, dataName, size != 0)
			if err != nil {
				return err
			}
			trainSet, testSet := sets.Train, sets.Test
			if trainSet == nil {
				trainSet = sets.All
			}
			on, set := "test set", testSet
			if hold {
				d, _, err := (&compressFlags{data: dataName}).dataOf(ctx, nil, sets)
				if err != nil {
					return err
				}
				var choice data.Dataset
				if trainSet, choice, err = compress.Parts(d); err != nil {
					return err
				}
				if set == nil {
					on, set = "images held out", choice
				}
			}
			if set == nil {
				on, set = "training set", trainSet
			}
			if y, err := data.ClassesOf(ctx, trainSet); err != nil {
				return err
			} else if len(teachers) == 0 && !slices.ContainsFunc(y, func(c int32) bool { return c >= 0 }) {
				return fmt.Errorf("%s: the data have no labels to train on", filepath.Base(dataName))
			}
			unlock, err := safefile.Lock(output)
			if err != nil {
				return err
			}
			defer unlock()
			work := output + ".work"
			if err := os.MkdirAll(work, 0o755); err != nil {
				return err
			}
			g, err := a.Build(opt.Seed)
			if err != nil {
				return err
			}
			train.Promote(g)
			opt.Checkpoint, opt.Resume = filepath.Join(work, "train.ckpt"), resume
			var bar bar
			opt.Progress = func(e train.Event) {
				if bar.b == nil {
					bar = newBar(c.ErrOrStderr(), int64(e.Steps), "training "+arch)
				}
				bar.set(int64(e.Step))
				bar.describe(fmt.Sprintf("epoch %d/%d, loss %.3f, error %.2f%%", e.Epoch, e.Epochs, e.Loss, 100*e.Error))
			}
			start := time.Now()
			res, err := train.Run(ctx, g, trainSet, opt)
			bar.done()
			if err != nil {
				return err
			}
			r := trainResult{Schema: 1, Arch: arch, Output: filepath.Base(output), Speed: res.SamplesPerSecond, Seconds: time.Since(start).Seconds(), Epochs: res.Epochs}
			train.Demote(g)
			e, err := train.Evaluate(ctx, g, set, train.EvalOptions{Threads: threads})
			if err != nil {
				return err
			}
			r.Error, r.Loss, r.N = e.Error, number(e.Loss), e.N
			if _, err := modelfile.Save(output, g, crd); err != nil {
				return err
			}
			os.RemoveAll(work)
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: error %.2f%% on the %s (%d samples), %d epochs in %.1f s, %.0f samples/s\n",
				output, 100*r.Error, on, r.N, r.Epochs, r.Seconds, r.Speed)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&arch, "arch", "lenet300", "architecture: "+strings.Join(zoo.Names(), ", "))
	f.Float64Var(&width, "width", 0, "factor on the channels, of architectures that have one (vgg-s, resnet20, MobileNet, ShuffleNet)")
	f.IntVar(&size, "size", 0, "height and width of the input (default: the architecture's, or that of the arrays in an .npz)")
	f.StringVar(&dataName, "data", "mnist", "mnist, a folder of labelled images, a folder of idx files, or an .npz")
	f.StringVarP(&output, "output", "o", "", "model to write, .onnx or .whit (default ARCH.onnx)")
	f.IntVar(&o.Epochs, "epochs", 0, "epochs (default: the architecture's)")
	f.IntVar(&o.Batch, "batch", 0, "samples a step (default 128)")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the initial weights, the order, the augmentation")
	f.StringVar(&o.Optimizer, "optimizer", "", "adamw, adam or sgd")
	f.Float64Var(&o.LR, "lr", 0, "learning rate")
	f.StringVar(&o.Schedule, "schedule", "", "cosine, step or constant")
	f.StringVar(&o.Augment, "augment", "", "none, or a list such as shift2,rotate10,scale10,flip,cutout4")
	f.Float64Var(&o.WeightDecay, "weight-decay", 0, "weight decay")
	f.Float64Var(&o.LabelSmoothing, "label-smoothing", 0, "label smoothing, 0 to 1")
	f.Float64Var(&o.EMA, "ema", 0, "decay of the moving average of weights")
	f.StringArrayVar(&teachers, "teacher", nil, "a model of the same input and classes whose decisions are aimed at too; may be given several times")
	f.Float64Var(&o.Distill, "distill", 0, "share of the loss that is taken against them (default 0.5)")
	f.Float64Var(&o.Temperature, "temperature", 0, "temperature at which their decisions are softened (default 2)")
	f.StringVar(&recipe, "recipe", "", "YAML file of training options")
	f.BoolVar(&hold, "hold-out", false, "leave out the images of the data that whit compress chooses by, and tests on where there is no test set")
	f.IntVar(&threads, "threads", 0, "workers (0: physical cores)")
	f.BoolVar(&resume, "resume", false, "go on where an interrupted run stopped")
	f.BoolVar(&asJSON, "json", false, "one line of JSON")
	return c
}

// fitArch opens the data and gives the architecture their classes. The digits' own
// architectures stay as they are; for the others the card takes the data's class names,
// and arrays from an .npz decide the input unless sized says that it is fixed.
func fitArch(ctx context.Context, a zoo.Arch, name string, sized bool) (zoo.Arch, *card.Card, data.Sets, error) {
	var sets data.Sets
	crd, err := modelfile.ParseCard(a.Card)
	if err != nil {
		return a, nil, sets, err
	}
	in, own := a.Input, len(crd.Labels) > 0
	if !own && !sized && strings.EqualFold(filepath.Ext(name), ".npz") {
		in = nil
	}
	if sets, err = data.Open(ctx, name, crd, in, data.Options{}); err != nil || own {
		return a, crd, sets, err
	}
	set := sets.Train
	if set == nil {
		set = sets.All
	}
	labels := set.Labels()
	if len(labels) == 0 {
		return a, nil, sets, fmt.Errorf("%s: the data have no labels to train on", filepath.Base(name))
	}
	o := zoo.Options{Classes: len(labels)}
	if !slices.Equal(set.Shape(), a.Input) {
		o.Input = set.Shape()
	}
	if a, err = a.With(o); err != nil {
		return a, nil, sets, err
	}
	if crd, err = modelfile.ParseCard(a.Card); err != nil {
		return a, nil, sets, err
	}
	crd.Labels = labels
	return a, crd, sets, nil
}

// override copies the options whose flags were given.
func override(c *cobra.Command, dst, src *train.Options) {
	set := c.Flags().Changed
	if set("epochs") {
		dst.Epochs = src.Epochs
	}
	if set("batch") {
		dst.Batch = src.Batch
	}
	if set("optimizer") {
		dst.Optimizer = src.Optimizer
		if !set("lr") {
			dst.LR = 0
		}
	}
	if set("lr") {
		dst.LR = src.LR
	}
	if set("schedule") {
		dst.Schedule = src.Schedule
	}
	if set("augment") {
		dst.Augment = src.Augment
	}
	if set("weight-decay") {
		dst.WeightDecay = src.WeightDecay
	}
	if set("label-smoothing") {
		dst.LabelSmoothing = src.LabelSmoothing
	}
	if set("ema") {
		dst.EMA = src.EMA
	}
	if set("distill") {
		dst.Distill = src.Distill
	}
	if set("temperature") {
		dst.Temperature = src.Temperature
	}
}

// loadTeachers reads models that others learn from.
func loadTeachers(names []string) (gs []*graph.Graph, err error) {
	for _, n := range names {
		m, err := modelfile.Load(n, "")
		if err != nil {
			return nil, err
		}
		gs = append(gs, m.Graph)
	}
	return gs, nil
}

// The files of recipes and of training options that are read, at most, in bytes.
const (
	maxYAML    = 1 << 20
	maxOptions = 1 << 16
)

// readYAML reads a small, flat YAML file, "key: value" lines; unknown keys are
// errors with their line. Nesting is refused before the YAML library builds a tree,
// which takes it time and memory that grow with the square of the depth.
func readYAML(name string, v any) error {
	r, size, err := openSized(name)
	if err != nil {
		return err
	}
	defer r.Close()
	base := filepath.Base(name)
	if size > maxOptions {
		return fmt.Errorf("%s: %d bytes, at most %d expected", base, size, maxOptions)
	}
	b, err := io.ReadAll(io.LimitReader(r, maxOptions))
	if err != nil {
		return err
	}
	for i, line := range strings.Split(string(b), "\n") {
		text := strings.TrimSpace(strings.TrimPrefix(strings.TrimRight(line, "\r"), "\ufeff"))
		if text == "" || text[0] == '#' {
			continue
		}
		if strings.ContainsAny(line[:1], " \t-?[{") && !strings.HasPrefix(line, "---") || strings.ContainsAny(text, "[]{}&*!") {
			return fmt.Errorf("%s:%d: want one \"option: value\" a line", base, i+1)
		}
	}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.DisallowUnknownField()).Decode(v); err != nil {
		return fmt.Errorf("%s: %s", base, yaml.FormatError(err, false, false))
	}
	return nil
}
