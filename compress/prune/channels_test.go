package prune

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
)

// noise is images of noise with the decisions of a model as labels.
type noise struct {
	shape []int
	n     int
	y     []int32
}

func (d noise) Len() int            { return d.n }
func (d noise) Shape() []int        { return d.shape }
func (d noise) Hash(i int) [32]byte { return sha256.Sum256([]byte{byte(i), byte(i >> 8)}) }
func (d noise) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	size := len(x) / len(idx)
	for k, i := range idx {
		r := rand.New(rand.NewPCG(77, uint64(i)))
		for j := range x[k*size : (k+1)*size] {
			x[k*size+j] = float32(r.NormFloat64())
		}
		if y != nil {
			y[k] = d.y[i]
		}
	}
	return nil
}

// state is g with noise to calibrate on.
func state(t testing.TB, g *graph.Graph, n int) *method.State {
	t.Helper()
	d := noise{sample(g), n, make([]int32, n)}
	x := tensor.New(tensor.Float32, append([]int{n}, sample(g)...)...)
	idx := make([]int, n)
	for i := range idx {
		idx[i] = i
	}
	if err := d.Read(context.Background(), idx, tensor.Of[float32](x), nil); err != nil {
		t.Fatal(err)
	}
	z := run(t, g, x)
	k := z.Len() / n
	for i := range d.y {
		row := tensor.Of[float32](z)[i*k:][:k]
		d.y[i] = int32(slices.Index(row, slices.Max(row)))
	}
	c, _ := g.Clone()
	return &method.State{Graph: c, Float: g, Layers: method.FindLayers(c, ""), Train: d, Choice: d, NoFinetune: true, Threads: 1}
}

// do applies a method.
func do(t testing.TB, s *method.State, m *method.Method, set map[string]any) {
	t.Helper()
	if err := try(s, m, set); err != nil {
		t.Fatal(err)
	}
}

func try(s *method.State, m *method.Method, set map[string]any) error {
	if _, ok := set["round_to"]; !ok && m.Param("round_to") != nil {
		set = maps.Clone(set)
		set["round_to"] = 1
	}
	a, err := m.Args(set)
	if err != nil {
		return err
	}
	return m.Apply(context.Background(), s, a)
}

// widths lists the output channels of layers.
func widths(s *method.State, names ...string) string {
	var out []string
	for _, n := range names {
		for _, l := range s.Layers {
			if l.Name == n {
				out = append(out, fmt.Sprint(l.Weight.Value.Type.Shape[l.OutAxis]))
			}
		}
	}
	return strings.Join(out, " ")
}

func TestChannels(t *testing.T) {
	perLayer := func(kv ...any) (l method.LayerValues) {
		for i := 0; i < len(kv); i += 2 {
			l = append(l, method.LayerValue{Glob: kv[i].(string), Value: kv[i+1].(float64)})
		}
		return l
	}
	for _, tc := range []struct {
		name, net string
		set       map[string]any
		layers    []string
		want      string
		refused   string
	}{
		{"one layer", "lenet5", map[string]any{"layers": "conv2", "sparsity": method.Uniform(0.5)}, []string{"conv1", "conv2", "fc1"}, "20 25 500", ""},
		{"mapping", "lenet5", map[string]any{"sparsity": perLayer("conv*", 0.25, "fc1", 0.1)}, []string{"conv1", "conv2", "fc1", "fc2"}, "15 37 450 7", ""},
		{"rounded", "lenet5", map[string]any{"sparsity": method.Uniform(0.3), "round_to": 8}, []string{"conv1", "conv2", "fc1"}, "16 32 352", "channels of fc2: they are the model's output logits"},
		{"least", "lenet5", map[string]any{"sparsity": method.Uniform(0.95), "least": 10}, []string{"conv1", "conv2", "fc1"}, "10 10 25", ""},
		{"residual", "tiny", map[string]any{"layers": "conv1.conv", "sparsity": method.Uniform(0.25)}, []string{"conv1.conv", "stage1.1.a.conv", "stage1.1.b.conv", "stage1.2.b.conv", "stage1.2.a.conv"}, "12 8 12 12 8", ""},
		{"the least of tied layers", "tiny", map[string]any{"layers": "conv1.conv,stage1.1.b.conv", "sparsity": perLayer("conv1*", 0.5, "*", 0.25)}, []string{"conv1.conv", "stage1.2.b.conv"}, "12 12", ""},
		{"depthwise", "mobilenet2", map[string]any{"layers": "block3.expand.conv", "sparsity": method.Uniform(0.5)}, []string{"block3.expand.conv", "block3.dw.conv", "block3.project.conv"}, "24 24 8", ""},
		{"shuffle", "shufflenet2", map[string]any{"layers": "stage3*.a.conv", "sparsity": method.Uniform(0.5)}, []string{"stage3.2.a.conv", "stage3.2.dw.conv", "stage3.2.b.conv"}, "15 15 30", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := small(t, tc.net)
			s := state(t, g, 4)
			do(t, s, Channels, tc.set)
			if got := widths(s, tc.layers...); got != tc.want {
				t.Errorf("widths %s, want %s", got, tc.want)
			}
			if tc.refused != "" && (len(s.Refused) == 0 || s.Refused[0].What+": "+s.Refused[0].Why != tc.refused) {
				t.Errorf("refused %v", s.Refused)
			}
			if y := run(t, s.Graph, input(g, 2)); !y.Shape.Equal(tensor.Shape{2, g.Outputs[0].Decl.Dims[1].Size}) {
				t.Errorf("output %v", y.Type)
			}
		})
	}
	t.Run("kept", func(t *testing.T) {
		s := state(t, small(t, "tiny"), 4)
		s.Keep = "stage1.2.b.conv"
		s.Refind()
		if err := try(s, Channels, map[string]any{"layers": "conv1.conv"}); err == nil || !strings.Contains(err.Error(), "to be kept") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		s := state(t, small(t, "lenet5"), 4)
		if err := try(s, Channels, map[string]any{"layers": "fc2"}); err == nil || !strings.Contains(err.Error(), "the model's output logits") {
			t.Errorf("error %v", err)
		}
	})
}

// Every score drops, first of all, filters that do nothing.
// Layers of a residual network are tied by its additions, of others by nothing; those that are kept, and the one
// that gives the outputs, are of no group.
func TestGroups(t *testing.T) {
	for _, c := range []struct {
		net, keep, want string
	}{
		{"lenet5", "", "conv1 conv2 fc1"},
		{"lenet5", "fc1", "conv1"},
		{"tiny", "", "conv1.conv+stage1.1.b.conv+stage1.2.b.conv stage1.1.a.conv stage1.2.a.conv"},
	} {
		t.Run(c.net+c.keep, func(t *testing.T) {
			s := state(t, small(t, c.net), 2)
			s.Layers = method.FindLayers(s.Graph, c.keep)
			groups, err := Groups(s)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, g := range groups {
				var names []string
				for _, l := range g {
					names = append(names, l.Name)
				}
				got = append(got, strings.Join(names, "+"))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s, want %s", strings.Join(got, " "), c.want)
			}
		})
	}
}

func TestScores(t *testing.T) {
	for _, score := range Channels.Param("score").Choices {
		if score == "median" {
			continue // a filter of zeros is not in the middle of random ones
		}
		for _, by := range []string{"layer", "global"} {
			t.Run(score+" by "+by, func(t *testing.T) {
				g := small(t, "mobilenet1")
				const layer, dead = "conv3.pw", 5
				zero := func(name string, row int) {
					v := g.Find(name)
					x := v.Tensor().Clone()
					f := tensor.Of[float32](x)
					for i := range row {
						f[dead*row+i] = 0
					}
					v.Data = x
				}
				zero(layer+".conv.weight", g.Find(layer + ".conv.weight").Type.Shape[1])
				zero(layer+".bn.scale", 1)
				zero(layer+".bn.bias", 1)
				s := state(t, g, 40)
				// The depthwise convolution behind it still answers with its own bias.
				for _, n := range []string{"conv4.dw.bn.bias", "conv4.dw.bn.mean", "conv4.dw.bn.scale"} {
					v := s.Graph.Find(n)
					x := v.Tensor().Clone()
					tensor.Of[float32](x)[dead] = 0
					v.Data = x
				}
				c := cutterOf(t, s, map[string]any{"layers": layer + ".conv", "sparsity": method.Uniform(0.05), "by": by})
				src, err := c.scores(context.Background(), score, 40)
				if err != nil {
					t.Fatal(err)
				}
				ks, err := c.pick(src)
				if err != nil {
					t.Fatal(err)
				}
				if len(ks) == 0 || c.y.Atoms[ks[0]].In(outs(c.layers[0]))[0] != dead {
					t.Errorf("%s drops %v first", score, tie(c.y, c.y.Atoms[ks[0]]))
				}
			})
		}
	}
}

// The filter between the others can be stood in for.
func TestMedian(t *testing.T) {
	d := median([][]float32{{1, 0}, {0, 1}, {0.4, 0.4}, {-1, -1}}, nil)
	if i := slices.Index(d, slices.Min(d)); i != 2 {
		t.Errorf("distances %v", d)
	}
	if d := median([][]float32{{1, 0}, {0, 1}, {4, 4}, {-1, -1}}, []float64{1, 1, 0.1, 1}); slices.Index(d, slices.Min(d)) != 2 {
		t.Errorf("with scales: distances %v", d)
	}
}

func cutterOf(t testing.TB, s *method.State, set map[string]any) *cutter {
	t.Helper()
	set["round_to"] = 1
	a, err := Channels.Args(set)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCutter(s, a)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The sum over channels of activation · gradient is the loss's slope when all activations of a layer
// grow together.
func TestTaylor(t *testing.T) {
	g := small(t, "lenet5")
	s := state(t, g, 1)
	c := cutterOf(t, s, map[string]any{"layers": "conv2"})
	src, err := c.taylor(context.Background(), 1)
	if err != nil {
		t.Fatal(err)
	}
	loss := func(dead int, by float32) float64 {
		c, _ := g.Clone()
		for _, n := range []string{"conv2.weight", "conv2.bias"} {
			v := c.Find(n)
			x := v.Tensor().Clone()
			row := x.Len() / x.Shape[0]
			for i := range row {
				tensor.Of[float32](x)[dead*row+i] *= by
			}
			v.Data = x
		}
		e, err := (&method.State{Choice: s.Choice, Threads: 1}).Measure(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		return e.Loss
	}
	for _, sc := range src {
		if len(sc.score) != 800 { // fc1 reads conv2's 50 channels of 16 pixels
			continue
		}
		var all, want float64
		for ch := range 50 {
			// The pixels of a channel may differ in sign: compare the sum of magnitudes from below.
			slope := math.Abs(loss(ch, 1.01)-loss(ch, 0.99)) / 0.02
			sum := 0.0
			for p := range 16 {
				sum += sc.score[ch*16+p]
			}
			if slope > sum*1.1+1e-3 {
				t.Errorf("channel %d: slope %g, scores %g", ch, slope, sum)
			}
			all, want = all+sum, want+slope
		}
		if all == 0 || want == 0 {
			t.Error("nothing measured")
		}
		return
	}
	t.Fatal("fc1 is not scored")
}
