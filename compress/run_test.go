package compress

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"whit/card"
	"whit/data"
	"whit/format"
	"whit/graph"
	"whit/op"
	"whit/plan"
	"whit/recipes"
	"whit/tensor"
	"whit/train"
)

// blobs is a set of three classes in the plane of K features, from a counter.
type blobs struct {
	n, from  int
	unlabel  bool
	reads    *atomic.Int64
	forbid   *atomic.Bool // reading is a failure while it is true
	t        *testing.T
	shuffled bool // labels say nothing
}

const features, blobClasses = 12, 3

func (b blobs) Len() int         { return b.n }
func (b blobs) Shape() []int     { return []int{features} }
func (b blobs) Labels() []string { return nil }
func (b blobs) Hash(i int) [32]byte {
	return sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(b.from+i)))
}

func (b blobs) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	if b.reads != nil {
		b.reads.Add(1)
		if b.forbid.Load() {
			b.t.Error("the test set is read before the last decision")
		}
	}
	for k, i := range idx {
		h := b.Hash(i)
		c := int32(h[31]) % blobClasses
		for f := range features {
			v := float32(h[f])/255 - 0.5
			if int32(f)%blobClasses == c {
				v += 0.6
			}
			x[k*features+f] = v
		}
		if y == nil {
			continue
		}
		y[k] = c
		if b.shuffled {
			y[k] = int32(h[30]) % blobClasses
		}
		if b.unlabel {
			y[k] = -1
		}
	}
	return nil
}

// mlp is a trained network for blobs.
func mlp(t *testing.T) *graph.Graph {
	t.Helper()
	g := graph.New("mlp")
	x := g.AddInput("input", tensor.Float32, -1, features)
	w := func(name string, out, in int, seed uint64) *graph.Value {
		v := tensor.New(tensor.Float32, out, in)
		for i, f := 0, tensor.Of[float32](v); i < len(f); i++ {
			seed = seed*6364136223846793005 + 1442695040888963407
			f[i] = (float32(seed>>40)/(1<<24) - 0.5) * float32(math.Sqrt(12/float64(in)))
		}
		return g.NewConst(name, v)
	}
	attrs := map[string]any{"transB": int64(1)}
	h := g.Add("", "Gemm", attrs, x, w("fc1.weight", 24, features, 1), g.NewConst("fc1.bias", tensor.New(tensor.Float32, 24)))
	h = g.Add("", "Relu", nil, h)
	h = g.Add("", "Gemm", attrs, h, w("fc2.weight", blobClasses, 24, 2), g.NewConst("fc2.bias", tensor.New(tensor.Float32, blobClasses)))
	h.Name = "logits"
	g.Outputs = []*graph.Value{h}
	train.Promote(g)
	if _, err := train.Run(context.Background(), g, blobs{n: 600, from: 5000}, train.Options{Epochs: 15, Batch: 32, Seed: 1, LR: 0.01, Threads: 1}); err != nil {
		t.Fatal(err)
	}
	train.Demote(g)
	return g
}

const toyRecipe = `recipe: 1
name: toy
steps:
  - {method: scan, fractions: [0.5, 0.9]}
  - {method: magnitude, by: scan, sparsity: 0.6, rounds: 2, epochs: 1, final: 3, batch: 32, lr: 0.005}
  - {method: codebook, bits: 3, bias_bits: 3, epochs: 2, batch: 32}
paper: {source: "A Paper", stages: {pruned: {ratio: 2, error: 0.1}}}
`

func parse(t *testing.T, src string) *Recipe {
	t.Helper()
	r, err := ParseRecipe([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func drop(x float64) *float64 { return &x }

func TestRun(t *testing.T) {
	ctx := context.Background()
	g := mlp(t)
	set := blobs{n: 900}
	own := func(context.Context) (data.Dataset, error) { return blobs{n: 300, from: 2000}, nil }
	for _, tc := range []struct {
		name  string
		d     Data
		o     Options
		unmet bool
		check func(t *testing.T, r *Result)
	}{
		{"recipe", Data{Set: set, Test: own}, Options{Recipe: parse(t, toyRecipe)}, false, func(t *testing.T, r *Result) {
			var names []string
			for _, s := range r.Stages {
				names = append(names, s.Name)
				if s.Test.N != 300 {
					t.Errorf("stage %s is not measured on the test split", s.Name)
				}
			}
			if want := []string{"dense", "pruned", "shared", "huffman", ".whit file"}; !slices.Equal(names, want) {
				t.Errorf("stages %v, want %v", names, want)
			}
			if p := r.Stages[1].PaperRatio; p == nil || *p != 2 {
				t.Error("the paper's figure is lost")
			}
			if r.Splits[0].N != 750 || r.Splits[1].N != 150 || r.Splits[2].N != 300 {
				t.Errorf("splits %+v", r.Splits)
			}
			if kept := r.Stages[1].Kept; math.Abs(kept-0.4) > 0.02 {
				t.Errorf("%.2f of the weights are kept", kept)
			}
			if len(r.Histograms) != 2 || len(r.Histograms[0].Marks) > 8 || len(r.Curves) != 6 {
				t.Errorf("%d histograms, %d curves", len(r.Histograms), len(r.Curves))
			}
			if r.Metric.After.Value < 0.85 {
				t.Errorf("accuracy %v", r.Metric.After)
			}
		}},
		{"channels", Data{Set: set, Test: own}, Options{Recipe: parse(t, "recipe: 1\nsteps:\n  - {method: magnitude, sparsity: 0.3, epochs: 1, final: 1}\n  - {method: channels, sparsity: 0.5, round_to: 4, epochs: 3, batch: 32, lr: 0.005}\n  - {method: codebook, bits: 4, epochs: 1}\n")}, false, func(t *testing.T, r *Result) {
			if a, b := fmt.Sprint(r.Layers[0].Shape), fmt.Sprint(r.Layers[1].Shape); a != "[12 12]" || b != "[3 12]" {
				t.Errorf("layers %s %s", a, b)
			}
			if dense, cut := r.Stages[0].Kept, r.Stages[2].Kept; dense != 1 || cut > 0.5 {
				t.Errorf("%v of the weights are left at first, %v with half of the channels", dense, cut)
			}
			if i := slices.IndexFunc(r.Refused, func(x Refusal) bool { return x.What == "channels of fc2" }); i < 0 {
				t.Errorf("refused %v", r.Refused)
			}
			if r.Layers[0].Encoding != "sparse(codebook)" || r.Metric.Drop.Value > 0.1 {
				t.Errorf("%s, drop %v", r.Layers[0].Encoding, r.Metric.Drop)
			}
		}},
		{"levels", Data{Set: set, Test: own}, Options{Recipe: parse(t, "recipe: 1\nsteps:\n  - {method: rdo, images: 200, lambda: 1e-3}\n")}, false, func(t *testing.T, r *Result) {
			if r.Layers[0].Encoding != "int8" || r.Layers[0].Codebook == 0 || len(r.Histograms[0].Marks) == 0 {
				t.Errorf("layer %+v", r.Layers[0])
			}
			if r.Bytes.After*4 > r.Bytes.Before || r.Metric.After.Value < r.Metric.Before.Value-0.03 {
				t.Errorf("%+v, %+v", r.Bytes, r.Metric)
			}
		}},
		{"search", Data{Set: set}, Options{Budget: Budget{MaxDrop: drop(0.05)}, Batch: 32, Steps: 40}, false, func(t *testing.T, r *Result) {
			if r.Splits[0].N != 360 || r.Splits[1].N != 270 || r.Splits[2].N != 270 {
				t.Errorf("splits %+v", r.Splits)
			}
			if r.Recipe == "" || len(r.Pareto) < 3 || r.Bytes.After >= r.Pareto[0].Bytes {
				t.Errorf("recipe %q, %d candidates, %d bytes", r.Recipe, len(r.Pareto), r.Bytes.After)
			}
		}},
		{"fine-tuning", Data{Set: blobs{n: 1500}}, Options{Budget: Budget{MaxDrop: drop(0.05)}, Batch: 32, Steps: 40, Methods: []string{"gptq", "trained"}}, false, func(t *testing.T, r *Result) {
			least := map[bool]int64{false: math.MaxInt64, true: math.MaxInt64} // by whether levels were trained
			for _, c := range r.Pareto {
				k := strings.HasPrefix(c.Name, "levels trained")
				least[k] = min(least[k], c.Bytes)
			}
			if least[true] >= least[false] || !strings.Contains(r.Recipe, "method: trained") {
				t.Errorf("%d bytes with trained levels, %d without; chosen:\n%s", least[true], least[false], r.Recipe)
			}
		}},
		{"fine-tuning in a short time", Data{Set: blobs{n: 1500}}, Options{Budget: Budget{MaxDrop: drop(0.05), Time: 300 * time.Millisecond}, Batch: 32, Optimizer: "sgd", LR: 0.05}, false, func(t *testing.T, r *Result) {
			if i := slices.IndexFunc(r.Budgets, func(b BudgetRow) bool { return b.Name == "time" }); i < 0 || r.Bytes.After > r.Bytes.Before {
				t.Errorf("%d bytes, budgets %+v", r.Bytes.After, r.Budgets)
			}
		}},
		{"fine-tuning to a size", Data{Set: blobs{n: 1500}}, Options{Budget: Budget{TargetSize: 230}, Batch: 32, Steps: 40}, false, func(t *testing.T, r *Result) {
			if !r.Met || r.Bytes.After > 230 || r.Bytes.After < 180 || !strings.Contains(r.Recipe, "method: trained") {
				t.Errorf("%d bytes of 230; chosen:\n%s", r.Bytes.After, r.Recipe)
			}
		}},
		{"no labels", Data{Set: blobs{n: 900, unlabel: true}}, Options{Budget: Budget{MaxDrop: drop(0.05)}, Batch: 32, Steps: 40}, false, func(t *testing.T, r *Result) {
			if r.Metric.Name != "agreement" || r.Metric.Before.Value != 1 || r.Metric.N != 270 {
				t.Errorf("metric %+v", r.Metric)
			}
		}},
		{"no fine-tuning", Data{Set: set}, Options{Budget: Budget{MaxDrop: drop(0.05)}, NoFinetune: true}, false, func(t *testing.T, r *Result) {
			if len(r.Pareto) < 3 || r.Bytes.After >= r.Pareto[0].Bytes {
				t.Errorf("%d candidates, %d bytes", len(r.Pareto), r.Bytes.After)
			}
		}},
		{"keep", Data{Set: set}, Options{Budget: Budget{MaxDrop: drop(0.05)}, NoFinetune: true, Keep: "fc2"}, false, func(t *testing.T, r *Result) {
			if len(r.Layers) != 1 || r.Layers[0].Name != "fc1" {
				t.Errorf("layers %+v", r.Layers)
			}
		}},
		{"fast", Data{Set: set}, Options{Budget: Budget{MaxDrop: drop(0.05)}, NoFinetune: true, Minimize: "latency"}, false, func(t *testing.T, r *Result) {
			if len(r.Pareto) < 3 || r.Pareto[0].Ms <= 0 {
				t.Errorf("%d candidates, %+v", len(r.Pareto), r.Pareto[0])
			}
		}},
		{"fast within a size", Data{Set: set}, Options{Budget: Budget{MaxDrop: drop(0.05), TargetSize: 480}, NoFinetune: true, Minimize: "latency"}, false, func(t *testing.T, r *Result) {
			if !r.Met || r.Bytes.After > 480 {
				t.Errorf("%d bytes, %s", r.Bytes.After, r.Verdict)
			}
		}},
		{"too small a size", Data{Set: set}, Options{Budget: Budget{MaxDrop: drop(0.05), TargetSize: 10}, NoFinetune: true}, true, func(t *testing.T, r *Result) {
			if r.Unmet != "out.unmet.whit" || !strings.Contains(r.Verdict, "target size") {
				t.Errorf("%q, %q", r.Unmet, r.Verdict)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			tc.o.Out, tc.o.WorkDir, tc.o.Model, tc.o.Threads = filepath.Join(dir, "out.whit"), filepath.Join(dir, "work"), "some/where/mlp.onnx", 1
			before := g.String()
			r, err := Run(ctx, g, card.Card{}, tc.d, tc.o)
			if tc.unmet != errors.Is(err, ErrUnmet) || err != nil && !tc.unmet {
				t.Fatal(err)
			}
			if g.String() != before {
				t.Error("the model was changed")
			}
			name := tc.o.Out
			if tc.unmet {
				if _, err := os.Stat(name); err == nil {
					t.Error("a model that misses its budget has the good name")
				}
				name = filepath.Join(dir, r.Unmet)
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if int64(len(b)) != r.Bytes.After || fmt.Sprintf("%x", sha256.Sum256(b)) != r.SHA256 {
				t.Errorf("%d bytes with another hash than the result's", len(b))
			}
			if _, err := os.Stat(tc.o.WorkDir); err == nil {
				t.Error("the work folder is left")
			}
			js, err := json.Marshal(r)
			if err != nil || !strings.Contains(string(js), `"schema":1`) || strings.Contains(string(js), dir) || strings.Contains(string(js), "some/where") {
				t.Errorf("%v %s", err, js)
			}
			var lines int
			for _, s := range r.Splits {
				lines += s.N
			}
			tc.check(t, r)
			if r.Recipe == "" {
				return
			}
			// The recipe that a search found gives the same bytes.
			o := tc.o
			o.Recipe, o.Out, o.Threads = parse(t, r.Recipe), filepath.Join(dir, "again.whit"), 2
			o.Budget = Budget{}
			if _, err := Run(ctx, g, card.Card{}, tc.d, o); err != nil {
				t.Fatal(err)
			}
			if again, _ := os.ReadFile(o.Out); !slices.Equal(again, b) {
				t.Errorf("the recipe gives %d other bytes:\n%s", len(again), r.Recipe)
			}
		})
	}
}

// What cannot be trained is compressed without training, and the result says why.
func TestSearchWithoutGradient(t *testing.T) {
	g := mlp(t)
	x := g.Add("", "Mul", nil, g.Outputs[0], g.NewConst("hundred", tensor.From([]float32{100}, 1)))
	g.Outputs[0] = g.Add("", "Round", nil, x)
	o := Options{Budget: Budget{MaxDrop: drop(0.05)}, Batch: 32, Steps: 40, Threads: 1, Out: filepath.Join(t.TempDir(), "out.whit"), Model: "mlp.onnx"}
	r, err := Run(context.Background(), g, card.Card{}, Data{Set: blobs{n: 1500}}, o)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Refused, func(x Refusal) bool { return x.What == "fine-tuning" }) {
		t.Errorf("refused %v", r.Refused)
	}
	if 2*r.Bytes.After > r.Bytes.Before || strings.Contains(r.Recipe, "epochs") {
		t.Errorf("%d of %d bytes by\n%s", r.Bytes.After, r.Bytes.Before, r.Recipe)
	}
}

// The test set is opened once, after the last fit and the last measurement on the
// choice split, and nothing that searches can reach it.
func TestTestSetIsOpenedOnce(t *testing.T) {
	g := mlp(t)
	for _, o := range []Options{{Recipe: parse(t, toyRecipe)}, {Budget: Budget{MaxDrop: drop(0.05)}, Batch: 32, Steps: 40}} {
		var reads atomic.Int64
		var forbid atomic.Bool
		forbid.Store(true)
		opened, last := 0, ""
		o.Progress = func(e Event) {
			last = e.Stage
			if e.Stage == "measure" {
				forbid.Store(false)
			} else if opened > 0 {
				t.Errorf("%s after the test set was opened", e.Stage)
			}
		}
		d := Data{Set: blobs{n: 900}, Test: func(context.Context) (data.Dataset, error) {
			opened++
			if last != "measure" {
				t.Errorf("opened during %s", last)
			}
			return blobs{n: 300, from: 2000, reads: &reads, forbid: &forbid, t: t}, nil
		}}
		if _, err := Run(context.Background(), g, card.Card{}, d, o); err != nil {
			t.Fatal(err)
		}
		if opened != 1 || reads.Load() == 0 {
			t.Errorf("opened %d times", opened)
		}
	}
	// Without a test set of its own the part that is set aside is disjoint from what methods get.
	tr, choice, open, err := splits(Data{Set: blobs{n: 500}})
	if err != nil {
		t.Fatal(err)
	}
	test, _ := open(context.Background())
	seen := map[[32]byte]bool{}
	for _, ds := range []data.Dataset{tr, choice, test} {
		for i := range ds.Len() {
			if seen[ds.Hash(i)] {
				t.Fatal("a sample is in two parts")
			}
			seen[ds.Hash(i)] = true
		}
	}
}

// A run that ends at any moment and is run again gives the bytes of an undisturbed one.
func TestResume(t *testing.T) {
	g := mlp(t)
	want := ""
	for _, cut := range []int{0, 3, 7, 12} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(context.Background())
		events := 0
		o := Options{Recipe: parse(t, toyRecipe), WorkDir: filepath.Join(dir, "work"), Out: filepath.Join(dir, "o.whit"), Resume: true}
		o.Progress = func(Event) {
			if events++; events == cut {
				cancel()
			}
		}
		d := Data{Set: blobs{n: 900}}
		r, err := Run(ctx, g, card.Card{}, d, o)
		if cut > 0 {
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if _, err := os.Stat(o.Out); err == nil {
				t.Fatal("a half-done run left its output")
			}
			// A damaged entry of the work folder counts as none.
			es, _ := filepath.Glob(filepath.Join(dir, "work", "*.memo"))
			if len(es) > 0 {
				os.WriteFile(es[0], []byte("damaged"), 0o644)
			}
			o.Progress = nil
			r, err = Run(context.Background(), g, card.Card{}, d, o)
		}
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = r.SHA256
		}
		if r.SHA256 != want {
			t.Errorf("cut at %d: other bytes", cut)
		}
		cancel()
	}
}

func TestRunRefuses(t *testing.T) {
	g := mlp(t)
	for _, tc := range []struct {
		name string
		d    Data
		o    Options
		want string
	}{
		{"no data", Data{}, Options{}, "no data"},
		{"unknown method", Data{Set: blobs{n: 90}}, Options{Methods: []string{"magic"}}, "unknown method"},
		{"minimize", Data{Set: blobs{n: 90}}, Options{Minimize: "noise"}, "minimize"},
		{"metric", Data{Set: blobs{n: 90, unlabel: true}}, Options{Metric: "top1"}, "labels"},
		{"unknown metric", Data{Set: blobs{n: 90}}, Options{Metric: "luck"}, "unknown metric"},
		{"few", Data{Set: blobs{n: 1}}, Options{}, "too few"},
		{"drop", Data{Set: blobs{n: 90}}, Options{Budget: Budget{MaxDrop: drop(2)}}, "max drop"},
		{"all kept", Data{Set: blobs{n: 90}}, Options{Keep: "*"}, "nothing to compress"},
		{"none kept", Data{Set: blobs{n: 90}}, Options{Keep: "fc1,fcc*"}, `keep "fcc*": no layer has such a name; the layers are fc1, fc2`},
		{"chance", Data{Set: blobs{n: 600, shuffled: true}}, Options{}, "near chance"},
		{"layers", Data{Set: blobs{n: 90}}, Options{Recipe: parse(t, "recipe: 1\nsteps: [{method: magnitude, layers: conv*}]")}, "no layer matches"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := Run(context.Background(), g, card.Card{}, tc.d, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestRecipesParse(t *testing.T) {
	if len(recipes.Names()) < 2 {
		t.Error(recipes.Names())
	}
	for _, n := range recipes.Names() {
		b, err := recipes.Read(n)
		if err != nil {
			t.Fatal(err)
		}
		r := parse(t, string(b))
		if r.Name != n || r.Paper == nil && strings.Contains(n, "lenet") {
			t.Errorf("%s calls itself %q", n, r.Name)
		}
	}
	if _, err := ParseRecipe([]byte(FormatRecipe(DefaultRecipe(), true))); err != nil {
		t.Error(err)
	}
	if _, err := recipes.Read("../go"); err == nil {
		t.Error("a recipe from outside")
	}
}

// Of a network that has every hidden unit twice the search for size removes units: that is worth more than fewer bits are.
func TestRedundantChannels(t *testing.T) {
	g := mlp(t)
	twice := func(name string, axis int, by float32) {
		v := g.Find(name)
		x, s := tensor.Of[float32](v.Tensor()), slices.Clone(v.Type.Shape)
		inner := s[axis:].NumElements()
		var y []float32
		for i := 0; i < len(x); i += inner {
			for range 2 {
				for _, w := range x[i : i+inner] {
					y = append(y, by*w)
				}
			}
		}
		s[axis] *= 2
		v.Type.Shape, v.Data, v.Weight = s, tensor.From(y, s...), nil
	}
	twice("fc1.weight", 0, 1)
	twice("fc1.bias", 0, 1)
	twice("fc2.weight", 1, 0.5)
	if err := op.Check(g); err != nil {
		t.Fatal(err)
	}
	var first []byte
	for threads := 1; threads <= 2; threads++ {
		out := filepath.Join(t.TempDir(), "o.whit")
		r, err := Run(context.Background(), g, card.Card{}, Data{Set: blobs{n: 900}}, Options{Budget: Budget{MaxDrop: drop(0.02)}, NoFinetune: true, Threads: threads, Out: out})
		if err != nil {
			t.Fatal(err)
		}
		if r.Layers[0].Shape[0] > 32 || !strings.Contains(r.Recipe, "method: reconstruct") {
			t.Errorf("layers %+v, %s", r.Layers, r.Recipe)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		} else if !slices.Equal(first, b) {
			t.Error("two threads give other bytes")
		}
	}
}

// TestFixedBatch: a model that was exported for four images at once is compressed as any other, and runs on any number afterwards.
func TestFixedBatch(t *testing.T) {
	g := mlp(t)
	for _, v := range []*graph.Value{g.Inputs[0], g.Outputs[0]} {
		if len(v.Decl.Dims) > 0 {
			v.Decl.Dims[0].Size = 4
		}
	}
	out := filepath.Join(t.TempDir(), "out.whit")
	max := 0.05
	if _, err := Run(t.Context(), g, card.Card{}, Data{Set: blobs{n: 300}}, Options{Out: out, Budget: Budget{MaxDrop: &max}, NoFinetune: true, Threads: 1}); err != nil {
		t.Fatal(err)
	}
	f, err := format.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 3} {
		p, err := plan.NewProgram(f.Graph, plan.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Plan(map[string]tensor.Type{f.Graph.Inputs[0].Name: {DType: tensor.Float32, Shape: tensor.Shape{n, features}}}); err != nil {
			t.Errorf("%d images: %v", n, err)
		}
	}
}
