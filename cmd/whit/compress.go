package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"whit/card"
	"whit/compress"
	"whit/compress/method"
	"whit/data"
	"whit/internal/modelfile"
	"whit/internal/safefile"
	"whit/recipes"
	"whit/report"
	"whit/train"
)

// compressFlags are the flags of compress.
type compressFlags struct {
	data, test, cardFlag     string
	maxDrop, size            string
	latency                  float64
	limit                    time.Duration
	metric, minimize         string
	finetune, methods, keep  string
	recipe                   string
	teachers                 []string
	output, onnx, report     string
	front                    string
	images                   int
	seed                     uint64
	threads, batch           int
	optimizer, augment       string
	resume, asJSON, printRec bool
	strip, whole             bool
	shape                    shapes
}

func compressCmd() *cobra.Command {
	f := compressFlags{shape: shapes{}}
	c := &cobra.Command{
		Use:   "compress MODEL",
		Short: "Make a model small within a budget, and measure what was lost",
		Long: `Make a model small: a budget in, the best model out. The data are split by content;
decisions are made on one part, and the figures are measured once, on another, from
the written file, with the engine that ships. Any subset of budgets may be given;
none means --max-drop 0.5% --time 10m. A budget that is missed gives exit code 1 and
the best candidate as OUT.unmet.whit.

The metric of classifiers is top1 with labels (sub-folders, or MNIST), without it is the
agreement with the float model; of other models it is the cosine of the outputs to the
float model's, PSNR where an .npz has targets, or the recall of detections (boxes that overlap by half, where
outputs are boxes). verification is of embeddings whose labels are identities: the pairs of one identity that are accepted
where a thousandth of those of two are. Drops are listed by class, and by group where pictures lie in
CLASS/GROUP/. --recipe replays steps instead of searching.`,
		Example: `  whit compress model.onnx --data images/ --max-drop 0.5% -o model.whit --report report.html
  whit compress model.onnx --data images/ --target-size 100000 --time 5m
  whit compress model.onnx --data mnist --recipe deep-compression-lenet300
  whit compress --print-recipe > recipe.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.printRec {
				_, err := io.WriteString(c.OutOrStdout(), "# Every method once, with its defaults: keep the steps that you want.\n"+
					compress.FormatRecipe(compress.DefaultRecipe(), true))
				return err
			}
			if len(args) != 1 {
				return usage("give the model to compress; see 'whit compress --help'")
			}
			return runCompress(c, args[0], &f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.data, "data", "", "mnist, a folder of images (sub-folders are labels), a folder of idx files, or an .npz")
	fl.StringVar(&f.test, "test", "", "a test set of its own, used once for the final figures")
	fl.StringVar(&f.cardFlag, "card", "", "model card file, or a preset: imagenet, unit, symmetric, raw")
	fl.StringVar(&f.cardFlag, "preprocess", "", "the same as --card")
	fl.StringVar(&f.maxDrop, "max-drop", "", "how far the metric may fall: points as 0.5%, of a cosine 0.001, of PSNR 0.05dB")
	fl.StringVar(&f.size, "target-size", "", "size of the file at most: bytes, or 100kB, 2MB")
	fl.Float64Var(&f.latency, "target-latency", 0, "median of one inference at most, in ms")
	fl.DurationVar(&f.limit, "time", 0, "how long to search: 10m")
	fl.StringVar(&f.minimize, "minimize", "size", "what to make small: size or latency")
	fl.StringVar(&f.metric, "metric", "", "top1, top5, agreement, cosine, psnr, recall or verification (default: what the model and the data call for)")
	fl.StringVar(&f.finetune, "finetune", "auto", "auto or off")
	fl.StringVar(&f.methods, "methods", "", "methods that the search may use, comma-separated (default: all)")
	fl.StringVar(&f.keep, "keep", "", "glob of layers that stay as they are")
	fl.StringVar(&f.recipe, "recipe", "", "follow a recipe: a YAML file, or one that comes with whit")
	fl.StringArrayVar(&f.teachers, "teacher", nil, "a model of the same input and classes whose decisions training aims at; may be given several times")
	fl.BoolVar(&f.printRec, "print-recipe", false, "print every method with its defaults, to make a recipe of, and exit")
	fl.StringVarP(&f.output, "output", "o", "", "the .whit to write (default: the model's base name + .whit)")
	fl.StringVar(&f.onnx, "onnx", "", "write the result as .onnx too")
	fl.StringVar(&f.report, "report", "", "write the report, an offline HTML page")
	fl.StringVar(&f.front, "front", "", "write the recipe of every model that no other beats in size, metric and time into this folder")
	fl.IntVar(&f.images, "report-images", 0, "show this many of the images whose decision flipped in the report")
	fl.Uint64Var(&f.seed, "seed", 1, "seed")
	fl.IntVar(&f.threads, "threads", 0, "workers (0: physical cores)")
	fl.IntVar(&f.batch, "batch", 0, "samples a training step (0: 128)")
	fl.StringVar(&f.optimizer, "optimizer", "", "adamw, adam or sgd")
	fl.StringVar(&f.augment, "augment", "", "none, or a list such as shift2,flip")
	fl.BoolVar(&f.strip, "strip", false, "leave names (but of inputs and outputs), metadata, and of the card all but preprocessing and licence out of the file")
	fl.Var(f.shape, "shape", "shape of the input, name=1,3,224,224, where the model leaves it open")
	fl.BoolVar(&f.whole, "whole", false, "with --recipe: train on the images that choices are made by, too")
	fl.BoolVar(&f.resume, "resume", false, "go on where an interrupted run stopped")
	fl.BoolVar(&f.asJSON, "json", false, "one line of JSON")
	return c
}

func runCompress(c *cobra.Command, model string, f *compressFlags) error {
	ctx := c.Context()
	if f.data == "" {
		return usage("give --data: mnist, a folder of images, or an .npz")
	}
	if isDB(f.maxDrop) && f.metric == "" {
		f.metric = string(method.PSNR)
	}
	o := compress.Options{Metric: f.metric, Minimize: f.minimize, Keep: f.keep, Seed: f.seed, Threads: f.threads, Batch: f.batch,
		Optimizer: f.optimizer, Augment: f.augment, Resume: f.resume, Images: f.images, Strip: f.strip, Whole: f.whole, Model: filepath.Base(model)}
	switch f.finetune {
	case "auto":
	case "off":
		o.NoFinetune = true
	default:
		return usage("--finetune %q, want auto or off", f.finetune)
	}
	if f.methods != "" {
		o.Methods = strings.Split(f.methods, ",")
		for _, name := range o.Methods {
			var known []string
			for _, m := range compress.Methods() {
				known = append(known, m.Name)
			}
			if !slices.Contains(known, name) {
				return usage("--methods: unknown method %q, want one of %s", name, strings.Join(known, ", "))
			}
		}
	}
	if f.metric != "" && !slices.Contains(compress.Metrics(), f.metric) {
		return usage("--metric %q, want one of %s", f.metric, strings.Join(compress.Metrics(), ", "))
	}
	if f.minimize != "size" && f.minimize != "latency" {
		return usage("--minimize %q, want size or latency", f.minimize)
	}
	if err := f.check(); err != nil {
		return err
	}
	var err error
	if o.Budget, err = f.budget(); err != nil {
		return err
	}
	if f.recipe != "" {
		if o.Recipe, err = readRecipe(f.recipe); err != nil {
			return err
		}
	}
	m, err := modelfile.Load(model, f.cardFlag)
	if err != nil {
		return err
	}
	if err := supported(m); err != nil {
		return err
	}
	if o.Teachers, err = loadTeachers(f.teachers); err != nil {
		return err
	}
	if f.output == "" {
		f.output = strings.TrimSuffix(m.Base, filepath.Ext(m.Base)) + ".whit"
	}
	if strings.ToLower(filepath.Ext(f.output)) != ".whit" {
		return usage("--output %s: the name ends in .whit; --onnx writes an .onnx too", f.output)
	}
	if same(model, f.output) {
		return usage("--output is the model itself; give another name")
	}
	sets, err := openData(ctx, m, f.data, f.shape, f.metric)
	if err != nil {
		return err
	}
	d, images, err := f.dataOf(ctx, m, sets)
	if err != nil {
		return err
	}
	if err := f.checkTest(d.Set); err != nil {
		return err
	}
	o.Image = images
	o.Replay = f.replay(model)
	res, unmet := compressTo(c, m, d, o, f.output)
	if unmet != nil && !errors.Is(unmet, compress.ErrUnmet) {
		return unmet
	}
	written := f.output
	if res.Unmet != "" {
		written = strings.TrimSuffix(f.output, ".whit") + ".unmet.whit"
	}
	if f.onnx != "" {
		if err := writeONNX(written, f.onnx); err != nil {
			return err
		}
	}
	if f.report != "" {
		if err := safefile.Write(f.report, func(w io.Writer) error { return report.HTML(w, res, report.Options{Images: f.images}) }); err != nil {
			return err
		}
	}
	if f.front != "" {
		if err := writeFront(f.front, res); err != nil {
			return err
		}
	}
	w := c.OutOrStdout()
	if f.asJSON {
		if err := printJSON(w, summary(res)); err != nil {
			return err
		}
		return unmet
	}
	if err := report.Text(w, res); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nwrote %s", written)
	for _, p := range []string{f.onnx, f.report, f.front} {
		if p != "" {
			fmt.Fprintf(w, ", %s", p)
		}
	}
	fmt.Fprintln(w)
	return unmet
}

// check refuses flags that would fail only when the work is done.
func (f *compressFlags) check() error {
	if err := checkGlob(f.keep); err != nil {
		return err
	}
	if f.images < 0 {
		return usage("--report-images must not be negative")
	}
	if f.whole && f.recipe == "" {
		return usage("--whole is with --recipe: a search needs images to choose by")
	}
	if f.onnx != "" && !strings.EqualFold(filepath.Ext(f.onnx), ".onnx") {
		return usage("--onnx %s: the name ends in .onnx", f.onnx)
	}
	if _, err := (train.Options{Batch: f.batch, Optimizer: f.optimizer, Augment: f.augment}).WithDefaults(); err != nil {
		return usageError{err}
	}
	if f.test != "" && f.test != "mnist" {
		if _, err := os.Stat(f.test); err != nil {
			return fmt.Errorf("--test: %w", err)
		}
	}
	if f.front != "" {
		if st, err := os.Stat(f.front); err == nil && !st.IsDir() {
			return fmt.Errorf("--front %s is a file, want the name of a folder", f.front)
		}
		if _, err := os.Stat(filepath.Dir(filepath.Clean(f.front))); err != nil {
			return fmt.Errorf("--front: %w", err)
		}
	}
	return checkOutputs(f.onnx, f.report)
}

// writeFront writes the recipe of every model of the front that a recipe makes, called after its bytes.
func writeFront(dir string, res *compress.Result) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	names := map[string]int{}
	for _, c := range res.Front() {
		if c.Recipe == "" {
			continue
		}
		name := strconv.FormatInt(c.Bytes, 10)
		if names[name]++; names[name] > 1 {
			name += fmt.Sprintf("-%d", names[name])
		}
		about := fmt.Sprintf("# %s: %d bytes, %s %.6g on the choice split", c.Name, c.Bytes, res.Metric.Name, c.Metric)
		if c.Ms > 0 {
			about += fmt.Sprintf(", %.4g ms", c.Ms)
		}
		if err := safefile.WriteBytes(filepath.Join(dir, name+".yaml"), []byte(strings.ReplaceAll(about, "\n", " ")+"\n"+c.Recipe)); err != nil {
			return err
		}
	}
	return nil
}

// checkGlob refuses a --keep that can match nothing.
func checkGlob(keep string) error {
	for g := range strings.SplitSeq(keep, ",") {
		if _, err := path.Match(g, ""); err != nil {
			return usage("--keep %q: a [ or a \\ has no end", keep)
		}
	}
	return nil
}

// checkOutputs refuses names, "" for none, that no file can be written to.
func checkOutputs(names ...string) error {
	for _, n := range names {
		if n != "" {
			if _, err := safefile.Target(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// compressTo runs compress with lock, work folder, timing and progress.
func compressTo(c *cobra.Command, m *modelfile.File, d compress.Data, o compress.Options, output string) (*compress.Result, error) {
	unlock, err := safefile.Lock(output)
	if err != nil {
		return nil, err
	}
	defer unlock()
	v := version()
	o.Out, o.WorkDir = output, output+".work"
	o.Tool = compress.Tool{Name: "whit", Version: v.Version, Commit: v.Commit, Go: v.Go}
	o.CPU = cpuName()
	o.Measure = measurer(o.Threads, d.Set.Shape())
	p := newStages(c.ErrOrStderr())
	o.Progress = p.event
	var crd card.Card
	if m.Card != nil {
		crd = *m.Card
	}
	res, err := compress.Run(c.Context(), m.Graph, crd, d, o)
	p.done()
	return res, err
}

func (f *compressFlags) budget() (b compress.Budget, err error) {
	if f.maxDrop != "" {
		p, err := parseDrop(f.maxDrop, f.metric)
		if err != nil {
			return b, err
		}
		b.MaxDrop = &p
	}
	if f.size != "" {
		if b.TargetSize, err = parseSize(f.size); err != nil {
			return b, err
		}
	}
	if f.latency < 0 || f.limit < 0 || math.IsNaN(f.latency) || math.IsInf(f.latency, 0) {
		return b, usage("--target-latency and --time must not be negative")
	}
	b.TargetLatency = time.Duration(f.latency * float64(time.Millisecond))
	b.Time = f.limit
	return b, nil
}

// isDB reports whether a drop is in decibels, which only PSNR is.
func isDB(s string) bool { return strings.HasSuffix(strings.ToLower(strings.TrimSpace(s)), "db") }

// parseDrop reads "0.5%", the fraction 0.005, or "0.05dB".
func parseDrop(s, metric string) (float64, error) {
	if psnr := metric == string(method.PSNR); psnr || isDB(s) {
		x, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), "db")), 64)
		if err != nil || !(x >= 0 && x <= 100) || !psnr {
			return 0, usage("--max-drop %q: want dB such as 0.05dB with --metric psnr, and only there", s)
		}
		return x, nil
	}
	num, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	x, err := strconv.ParseFloat(num, 64)
	if percent {
		x /= 100
	}
	if err != nil || !(x >= 0 && x <= 1) {
		return 0, usage("--max-drop %q: want points such as 0.5%%", s)
	}
	return x, nil
}

// parseSize reads bytes, with kB, MB, GB, KiB, MiB or GiB behind them if need be, in upper or lower case.
func parseSize(s string) (int64, error) {
	num, unit := strings.ToLower(strings.TrimSpace(s)), 1.0
	for _, u := range []struct {
		name string
		n    float64
	}{{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"b", 1}} {
		if rest, ok := strings.CutSuffix(num, u.name); ok {
			num, unit = strings.TrimSpace(rest), u.n
			break
		}
	}
	x, err := strconv.ParseFloat(num, 64)
	if err != nil || !(x*unit >= 1 && x*unit < 1<<50) {
		return 0, usage("--target-size %q: want bytes, or 100kB, 2MB", s)
	}
	return int64(x * unit), nil
}

// readRecipe reads a recipe file, or one of those that come with whit.
func readRecipe(name string) (*compress.Recipe, error) {
	r, size, err := openSized(name)
	var b []byte
	switch {
	case err == nil:
		defer r.Close()
		if size > maxYAML {
			return nil, fmt.Errorf("%s: %d bytes, at most %d expected", filepath.Base(name), size, maxYAML)
		}
		if b, err = io.ReadAll(r); err != nil {
			return nil, err
		}
	case errors.Is(err, os.ErrNotExist):
		if b, err = recipes.Read(name); err != nil {
			return nil, usage("--recipe: no such file, and %w", err)
		}
	default:
		return nil, err
	}
	rec, err := compress.ParseRecipe(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return rec, nil
}

// checkTest refuses a folder of test pictures without classes where those to compress
// by have them, before hours of work rather than after. It looks at names only.
func (f *compressFlags) checkTest(d data.Dataset) error {
	if st, err := os.Stat(f.test); err != nil || !st.IsDir() || len(d.Labels()) == 0 {
		return nil
	}
	switch loose, err := data.Loose(f.test); {
	case err != nil:
		return fmt.Errorf("--test: %w", err)
	case loose:
		return fmt.Errorf("--test %s: %w: its pictures lie in no class folders, those of --data do", filepath.Base(f.test), data.ErrLabels)
	}
	return nil
}

// dataOf gives the sets to compress, the test set behind a door that opens once,
// and the test images for the report.
func (f *compressFlags) dataOf(ctx context.Context, m *modelfile.File, sets data.Sets) (compress.Data, func(int) ([]byte, error), error) {
	var test data.Dataset
	d := compress.Data{Set: sets.All}
	if d.Set == nil {
		d.Set = sets.Train
	}
	if d.Set == nil {
		return d, nil, usage("--data %s has a test set only", f.data)
	}
	open := func(context.Context) (data.Dataset, error) { return sets.Test, nil }
	if f.test != "" {
		open = func(ctx context.Context) (data.Dataset, error) {
			t, err := openData(ctx, m, f.test, f.shape, f.metric)
			if err != nil {
				return nil, err
			}
			if t.Test != nil {
				return t.Test, nil
			}
			return t.All, nil
		}
	}
	if f.test != "" || sets.Test != nil {
		d.Test = func(ctx context.Context) (_ data.Dataset, err error) {
			test, err = open(ctx)
			return test, err
		}
	}
	images := func(i int) ([]byte, error) {
		if test == nil {
			return nil, nil
		}
		return picture(test, i)
	}
	if f.images == 0 || d.Test == nil {
		images = nil
	}
	return d, images, nil
}

// picture is sample i of [C,H,W] as a PNG, its values stretched to 0..255.
func picture(d data.Dataset, i int) ([]byte, error) {
	s := d.Shape()
	if len(s) != 3 || s[0] != 1 && s[0] != 3 {
		return nil, nil
	}
	x := make([]float32, s[0]*s[1]*s[2])
	if err := d.Read(context.Background(), []int{i}, x, nil); err != nil {
		return nil, err
	}
	lo, hi := slices.Min(x), slices.Max(x)
	at := func(c, p int) uint8 {
		return uint8(255 * (x[c*s[1]*s[2]+p] - lo) / max(hi-lo, 1e-9))
	}
	img := image.NewRGBA(image.Rect(0, 0, s[2], s[1]))
	for p := range s[1] * s[2] {
		q := color.RGBA{at(0, p), at(0, p), at(0, p), 255}
		if s[0] == 3 {
			q.G, q.B = at(1, p), at(2, p)
		}
		img.SetRGBA(p%s[2], p/s[2], q)
	}
	var b bytes.Buffer
	err := png.Encode(&b, img)
	return b.Bytes(), err
}

// replay is the command that repeats the run from its recipe.
func (f *compressFlags) replay(model string) string {
	s := "whit compress " + filepath.Base(model) + " --data " + filepath.Base(f.data)
	if f.test != "" {
		s += " --test " + filepath.Base(f.test)
	}
	if f.cardFlag != "" {
		s += " --card " + filepath.Base(f.cardFlag)
	}
	if f.keep != "" {
		s += " --keep '" + f.keep + "'"
	}
	if f.finetune == "off" {
		s += " --finetune off"
	}
	for _, t := range f.teachers {
		s += " --teacher " + filepath.Base(t)
	}
	return s + fmt.Sprintf(" --recipe recipe.yaml --seed %d -o %s", f.seed, filepath.Base(f.output))
}

func same(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// writeONNX writes a .whit file as .onnx, with its card.
func writeONNX(whit, out string) error {
	m, err := modelfile.Load(whit, "")
	if err != nil {
		return err
	}
	_, err = modelfile.Save(out, m.Graph, m.Card)
	return err
}

// compressJSON is compress's line of JSON.
type compressJSON struct {
	Schema      int             `json:"schema"`
	Verdict     string          `json:"verdict"`
	Met         bool            `json:"met"`
	Certified   bool            `json:"certified"`
	Output      string          `json:"output"`
	Unmet       string          `json:"unmet,omitempty"`
	SHA256      string          `json:"sha256"`
	BytesBefore int64           `json:"bytes_before"`
	BytesAfter  int64           `json:"bytes_after"`
	Ratio       float64         `json:"ratio"`
	Metric      compress.Metric `json:"metric"`
	Flipped     int             `json:"flipped"`
	// FlippedShare is of all decisions; the drop is what they come to net.
	FlippedShare float64                `json:"flipped_share"`
	Classes      []compress.Part        `json:"classes"`
	Groups       []compress.Part        `json:"groups"`
	Verification *compress.Verification `json:"verification,omitempty"`
	MsBefore     *float64               `json:"ms_before"`
	MsAfter      *float64               `json:"ms_after"`
	Budgets      []compress.BudgetRow   `json:"budgets"`
	Stages       []compress.Stage       `json:"stages"`
	Recipe       string                 `json:"recipe"`
	Candidates   []compress.Candidate   `json:"candidates"`
	Refused      []compress.Refusal     `json:"refused"` // what was not done, and why
	Notes        []string               `json:"notes"`
	Seconds      float64                `json:"seconds"`
}

func summary(r *compress.Result) compressJSON {
	s := compressJSON{Schema: 1, Verdict: r.Verdict, Met: r.Met, Certified: r.Certified, Output: r.Output, Unmet: r.Unmet, SHA256: r.SHA256,
		BytesBefore: r.Bytes.Before, BytesAfter: r.Bytes.After, Ratio: r.Bytes.Ratio, Metric: r.Metric, Flipped: r.Metric.Changed,
		Classes: r.Classes, Groups: r.Groups, Verification: r.Verification,
		Budgets: r.Budgets, Stages: r.Stages, Recipe: r.Recipe, Candidates: r.Pareto, Refused: r.Refused, Notes: r.Notes, Seconds: r.Seconds}
	if r.Metric.N > 0 {
		s.FlippedShare = float64(r.Metric.Changed) / float64(r.Metric.N)
	}
	if r.Latency != nil {
		s.MsBefore, s.MsAfter = &r.Latency.Before.Value, &r.Latency.After.Value
	}
	return s
}

// stages shows progress: a bar on a terminal, nothing elsewhere.
type stages struct {
	w    io.Writer
	b    bar
	last string
}

func newStages(w io.Writer) *stages { return &stages{w: w} }

func (s *stages) event(e compress.Event) {
	if e.Stage != s.last {
		s.done()
		s.last = e.Stage
		total := int64(-1)
		if e.Total > 0 {
			total = 1000
		}
		s.b = newBar(s.w, total, e.Stage)
	}
	if e.Total > 0 {
		s.b.set(int64(1000 * e.Done / e.Total))
	}
	if e.Message != "" {
		s.b.describe(e.Stage + ": " + e.Message)
	}
}

func (s *stages) done() { s.b.done(); s.b = bar{} }

// cpuName is the processor's own name, "" where the system does not tell.
func cpuName() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
