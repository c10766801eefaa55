package search

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
)

// halves are images [1,8,8] of noise, one half of which is brighter: above, or on the left, of class 1.
type halves struct{ left bool }

func (halves) Len() int     { return 400 }
func (halves) Shape() []int { return []int{1, 8, 8} }

func (halves) Hash(i int) [32]byte {
	return sha256.Sum256(binary.LittleEndian.AppendUint32(nil, uint32(i)))
}

func (h halves) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	for k, i := range idx {
		hash := h.Hash(i)
		class := int32(i % 2)
		if y != nil {
			y[k] = class
		}
		for p := range 64 {
			at := p / 8
			if h.left {
				at = p % 8
			}
			x[64*k+p] = float32(hash[p%32]) / 1024
			if at < 4 == (class == 1) {
				x[64*k+p]++
			}
		}
	}
	return nil
}

// decides is a state whose model tells the halves apart.
func (h halves) decides() *method.State {
	w := tensor.New(tensor.Float32, 64, 2)
	for p := range 64 {
		at := p / 8
		if h.left {
			at = p % 8
		}
		tensor.Of[float32](w)[2*p+at/4] = -1
		tensor.Of[float32](w)[2*p+1-at/4] = 1
	}
	g := graph.New("halves")
	y := g.Add("", "MatMul", nil, g.Add("", "Flatten", nil, g.AddInput("x", tensor.Float32, -1, 1, 8, 8)), g.NewConst("w", w))
	y.Name, g.Outputs = "y", []*graph.Value{y}
	return &method.State{Graph: g, Float: g, Layers: method.FindLayers(g, ""), Train: h, Choice: h, Metric: method.Top1, Threads: 1}
}

// TestAugment: images are changed only in ways that the model does not mind.
func TestAugment(t *testing.T) {
	for _, c := range []struct {
		name string
		h    halves
		want string
	}{
		{"halves above and below", halves{}, "flip,shift1"},
		{"halves on the left and on the right", halves{left: true}, "shift1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &runner{start: c.h.decides()}
			if got, err := r.augment(t.Context()); err != nil || got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// TestEpoch: an epoch that takes more than its share of the time is given up.
func TestEpoch(t *testing.T) {
	s := halves{}.decides()
	for _, c := range []struct {
		name  string
		time  time.Duration
		share float64
		slow  bool
	}{{"no deadline", 0, 0.1, false}, {"enough", time.Hour, 0.1, false}, {"too little", time.Second, 1e-6, true}} {
		t.Run(c.name, func(t *testing.T) {
			r := &runner{start: s}
			if c.time > 0 {
				r.o.Deadline = time.Now().Add(c.time)
			}
			d, err := r.epoch(t.Context(), s, r.fit(s), c.share)
			if slow := errors.Is(err, errSlow); slow != c.slow || !slow && err != nil || (d > 0) != (c.time > 0 && !c.slow) {
				t.Errorf("%v, %v", d, err)
			}
		})
	}
}

// anHour is a search from s that has an hour, where nothing but the model as it came has been tried.
func anHour(t *testing.T, s *method.State) *runner {
	t.Helper()
	base, err := s.Measure(t.Context(), s.Graph)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{MaxDrop: 0.1, Steps: 30, Deadline: time.Now().Add(time.Hour),
		Bytes:    func(g *graph.Graph) (int64, error) { return method.DenseBytes(g), nil },
		Constant: func(h *method.Held) (int64, error) { return int64(4 * h.Len()), nil }}
	return &runner{o: o, base: base, f: &Found{State: s, Candidates: []Candidate{{Bytes: 512}}}, start: s, limit: o.Deadline}
}

// TestLevelsGoOn: a search that is resumed trains what it trained, though the clock says something else.
func TestLevelsGoOn(t *testing.T) {
	dir := t.TempDir()
	fits := func(epoch time.Duration) (out []string) {
		s := halves{}.decides()
		s.Memo = &method.Memo{Dir: dir, Salt: "salt"}
		r := anHour(t, s)
		if err := r.levels(t.Context(), epoch); err != nil {
			t.Fatal(err)
		}
		for _, c := range r.f.Candidates[1:] {
			out = append(out, fmt.Sprint(c.Steps[0].Set["bytes"], c.Steps[0].Set["epochs"]))
		}
		return out
	}
	first := fits(time.Minute)
	if again := fits(5 * time.Minute); len(first) == 0 || len(again) < len(first) || !slices.Equal(first, again[:len(first)]) {
		t.Errorf("bytes and epochs %v, then %v", first, again)
	}
}

// TestLevelsUnfold: levels are trained behind normalisations, of a network that had some or may have had.
func TestLevelsUnfold(t *testing.T) {
	for _, c := range []struct {
		name  string
		convs int
		norm  bool
		want  string
	}{{"no convolution", 0, false, "trained"}, {"one", 1, false, "trained"}, {"one, normalised", 1, true, "fold unfold trained fold"}, {"three", 3, false, "unfold trained fold"}} {
		t.Run(c.name, func(t *testing.T) {
			s := halves{}.decides()
			g := s.Graph
			for i := range c.convs {
				flat := g.Nodes[len(g.Nodes)-2]
				one := func(name string, shape ...int) *graph.Value {
					return g.NewConst(fmt.Sprintf("%s%d", name, i), tensor.From([]float32{1}, shape...))
				}
				n := g.NewNode("", "Conv", nil, 1, flat.In[0], one("conv", 1, 1, 1, 1))
				g.Before(flat, n)
				if flat.In[0] = n.Out[0]; c.norm {
					bn := g.NewNode("", "BatchNormalization", nil, 1, n.Out[0], one("scale", 1), one("bias", 1), one("mean", 1), one("var", 1))
					g.Before(flat, bn)
					flat.In[0] = bn.Out[0]
				}
			}
			s.Layers = method.FindLayers(g, "")
			if len(s.Layers) != c.convs+1 {
				t.Fatalf("%d layers", len(s.Layers))
			}
			r := anHour(t, s)
			if err := r.levels(t.Context(), 3*time.Minute); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, st := range r.f.Candidates[1].Steps {
				got = append(got, st.Method)
			}
			if x := strings.Join(got, " "); !strings.HasPrefix(x+" ", c.want+" ") {
				t.Errorf("%s, want %s", x, c.want)
			}
		})
	}
}

// hiddenHalves tells halves apart by hidden channels, of which the first few see a pixel of the upper half each and the rest nothing: class 1 is
// more than the share most of what they see together.
func hiddenHalves(hidden, seeing int, most float32) *method.State {
	s := halves{}.decides()
	g := s.Graph
	in, out := tensor.New(tensor.Float32, 64, hidden), tensor.New(tensor.Float32, hidden, 2)
	for k := range hidden {
		if k < seeing {
			tensor.Of[float32](in)[k*hidden+k] = 1
		}
		tensor.Of[float32](out)[2*k+1] = 1
	}
	g.Nodes = g.Nodes[:1]
	x := g.Add("", "MatMul", nil, g.Nodes[0].Out[0], g.NewConst("in", in))
	x = g.Add("", "MatMul", nil, g.Add("", "Relu", nil, x), g.NewConst("out", out))
	y := g.Add("", "Add", nil, x, g.NewConst("bias", tensor.From([]float32{most * float32(seeing), 0}, 2)))
	y.Name, g.Outputs = "y", []*graph.Value{y}
	s.Float, s.Layers = g, method.FindLayers(g, "")
	return s
}

// TestLevelsLate: a search whose time is over before a model that has room has trained anything keeps what it has, wherever that happens.
func TestLevelsLate(t *testing.T) {
	for _, left := range []time.Duration{0, 1, 2, 4, 8, 16, 32, 64} {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			r := anHour(t, hiddenHalves(32, 2, 0.6))
			r.f.Candidates, r.chosen = append(r.f.Candidates, Candidate{Bytes: 20}), 1
			r.o.Deadline = time.Now().Add(left * time.Millisecond)
			r.limit = r.o.Deadline
			if err := r.levels(t.Context(), time.Minute); err != nil || len(r.f.Candidates) == 2 && len(r.f.Refused) == 0 {
				t.Errorf("%v, %d candidates, refused %v", err, len(r.f.Candidates), r.f.Refused)
			}
		})
	}
}

// TestSlim: of a model that has room the channels go that nobody misses, of one that has none nothing does.
func TestSlim(t *testing.T) {
	for _, c := range []struct {
		name           string
		hidden, needed int     // channels: that there are, that see something
		most           float32 // of what they see together, that makes class 1
		target         int64   // bytes that are wanted
		left           int
	}{
		{"most see nothing", 32, 2, 0.6, 0, 8},
		{"most see nothing, and few bytes are wanted", 32, 2, 0.6, 150, 8},
		{"most see nothing, and more bytes are wanted than a quarter takes", 32, 2, 0.6, 250, 16},
		{"three of four are needed", 32, 32, 0.6, 0, 24},
		{"all are needed", 32, 32, 0.95, 0, 32},
		{"there are no more than a kernel works on", 8, 2, 0.6, 0, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := hiddenHalves(c.hidden, c.needed, c.most)
			f := &fitting{r: anHour(t, s), from: s, sized: c.target > 0}
			f.r.o.Target = c.target
			ok, err := f.slim(t.Context())
			if err != nil || ok != (c.left < c.hidden) {
				t.Fatalf("%v, %v", ok, err)
			}
			if got, want := f.from.Weights(), c.left*66; got != want {
				t.Errorf("%d weights left, want %d", got, want)
			}
			if ok != (len(f.through) == 1) {
				t.Errorf("through %v", f.through)
			}
		})
	}
}

// TestPromising: what keeps the promise is followed by fewer bytes, also where it strains it, what does not by more.
func TestPromising(t *testing.T) {
	r := &runner{o: Options{MaxDrop: 0.01}}
	for _, c := range []struct {
		drop     float64
		roomy    bool
		from, to float64
	}{
		{-0.001, false, 400, 400}, {0, false, 400, 400}, {0.0035, false, 600, 800}, {slack * 0.01, false, 900, 930}, {0.0072, false, 1080, 1150},
		{0.02, false, 1500, 1800}, {0.9, false, 1800, 1800},
		{0, true, 400, 400}, {0.0056, true, 650, 750}, {slack * 0.01, true, 900, 930}, {0.0077, true, 1250, 1400}, {0.9, true, 1800, 1800},
	} {
		if got := r.promising(Candidate{Bytes: 1000, Drop: c.drop}, c.roomy); got < c.from || got > c.to {
			t.Errorf("1000 bytes with a drop of %v (roomy: %v): %.0f next, want %v to %v", c.drop, c.roomy, got, c.from, c.to)
		}
	}
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		name           string
		full, left     int
		crowded, sized bool
		planned        int
		first          float64
	}{
		{"no deadline", 20, math.MaxInt, false, false, mostFits, 0.5},
		{"no deadline, crowded", 20, math.MaxInt, true, false, mostFits, 0.85},
		{"time for three", 20, 34, false, false, 3, 0.5},
		{"time for two", 20, 20, false, false, 2, 0.5},
		{"two short ones", 20, 19, false, false, 2, 0.5},
		{"crowded, one", 20, 35, true, false, 1, 0.85 * math.Pow(20./35, 0.25)},
		{"crowded, one that is short", 20, 5, true, false, 1, 0.9},
		{"crowded, to a size", 20, 20, true, true, 2, 0.9},
		{"no time at all", 20, 0, false, false, 2, 0.5},
		{"none, crowded", 20, 0, true, false, 1, 0.9},
	} {
		t.Run(c.name, func(t *testing.T) {
			planned, _, first := fits(c.full, c.left, c.crowded, c.sized)
			if planned != c.planned || math.Abs(first-c.first) > 1e-12 {
				t.Errorf("%d of %v, want %d of %v", planned, first, c.planned, c.first)
			}
		})
	}
}

// TestSlowest: a network whose size leaves it room loses channels before levels are trained, so that an epoch may be long at first.
func TestSlowest(t *testing.T) {
	weights := halves{}.decides().Weights()
	for _, c := range []struct {
		name    string
		target  int64
		drop    float64
		methods []string
		want    float64
	}{
		{"a drop", 0, 0.01, nil, 0.1},
		{"a size with room", int64(weights) / 8, math.Inf(1), nil, 0.4},
		{"a size without", int64(weights), math.Inf(1), nil, 0.1},
		{"a size with room within a drop", int64(weights) / 8, 0.01, nil, 0.1},
		{"channels that stay", int64(weights) / 8, math.Inf(1), []string{"trained"}, 0.1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &runner{start: halves{}.decides(), o: Options{Target: c.target, MaxDrop: c.drop, Methods: c.methods}}
			if got := r.slowest(); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
