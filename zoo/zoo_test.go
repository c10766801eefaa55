package zoo

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"whit/card"
	"whit/graph"
	"whit/internal/optest"
	"whit/op"
	"whit/pass"
	"whit/plan"
	"whit/tensor"
	"whit/train"
)

func ExampleBuild() {
	g, err := Build("lenet300", 1)
	if err != nil {
		panic(err)
	}
	fmt.Println(g.Inputs[0].Name, g.Inputs[0].Decl, g.Outputs[0].Name, g.Outputs[0].Decl, len(g.Nodes))
	// Output: input float32[N,1,28,28] logits float32[N,10] 6
}

// long reports whether the long tests are wanted.
var long = os.Getenv("WHIT_LONG") != ""

// TestArchitectures holds the builders' counts to those of the train and op packages,
// and the initial weights to their seed.
func TestArchitectures(t *testing.T) {
	for _, a := range All() {
		t.Run(a.Name, func(t *testing.T) {
			if _, err := card.Parse([]byte(a.Card), nil); err != nil {
				t.Error(err)
			}
			b, err := a.With(Options{})
			if err != nil {
				t.Fatal(err)
			}
			if b.Params != a.Params || b.MACs != a.MACs {
				t.Errorf("%d parameters and %d MACs, want %d and %d", b.Params, b.MACs, a.Params, a.MACs)
			}
			if a.Params > 5e7 && !long {
				t.Skip("large")
			}
			g, err := a.Build(1)
			if err != nil {
				t.Fatal(err)
			}
			h, err := Build(a.Name, 1)
			if err != nil {
				t.Fatal(err)
			}
			o, err := Build(a.Name, 2)
			if err != nil {
				t.Fatal(err)
			}
			differs := false
			for _, v := range g.Values() {
				if v.Kind != graph.Const {
					continue
				}
				if !bytes.Equal(v.Data.Bytes(), h.Find(v.Name).Data.Bytes()) {
					t.Errorf("%s: the same seed gives other bytes", v.Name)
				}
				differs = differs || !bytes.Equal(v.Data.Bytes(), o.Find(v.Name).Data.Bytes())
			}
			if !differs {
				t.Error("another seed gives the same weights")
			}
			if macs := macsOf(t, g, a.Input); macs != a.MACs {
				t.Errorf("%d MACs by the operators' costs, want %d", macs, a.MACs)
			}
			train.Promote(g)
			params := 0
			for _, v := range g.Values() {
				if v.Kind == graph.Param {
					params += v.Data.Len()
				}
			}
			if params != a.Params {
				t.Errorf("%d parameters are trained, want %d", params, a.Params)
			}
		})
	}
}

// macsOf sums the costs of convolutions and fully connected layers.
func macsOf(t *testing.T, g *graph.Graph, in []int) (macs int64) {
	t.Helper()
	c, _ := g.Clone()
	bound, err := pass.Bind(c, map[string]tensor.Type{"input": {DType: tensor.Float32, Shape: append(tensor.Shape{1}, in...)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range bound.Graph.Nodes {
		if n.Op == "Conv" || n.Op == "Gemm" {
			m, _ := op.Cost(n)
			macs += m
		}
	}
	return macs
}

// TestPapers holds the counts to what the papers print, in their rounding.
func TestPapers(t *testing.T) {
	for _, c := range []struct {
		arch   string
		o      Options
		params float64 // millions; 0: not printed
		macs   float64 // millions
		within float64 // of either, relative: half a unit of the last digit
		where  string
	}{
		{"lenet300", Options{}, 0.267, 0.266, 0.002, "Han, Mao, Dally 2016, table 2: 267K"},
		{"lenet5", Options{}, 0.431, 0, 0.002, "Han, Mao, Dally 2016, table 3: 431K"},
		{"squeezenet1.0", Options{}, 1.248424, 0, 0, "Iandola and others 2016, table 1: 1,248,424"},
		{"vgg16", Options{}, 138, 0, 0.004, "Simonyan, Zisserman 2015, table 2: 138M"},
		{"resnet20", Options{}, 0.27, 0, 0.02, "He and others 2015, table 6: 0.27M"},
		{"resnet18", Options{}, 0, 1800, 0.03, "He and others 2015, table 1: 1.8e9"},
		{"resnet50", Options{}, 0, 3800, 0.03, "He and others 2015, table 1: 3.8e9"},
		{"mobilenet1", Options{}, 4.2, 569, 0.01, "Howard and others 2017, table 6: 569M, 4.2M"},
		{"mobilenet1", Options{Width: 0.75}, 2.6, 325, 0.01, "Howard and others 2017, table 6"},
		{"mobilenet1", Options{Width: 0.5}, 1.3, 149, 0.03, "Howard and others 2017, table 6"},
		{"mobilenet1", Options{Width: 0.25}, 0.5, 41, 0.07, "Howard and others 2017, table 6"},
		{"mobilenet1", Options{Input: []int{3, 192, 192}}, 4.2, 418, 0.01, "Howard and others 2017, table 7"},
		{"mobilenet1", Options{Input: []int{3, 128, 128}}, 4.2, 186, 0.01, "Howard and others 2017, table 7"},
		{"mobilenet2", Options{}, 3.4, 300, 0.04, "Sandler and others 2018, table 4: 300M, 3.4M"},
		{"mobilenet2", Options{Width: 1.4}, 0, 585, 0.01, "Sandler and others 2018, table 4: 585M"},
		{"shufflenet1", Options{}, 0, 137, 0.01, "Zhang and others 2017, table 1: 137M"},
		{"shufflenet2", Options{}, 2.3, 146, 0.01, "Ma and others 2018, table 5 and 8: 146M, 2.3M"},
		{"shufflenet2", Options{Width: 0.5}, 1.4, 41, 0.03, "Ma and others 2018, table 5 and 8: 41M, 1.4M"},
		{"shufflenet2", Options{Width: 1.5}, 3.5, 299, 0.012, "Ma and others 2018, table 5 and 8: 299M, 3.5M"},
		{"resnet20", Options{Width: 4}, 4.286026, 0, 0, "counted with layers of PyTorch: 4,286,026"},
		{"vgg-s", Options{Width: 2}, 1.148874, 0, 0, "likewise: 1,148,874"},
		{"shufflenet2", Options{Width: 2}, 7.4, 591, 0.015, "Ma and others 2018, table 5 and 8: 591M, 7.4M"},
	} {
		a, err := Find(c.arch)
		if err != nil {
			t.Fatal(err)
		}
		if a, err = a.With(c.o); err != nil {
			t.Fatal(err)
		}
		p, m := float64(a.Params)/1e6, float64(a.MACs)/1e6
		if c.params > 0 && math.Abs(p-c.params) > c.within*c.params || c.macs > 0 && math.Abs(m-c.macs) > c.within*c.macs {
			t.Errorf("%s %+v: %.6gM parameters, %.5gM MACs; %s", c.arch, c.o, p, m, c.where)
		}
	}
}

// TestRun runs the architectures on the engine, on small inputs where they allow it:
// no node is left to its reference, and a batch gives what its samples give alone.
func TestRun(t *testing.T) {
	for _, a := range All() {
		t.Run(a.Name, func(t *testing.T) {
			if a.Params > 5e7 && !long {
				t.Skip("large")
			}
			if a.Input[1] > 64 && a.Name != "vgg16" {
				var err error
				if a, err = a.With(Options{Classes: 7, Input: []int{3, 64, 96}}); err != nil {
					t.Fatal(err)
				}
			}
			g, err := a.Build(1)
			if err != nil {
				t.Fatal(err)
			}
			p, err := plan.NewProgram(g, plan.Options{})
			if err != nil {
				t.Fatal(err)
			}
			run := func(x *tensor.Tensor) []float32 {
				pl, err := p.Plan(map[string]tensor.Type{"input": x.Type})
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range pl.Nodes() {
					if n.Kernel == "reference" && n.Op != "Slice" && n.Op != "Pad" {
						t.Errorf("node %s (%s) runs on its reference", n.Node, n.Op)
					}
				}
				s, err := pl.NewSession()
				if err != nil {
					t.Fatal(err)
				}
				copy(s.Input("input").Bytes(), x.Bytes())
				if err := s.Run(context.Background()); err != nil {
					t.Fatal(err)
				}
				return slices.Clone(tensor.Of[float32](s.Output("logits")))
			}
			x := optest.Rand(3, tensor.Float32, append([]int{2}, a.Input...)...)
			both := run(x)
			half := tensor.New(tensor.Float32, append([]int{1}, a.Input...)...)
			copy(half.Bytes(), x.Bytes()[len(half.Bytes()):])
			alone := run(half)
			if len(both) != 2*a.Classes || len(alone) != a.Classes {
				t.Fatalf("%d and %d logits", len(both), len(alone))
			}
			lo, hi := slices.Min(both), slices.Max(both)
			if !(lo < hi && hi-lo < 1e4) {
				t.Errorf("logits from %v to %v", lo, hi)
			}
			// Another algorithm of convolution may be the faster one for a batch.
			for i, v := range alone {
				if w := both[a.Classes+i]; !(math.Abs(float64(v-w)) <= 1e-4*float64(hi-lo)) {
					t.Errorf("logit %d: the batch gives %v, the sample alone %v", i, w, v)
				}
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		arch string
		o    Options
		want string // of the error
	}{
		{"resnet20", Options{Classes: 43, Input: []int{1, 28, 28}}, ""},
		{"mobilenet2", Options{Classes: 2, Width: 0.35, Input: []int{3, 96, 96}}, ""},
		{"lenet5", Options{Input: []int{3, 32, 32}}, ""},
		{"resnet18", Options{Width: 2}, "no width"},
		{"mobilenet1", Options{Width: math.NaN()}, "width"},
		{"mobilenet1", Options{Width: 1e9}, "width"},
		{"vgg16", Options{Classes: -1}, "classes"},
		{"vgg16", Options{Input: []int{3, 16, 16}}, "too small"},
		{"squeezenet1.0", Options{Input: []int{3, 4, 224}}, "too small"},
		{"resnet18", Options{Input: []int{3, 1 << 30, 4}}, "sides"},
		{"resnet18", Options{Input: []int{224, 224}}, "[C,H,W]"},
	} {
		a, err := Find(c.arch)
		if err != nil {
			t.Fatal(err)
		}
		a, err = a.With(c.o)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: %v, want %q", c.arch, c.o, err, c.want)
		}
		if err != nil {
			continue
		}
		g, err := a.Build(1)
		if err != nil {
			t.Errorf("%s %+v: %v", c.arch, c.o, err)
			continue
		}
		if macs := macsOf(t, g, a.Input); macs != a.MACs {
			t.Errorf("%s %+v: %d MACs, the builder counts %d", c.arch, c.o, macs, a.MACs)
		}
		if crd, err := card.Parse([]byte(a.Card), nil); err != nil || a.Name != "lenet5" && crd.Channels() != a.Input[0] {
			t.Errorf("%s %+v: its card: %v\n%s", c.arch, c.o, err, a.Card)
		}
	}
}

func TestUnknown(t *testing.T) {
	if _, err := Build("lenet9", 1); err == nil {
		t.Fatal("want an error")
	}
}
