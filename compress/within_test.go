package compress

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"whit/compress/method"
	"whit/compress/search"
	"whit/graph"
	"whit/tensor"
	"whit/train"
)

// blobState is a state of a classifier on the blobs.
func blobState(t *testing.T, g *graph.Graph) *method.State {
	t.Helper()
	sg, _ := g.Clone()
	return &method.State{Graph: sg, Float: g, Layers: method.FindLayers(sg, ""), Train: blobs{n: 600}, Choice: blobs{n: 300, from: 700}, Seed: 1, Threads: 1}
}

func step(t *testing.T, s *method.State, src string) error {
	t.Helper()
	return s.Step(context.Background(), parse(t, "recipe: 1\nname: one\nsteps:\n  - "+src).Steps[0], search.Methods)
}

// TestPrunedStaysPruned: what was pruned before a method prunes while it trains does not come back, in layers that it prunes and in others.
func TestPrunedStaysPruned(t *testing.T) {
	for _, src := range []string{"{method: movement, layers: fc2, sparsity: 0.5, epochs: 2}", "{method: movement, sparsity: 0.7, epochs: 2}"} {
		s := blobState(t, mlp(t))
		if err := step(t, s, "{method: magnitude, sparsity: 0.5, rounds: 1, final: 0, epochs: 0}"); err != nil {
			t.Fatal(err)
		}
		var left []int
		for _, l := range s.Layers {
			left = append(left, l.Weight.Stored())
		}
		if err := step(t, s, src); err != nil {
			t.Fatal(err)
		}
		for k, l := range s.Layers {
			if n := l.Weight.Stored(); n > left[k] {
				t.Errorf("%s: layer %s: %d weights, %d before", src, l.Name, n, left[k])
			}
		}
	}
}

// TestPrunedWithinTraining holds of methods that prune while they train that they leave as many weights as
// they were asked for, of a network that still decides right, and the same ones for any number of threads.
func TestPrunedWithinTraining(t *testing.T) {
	const all = 24*features + 24*blobClasses
	for _, tt := range []struct {
		name string
		left int
		src  string
	}{
		{"movement", all / 5, "{method: movement, sparsity: 0.8, epochs: 8, batch: 32, lr: 0.005, every: 0.25}"},
		{"movement averaged", 120, "{method: movement, keep: 120, epochs: 8, batch: 32, lr: 0.005, every: 0.25, ema: 0.9, distill: 0.5}"},
		{"rate", all / 5, "{method: rewind, sparsity: 0.8, rounds: 3, epochs: 3, batch: 32, lr: 0.005}"},
		{"weights", all / 5, "{method: rewind, back: weights, sparsity: 0.8, rounds: 3, epochs: 4, batch: 32, lr: 0.005}"},
		{"the first weights", all / 5, "{method: rewind, back: weights, early: 0, sparsity: 0.8, rounds: 2, epochs: 4, batch: 32, lr: 0.005, optimizer: sgd}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := mlp(t)
			var first [][]float32
			for threads := 1; threads <= 2; threads++ {
				s := blobState(t, g)
				s.Threads = threads
				before, err := s.Measure(context.Background(), g)
				if err != nil {
					t.Fatal(err)
				}
				if err := step(t, s, tt.src); err != nil {
					t.Fatal(err)
				}
				left := 0
				var now [][]float32
				for _, l := range s.Layers {
					left += l.Weight.Stored()
					now = append(now, l.Weight.Data())
					for i, x := range l.Weight.Data() {
						if x != 0 && !l.Weight.Kept(i) {
							t.Fatalf("layer %s: a pruned weight is %v", l.Name, x)
						}
					}
				}
				if left > tt.left || left < tt.left*3/4 { // units without inputs or readers went too
					t.Errorf("%d weights are left, want about %d", left, tt.left)
				}
				after, err := s.Measure(context.Background(), s.Graph)
				if err != nil {
					t.Fatal(err)
				}
				if after.Error > before.Error+0.05 {
					t.Errorf("error %.3f, before %.3f", after.Error, before.Error)
				}
				if first == nil {
					first = now
				} else if !slices.EqualFunc(first, now, slices.Equal[[]float32]) {
					t.Error("two threads leave other weights")
				}
			}
		})
	}
	for name, src := range map[string]string{
		"no epochs":    "{method: movement, epochs: 0}",
		"order":        "{method: movement, from: 0.5, until: 0.2}",
		"no training":  "{method: rewind, epochs: 0}",
		"sgd":          "{method: movement, optimizer: sgd}",
		"coarse":       "{method: coarse, epochs: 0}",
		"nothing left": "{method: rewind, layers: zz}",
	} {
		if err := step(t, blobState(t, mlp(t)), src); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s := blobState(t, mlp(t))
	if err := step(t, s, "{method: codebook, bits: 3, train: false}"); err != nil {
		t.Fatal(err)
	}
	if err := step(t, s, "{method: rewind}"); err == nil {
		t.Error("shared weights were rewound")
	}
}

// Weights that training moves away from zero outlive larger ones that it moves towards it: the weight
// that movement keeps is the one that the labels ask for, and magnitude keeps the other.
func TestMovementIsNotMagnitude(t *testing.T) {
	g := graph.New("g")
	x := g.AddInput("x", tensor.Float32, -1, 2)
	// Class 1 is x[1] > 0; the model as it comes listens to x[0].
	w := g.NewConst("fc.weight", tensor.From([]float32{-1, -0.3, 1, 0.3}, 2, 2))
	y := g.Add("", "Gemm", map[string]any{"transB": int64(1)}, x, w)
	y.Name = "y"
	g.Outputs = append(g.Outputs, y)
	kept := func(src string) []bool {
		s := blobState(t, g)
		s.Train, s.Choice = halves{400}, halves{100}
		if err := step(t, s, src); err != nil {
			t.Fatal(err)
		}
		k := make([]bool, 4)
		for i := range k {
			k[i] = s.Layers[0].Weight.Kept(i)
		}
		return k
	}
	// Large at first and of no use: they shrink, but do not get smaller than the others in this time.
	if got := kept("{method: movement, keep: 2, epochs: 3, batch: 20, lr: 0.003, every: 0.2, from: 0.2}"); !slices.Equal(got, []bool{false, true, false, true}) {
		t.Errorf("movement keeps %v", got)
	}
	if got := kept("{method: magnitude, sparsity: 0.5, rounds: 1, final: 0, epochs: 0}"); !slices.Equal(got, []bool{true, false, true, false}) {
		t.Errorf("magnitude keeps %v", got)
	}
}

// halves are points of the square whose class is the sign of the second coordinate.
type halves struct{ n int }

func (d halves) Len() int                { return d.n }
func (halves) Shape() []int              { return []int{2} }
func (d halves) Hash(i int) (h [32]byte) { h[0], h[1] = byte(i), byte(i>>8); return h }
func (d halves) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	for k, i := range idx {
		a, b := float32((i*37)%101)/50-1, float32((i*53)%97)/48-1
		x[2*k], x[2*k+1], y[k] = a, b, 0
		if b > 0 {
			y[k] = 1
		}
	}
	return nil
}

// TestCoarse holds that weights come to have two or three levels a channel, which training finds better than rounding does.
func TestCoarse(t *testing.T) {
	for _, levels := range []string{"ternary", "binary"} {
		t.Run(levels, func(t *testing.T) {
			g := mlp(t)
			rounded := blobState(t, g)
			if err := step(t, rounded, "{method: round, levels: "+levels+"}"); err != nil {
				t.Fatal(err)
			}
			s := blobState(t, g)
			if err := step(t, s, "{method: coarse, levels: "+levels+", epochs: 8, batch: 32, lr: 0.003, ema: 0.9}"); err != nil {
				t.Fatal(err)
			}
			loss := func(s *method.State) float64 {
				e, err := train.Evaluate(context.Background(), s.Graph, s.Choice, train.EvalOptions{Threads: 1})
				if err != nil {
					t.Fatal(err)
				}
				return e.Loss
			}
			if a, b := loss(s), loss(rounded); a >= b {
				t.Errorf("loss %v trained, %v rounded", a, b)
			}
			for _, l := range s.Layers {
				shape := l.Weight.Value.Type.Shape
				if l.OutAxis != 0 {
					continue
				}
				n := shape.NumElements() / shape[0]
				for c := range shape[0] {
					var seen []float32
					for _, x := range l.Weight.Data()[c*n : (c+1)*n] {
						if x = float32(math.Abs(float64(x))); !slices.Contains(seen, x) {
							seen = append(seen, x)
						}
					}
					if most := map[string]int{"ternary": 2, "binary": 1}[levels]; len(seen) > most {
						t.Fatalf("layer %s, channel %d: magnitudes %v", l.Name, c, seen)
					}
				}
			}
		})
	}
}

// TestTeachers holds that teachers that were given take the float model's place, that a layer
// that has lost channels mimics those that are left, and that both decide the result.
func TestTeachers(t *testing.T) {
	g := mlp(t)
	run := func(src string, teachers ...*graph.Graph) []float32 {
		s := blobState(t, g)
		s.Teachers = teachers
		if err := step(t, s, "{method: channels, layers: fc1, sparsity: 0.5, round_to: 1}"); err != nil {
			t.Fatal(err)
		}
		if err := step(t, s, src); err != nil {
			t.Fatal(err)
		}
		return s.Layers[0].Weight.Data()
	}
	const taught = "{method: magnitude, sparsity: 0.3, rounds: 1, final: 3, batch: 32, lr: 0.01, distill: 1}"
	own, given := run(taught), run(taught, g)
	if !slices.Equal(own, given) {
		t.Error("the float model, given as a teacher, teaches something else")
	}
	other := mlp(t)
	w := other.Find("fc2.weight")
	if w == nil {
		t.Fatal("no fc2.weight")
	}
	x := slices.Clone(tensor.Of[float32](w.Data))
	slices.Reverse(x)
	w.Data = tensor.From(x, w.Type.Shape...)
	if slices.Equal(own, run(taught, other)) || slices.Equal(run(taught, other), run(taught, other, g)) {
		t.Error("teachers make no difference")
	}
	// What a hidden layer computes stays nearer to the float model's where it mimics it.
	off := func(w float32) float64 {
		s := blobState(t, g)
		if err := step(t, s, "{method: channels, layers: fc1, sparsity: 0.5, round_to: 1}"); err != nil {
			t.Fatal(err)
		}
		src := "{method: magnitude, sparsity: 0.6, rounds: 1, final: 6, batch: 32, lr: 0.01}"
		if w > 0 {
			src = "{method: magnitude, sparsity: 0.6, rounds: 1, final: 6, batch: 32, lr: 0.01, mimic: 10}"
		}
		if err := step(t, s, src); err != nil {
			t.Fatal(err)
		}
		a, b := hidden(t, s.Graph, s.Layers[0].Node.Out[0].Name), hidden(t, g, s.Layers[0].Node.Out[0].Name)
		left := s.Left[s.Layers[0].Weight.Value.Name]
		wide, sum := len(b)/300, 0.0
		for i := range 300 {
			for k, c := range left {
				d := float64(a[i*len(left)+k] - b[i*wide+c])
				sum += d * d
			}
		}
		return sum
	}
	if with, without := off(1), off(0); with >= without {
		t.Errorf("off by %v with mimic, %v without", with, without)
	}
	s := blobState(t, g)
	s.Layers = s.Layers[len(s.Layers)-1:]
	if err := step(t, s, "{method: magnitude, final: 1, rounds: 1, mimic: 1}"); err == nil || errors.Is(err, method.ErrNoFinetune) {
		t.Errorf("nothing to mimic: %v", err)
	}
}

// hidden are the values named, on the choice images.
func hidden(t *testing.T, g *graph.Graph, name string) []float32 {
	t.Helper()
	c, _ := g.Clone()
	c.Outputs = []*graph.Value{c.Find(name)}
	e, err := train.Evaluate(context.Background(), c, blobs{n: 300, from: 700, unlabel: true}, train.EvalOptions{Threads: 1, Logits: true})
	if err != nil {
		t.Fatal(err)
	}
	return e.Logits
}

// A model that was made for one image at a time is put on integers, ranges by outputs, like any other.
func TestActivationsOfOneImage(t *testing.T) {
	g := mlp(t)
	g.Inputs[0].Decl.Dims[0].Size = 1
	for _, src := range []string{"{method: activations, range: outputs, adaround: true}", "{method: activations, budget: 0.01}"} {
		if err := step(t, blobState(t, g), src); err != nil {
			t.Errorf("%s: %v", src, err)
		}
	}
}
