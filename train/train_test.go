package train

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"whit/graph"
	"whit/internal/cpu"
	"whit/internal/optest"
	"whit/op"
	"whit/tensor"
)

// blobs is a dataset of noisy prototypes: one a class.
type blobs struct {
	n, classes int
	shape      []int
	x          []float32
	y          []int32
}

func newBlobs(n, classes int, seed uint64, shape ...int) *blobs {
	d := &blobs{n: n, classes: classes, shape: shape}
	size := tensor.Shape(shape).NumElements()
	proto := rand.New(rand.NewPCG(99, 0)) // the same for every seed
	ps := make([]float32, classes*size)
	for i := range ps {
		ps[i] = float32(proto.NormFloat64())
	}
	r := rand.New(rand.NewPCG(seed, 1))
	for range n {
		c := r.IntN(classes)
		d.y = append(d.y, int32(c))
		for k := range size {
			d.x = append(d.x, ps[c*size+k]+float32(r.NormFloat64()))
		}
	}
	return d
}

func (d *blobs) Len() int     { return d.n }
func (d *blobs) Shape() []int { return d.shape }
func (d *blobs) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	size := tensor.Shape(d.shape).NumElements()
	for i, k := range idx {
		copy(x[i*size:(i+1)*size], d.x[k*size:])
		if y != nil {
			y[i] = d.y[k]
		}
	}
	return nil
}
func (d *blobs) Hash(i int) [32]byte {
	return sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i)))
}

// net builds small models.
type net struct {
	g *graph.Graph
	x *graph.Value
	r *rand.Rand
	d tensor.DType
}

func newNet(seed uint64, d tensor.DType, shape ...int) *net {
	n := &net{g: graph.New("net"), r: rand.New(rand.NewPCG(seed, 2)), d: d}
	n.x = n.g.AddInput("input", d, append([]int{-1}, shape...)...)
	n.x.Decl.Dims[0].Name = "N"
	return n
}

func (n *net) w(name string, dev float64, shape ...int) *graph.Value {
	t := tensor.New(tensor.Float64, shape...)
	for i, s := 0, tensor.Of[float64](t); i < len(s); i++ {
		s[i] = dev * n.r.NormFloat64()
	}
	c := tensor.New(n.d, shape...)
	tensor.Convert(c, t)
	return n.g.NewConst(name, c)
}

func (n *net) add(op string, attrs map[string]any, in ...*graph.Value) *net {
	n.x = n.g.Add("", op, attrs, append([]*graph.Value{n.x}, in...)...)
	return n
}

func (n *net) fc(name string, in, out int) *net {
	return n.add("Gemm", map[string]any{"transB": int64(1)}, n.w(name+".weight", math.Sqrt(2/float64(in)), out, in), n.w(name+".bias", 0.1, out))
}

func (n *net) conv(name string, in, out, k int) *net {
	return n.add("Conv", map[string]any{"kernel_shape": []int64{int64(k), int64(k)}},
		n.w(name+".weight", math.Sqrt(2/float64(in*k*k)), out, in, k, k), n.w(name+".bias", 0.1, out))
}

func (n *net) norm(name string, c int) *net {
	fill := func(s string, v float64) *graph.Value {
		t := tensor.New(tensor.Float64, c)
		for i := range c {
			tensor.Of[float64](t)[i] = v + 0.01*float64(i)
		}
		f := tensor.New(n.d, c)
		tensor.Convert(f, t)
		return n.g.NewConst(name+s, f)
	}
	return n.add("BatchNormalization", map[string]any{"momentum": float32(0.9)}, fill(".scale", 1), fill(".bias", 0), fill(".mean", 0), fill(".var", 1))
}

func (n *net) done() *graph.Graph {
	n.x.Name = "logits"
	n.g.Outputs = []*graph.Value{n.x}
	return n.g
}

// mlp and cnn are the two models of the tests.
func mlp(seed uint64, d tensor.DType) *graph.Graph {
	return newNet(seed, d, 12).fc("fc1", 12, 16).add("Relu", nil).fc("fc2", 16, 4).done()
}

func cnn(seed uint64, d tensor.DType) *graph.Graph {
	n := newNet(seed, d, 2, 8, 8).conv("conv1", 2, 4, 3).norm("bn1", 4).add("Relu", nil)
	n.add("MaxPool", map[string]any{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}).add("Flatten", map[string]any{"axis": int64(1)})
	return n.add("Dropout", nil, n.g.NewConst("ratio", tensor.Scalar(float32(0.25)))).fc("fc1", 36, 4).done()
}

func ExampleRun() {
	g := mlp(1, tensor.Float32)
	Promote(g)
	ds := newBlobs(600, 4, 1, 12)
	if _, err := Run(context.Background(), g, ds, Options{Epochs: 10, Batch: 32, LR: 0.01}); err != nil {
		panic(err)
	}
	Demote(g)
	e, err := Evaluate(context.Background(), g, newBlobs(400, 4, 2, 12), EvalOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println(e.N, e.Error < 0.1)
	// Output: 400 true
}

func TestLearns(t *testing.T) {
	tests := []struct {
		name  string
		g     *graph.Graph
		shape []int
		o     Options
	}{
		{"mlp/adamw", mlp(1, tensor.Float32), []int{12}, Options{LR: 0.01, WeightDecay: 0.01}},
		{"mlp/adam/step", mlp(1, tensor.Float32), []int{12}, Options{Optimizer: "adam", LR: 0.01, Schedule: "step", WeightDecay: 1e-4}},
		{"mlp/sgd/ema", mlp(1, tensor.Float32), []int{12}, Options{Optimizer: "sgd", LR: 0.05, EMA: 0.98, Schedule: "constant"}},
		{"mlp/nesterov", mlp(1, tensor.Float32), []int{12}, Options{Optimizer: "sgd", Nesterov: true, LR: 0.05, L1: 1e-5, L2: 1e-4, Warmup: 0.1, LabelSmoothing: 0.1}},
		{"mlp/plain sgd", mlp(1, tensor.Float32), []int{12}, Options{Optimizer: "sgd", Momentum: -1, LR: 0.3, DropLast: true}},
		{"cnn", cnn(1, tensor.Float32), []int{2, 8, 8}, Options{LR: 0.01, Augment: "cutout2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			Promote(tt.g)
			train, test := newBlobs(500, 4, 1, tt.shape...), newBlobs(400, 4, 2, tt.shape...)
			before, err := Evaluate(context.Background(), tt.g, test, EvalOptions{})
			if err != nil {
				t.Fatal(err)
			}
			o := tt.o
			o.Epochs, o.Batch, o.Seed = 8, 32, 3
			events := 0
			o.Validate = test
			var last Event
			o.Progress = func(e Event) {
				if e.EpochEnd {
					events++
				}
				last = e
			}
			r, err := Run(context.Background(), tt.g, train, o)
			if err != nil {
				t.Fatal(err)
			}
			after, err := Evaluate(context.Background(), tt.g, test, EvalOptions{Batch: 77, Logits: true})
			if err != nil {
				t.Fatal(err)
			}
			if before.Error < 0.4 || after.Error > 0.1 || after.Loss > 0.5 {
				t.Errorf("error %.3f before, %.3f after, loss %.3f", before.Error, after.Error, after.Loss)
			}
			if events != 8 || last.Val == nil || last.Val.Error != after.Error || r.Epochs != 8 || len(after.Logits) != 1600 || len(after.Correct) != 400 {
				t.Errorf("%d events, last %+v, result %+v", events, last, r)
			}
		})
	}
}

// TestNetworkGradients compares the gradients of whole networks, in float64, with
// central differences.
func TestNetworkGradients(t *testing.T) {
	tests := []struct {
		name  string
		make  func(uint64, tensor.DType) *graph.Graph
		shape []int
	}{
		{"mlp", mlp, []int{5, 12}},
		{"cnn", cnn, []int{5, 2, 8, 8}},
		{"shared", shared, []int{5, 12}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			feeds := map[string]*tensor.Tensor{"input": optest.Rand(3, tensor.Float64, tt.shape...), nameStep: tensor.Scalar(int64(4))}
			prepare := func() (*graph.Graph, []*graph.Value, *graph.Value) {
				g := tt.make(7, tensor.Float64)
				for _, v := range g.Values() {
					switch {
					case v.Kind != graph.Const || v.Type.DType != tensor.Float64:
					case v.Name == "bn1.mean" || v.Name == "bn1.var":
						v.Kind = graph.State
					default:
						v.Kind = graph.Param
					}
				}
				trainNorms(g)
				trainDropouts(g, 1)
				labels := g.NewConst("labels", tensor.From([]int32{0, 1, 2, 3, 1}, 5))
				loss := g.Add(graph.Domain, "SoftmaxXent", map[string]any{"smoothing": float32(0.1)}, g.Outputs[0], labels)
				g.Outputs = []*graph.Value{loss}
				for _, v := range g.Inputs {
					v.Type = feeds[v.Name].Type
				}
				inferTypes(g)
				var ps []*graph.Value
				for _, v := range g.Values() {
					if v.Kind == graph.Param {
						ps = append(ps, v)
					}
				}
				return g, ps, loss
			}
			f, params, _ := prepare()
			loss := func() float64 {
				y, err := optest.Eval(f, feeds)
				if err != nil {
					t.Fatal(err)
				}
				return tensor.Of[float64](y[0])[0]
			}
			g, gps, l := prepare()
			grads, err := Gradients(g, l, gps)
			if err != nil {
				t.Fatal(err)
			}
			g.Outputs = grads
			if err := g.Verify(); err != nil {
				t.Fatal(err)
			}
			got, err := optest.Eval(g, feeds)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range params {
				x, d := tensor.Of[float64](p.Data), tensor.Of[float64](got[i])
				for k := 0; k < len(x); k += 1 + len(x)/12 {
					const eps = 1e-6
					old := x[k]
					x[k] = old + eps
					up := loss()
					x[k] = old - eps
					down := loss()
					x[k] = old
					if want := (up - down) / (2 * eps); math.Abs(want-d[k]) > 1e-6 {
						t.Errorf("%s[%d]: gradient %g, finite difference %g", p.Name, k, d[k], want)
					}
				}
			}
		})
	}
}

// shared reads one weight and one activation several times.
func shared(seed uint64, d tensor.DType) *graph.Graph {
	n := newNet(seed, d, 12).fc("fc1", 12, 12)
	w := n.w("w", 0.3, 12, 12)
	a := n.x
	b := n.add("Gemm", nil, w).add("Relu", nil).x
	c := n.add("Gemm", nil, w).x
	n.x = n.g.Add("", "Add", nil, n.g.Add("", "Add", nil, a, b), n.g.Add("", "Mul", nil, c, a))
	return n.fc("fc2", 12, 4).done()
}

// result trains and gives all variables' bytes and the model's.
func result(t *testing.T, make func(uint64, tensor.DType) *graph.Graph, ds Dataset, o Options) []byte {
	t.Helper()
	g := make(1, tensor.Float32)
	Promote(g)
	if _, err := Run(context.Background(), g, ds, o); err != nil {
		t.Fatal(err)
	}
	return modelBytes(g)
}

func modelBytes(g *graph.Graph) []byte {
	var b []byte
	for _, v := range g.Values() {
		if v.Data != nil {
			b = append(append(b, v.Name...), v.Data.Bytes()...)
		}
	}
	return b
}

func TestThreadsDoNotShow(t *testing.T) {
	ds := newBlobs(150, 4, 1, 2, 8, 8)
	o := Options{Epochs: 2, Batch: 32, Seed: 5, Augment: "shift1,rotate10,scale10,flip", EMA: 0.9}
	o.Threads = 1
	want := result(t, cnn, ds, o)
	for _, n := range []int{2, 3, 16} {
		o.Threads = n
		if !bytes.Equal(result(t, cnn, ds, o), want) {
			t.Errorf("%d threads give other bytes than one", n)
		}
	}
	o.Seed = 6
	if bytes.Equal(result(t, cnn, ds, o), want) {
		t.Error("another seed gives the same bytes")
	}
}

// TestVariantsDoNotShow: AVX2 and AVX-512 give the same bytes, and portable Go gives
// a network that is about the same.
func TestVariantsDoNotShow(t *testing.T) {
	ds := newBlobs(150, 4, 1, 2, 8, 8)
	o := Options{Epochs: 1, Batch: 32, Seed: 5, LR: 1e-3}
	var first []byte
	for _, f := range cpu.Detect().Variants() {
		if f == (cpu.Features{}) {
			continue
		}
		o.CPU = &f
		b := result(t, cnn, ds, o)
		if first != nil && !bytes.Equal(b, first) {
			t.Errorf("%v gives other bytes", f)
		}
		first = b
	}
	losses := func(f *cpu.Features) []float64 {
		o.CPU = f
		g := cnn(1, tensor.Float32)
		Promote(g)
		tr, err := New(g, ds, o)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		var l []float64
		for !tr.Done() {
			s, err := tr.Step(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			l = append(l, s.Loss)
		}
		return l
	}
	a, b := losses(nil), losses(&cpu.Features{})
	for i := range a {
		if math.Abs(a[i]-b[i]) > 1e-4*a[i] {
			t.Errorf("step %d: loss %v, in portable Go %v", i, a[i], b[i])
		}
	}
}

// TestResume interrupts training at random steps, through the context and by
// leaving off after a checkpoint, and wants the bytes of an undisturbed run.
func TestResume(t *testing.T) {
	ds := newBlobs(150, 4, 1, 2, 8, 8)
	o := Options{Epochs: 3, Batch: 32, Seed: 5, Augment: "shift1", EMA: 0.9}
	want := result(t, cnn, ds, o)
	r := rand.New(rand.NewPCG(1, 1))
	for trial := range 4 {
		o.Checkpoint = filepath.Join(t.TempDir(), "ck")
		o.CheckpointSteps = 1 + trial%3
		o.Resume = true
		g := cnn(1, tensor.Float32)
		Promote(g)
		for tries := 0; ; tries++ {
			if tries > 50 {
				t.Fatal("never done")
			}
			tr, err := New(g, ds, o)
			if err != nil {
				t.Fatal(err)
			}
			if tries > 0 {
				if err := tr.Load(o.Checkpoint); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(context.Background())
			for left := r.IntN(5); !tr.Done(); left-- {
				if left == 0 {
					cancel()
				}
				e, err := one(tr, ctx)
				if errors.Is(err, context.Canceled) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				_ = e
			}
			cancel()
			tr.Close()
			if tr.Done() {
				break
			}
		}
		// The file says that all is done: Run only has to write.
		if _, err := Run(context.Background(), g, ds, o); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(modelBytes(g), want) {
			t.Errorf("trial %d: an interrupted run gives other bytes", trial)
		}
	}
	o.Seed++
	g := cnn(1, tensor.Float32)
	Promote(g)
	if _, err := Run(context.Background(), g, ds, o); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("another seed resumes: %v", err)
	}
}

// one trains one step as Epoch does: it saves where the context ends.
func one(t *Trainer, ctx context.Context) (Step, error) {
	s, err := t.Step(ctx)
	if err != nil && ctx.Err() != nil {
		if e := t.Save(t.opt.Checkpoint); e != nil {
			return s, e
		}
	}
	if err == nil && t.Done() {
		return s, t.Save(t.opt.Checkpoint)
	}
	return s, err
}

func TestCancelledRunSaves(t *testing.T) {
	ds := newBlobs(150, 4, 1, 12)
	o := Options{Epochs: 3, Batch: 32, Checkpoint: filepath.Join(t.TempDir(), "ck"), Resume: true}
	want := result(t, mlp, ds, Options{Epochs: 3, Batch: 32})
	g := mlp(1, tensor.Float32)
	Promote(g)
	ctx, cancel := context.WithCancel(context.Background())
	o.Progress = func(e Event) {
		if e.Epoch == 1 {
			cancel()
		}
	}
	if _, err := Run(ctx, g, ds, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	o.Progress = nil
	if _, err := Run(context.Background(), g, ds, o); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(modelBytes(g), want) {
		t.Error("a resumed run gives other bytes")
	}
}

func TestSnapshotRestore(t *testing.T) {
	ds := newBlobs(150, 4, 1, 12)
	g := mlp(1, tensor.Float32)
	Promote(g)
	tr, err := New(g, ds, Options{Epochs: 4, Batch: 32, LRMult: map[string]float64{"fc1.bias": 0, "fc2.weight": 0.5}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	ctx := context.Background()
	if _, err := tr.Epoch(ctx); err != nil {
		t.Fatal(err)
	}
	s := tr.Snapshot()
	run := func() []byte {
		for !tr.Done() {
			if _, err := tr.Epoch(ctx); err != nil {
				t.Fatal(err)
			}
		}
		m, err := tr.Model()
		if err != nil {
			t.Fatal(err)
		}
		return modelBytes(m)
	}
	a := run()
	if err := tr.Restore(s); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, run()) {
		t.Error("after Restore training goes elsewhere")
	}
	m, _ := tr.Model()
	if !bytes.Equal(m.Find("fc1.bias").Data.Bytes(), g.Find("fc1.bias").Data.Bytes()) {
		t.Error("a frozen param changed")
	}
	if n := tr.Adopt(s); n != len(s.vars) {
		t.Errorf("adopted %d of %d", n, len(s.vars))
	}
	o, err := New(g, ds, Options{Epochs: 5, Batch: 32})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Restore(s); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("a snapshot under other options: %v", err)
	}
}

func TestExtraLossAndMask(t *testing.T) {
	ds := newBlobs(200, 4, 1, 12)
	g := mlp(1, tensor.Float32)
	Promote(g)
	w := g.Find("fc1.weight")
	mask := tensor.New(tensor.Float32, 16, 12)
	for i := range 16 * 12 {
		tensor.Of[float32](mask)[i] = float32(i % 2)
	}
	n := g.NewNode("", "Mul", nil, 1, w, g.NewConst("mask", mask))
	reader := g.Nodes[0]
	g.Before(reader, n)
	reader.In[1] = n.Out[0]
	called := false
	o := Options{Epochs: 2, Batch: 32, ExtraID: "b2", Extra: func(l Loss) (*graph.Value, error) {
		called = true
		b := l.Params["fc2.bias"]
		return l.Graph.Add("", "ReduceSum", map[string]any{"keepdims": int64(0)}, l.Graph.Add("", "Mul", nil, b, b)), nil
	}}
	before := w.Data.Clone()
	if _, err := Run(context.Background(), g, ds, o); err != nil {
		t.Fatal(err)
	}
	changed := 0
	for i, v := range tensor.Of[float32](w.Data) {
		if same := v == tensor.Of[float32](before)[i]; !same {
			changed++
			if i%2 == 0 {
				t.Fatalf("masked weight %d changed", i)
			}
		}
	}
	if changed < 80 || !called {
		t.Errorf("%d weights changed", changed)
	}
	if bytes.Equal(g.Find("mask").Data.Bytes(), nil) || g.Find("mask").Kind != graph.Const {
		t.Error("the mask is no constant any more")
	}
}

func TestPromote(t *testing.T) {
	g := cnn(1, tensor.Float32)
	Promote(g)
	want := map[string]graph.Kind{
		"conv1.weight": graph.Param, "conv1.bias": graph.Param, "bn1.scale": graph.Param, "bn1.bias": graph.Param,
		"bn1.mean": graph.State, "bn1.var": graph.State, "ratio": graph.Const, "fc1.weight": graph.Param, "fc1.bias": graph.Param,
	}
	for name, k := range want {
		if v := g.Find(name); v.Kind != k {
			t.Errorf("%s is a %v, want %v", name, v.Kind, k)
		}
	}
	Demote(g)
	for name := range want {
		if v := g.Find(name); v.Kind != graph.Const {
			t.Errorf("%s is a %v after Demote", name, v.Kind)
		}
	}
}

func TestErrors(t *testing.T) {
	ds := newBlobs(20, 4, 1, 12)
	ctx := context.Background()
	check := func(name string, g *graph.Graph, ds Dataset, o Options, want error) {
		t.Run(name, func(t *testing.T) {
			_, err := Run(ctx, g, ds, o)
			if err == nil || want != nil && !errors.Is(err, want) {
				t.Errorf("error %v, want %v", err, want)
			}
		})
	}
	m := func() *graph.Graph { g := mlp(1, tensor.Float32); Promote(g); return g }
	check("no params", mlp(1, tensor.Float32), ds, Options{}, ErrNoGradient)
	check("empty", m(), newBlobs(0, 4, 1, 12), Options{}, nil)
	check("shape", m(), newBlobs(20, 4, 1, 13), Options{}, op.ErrType)
	check("classes", m(), newBlobs(200, 9, 1, 12), Options{}, op.ErrType)
	check("optimizer", m(), ds, Options{Optimizer: "lion"}, ErrOptions)
	check("schedule", m(), ds, Options{Schedule: "exp"}, ErrOptions)
	check("lr", m(), ds, Options{LR: math.NaN()}, ErrOptions)
	check("augment", m(), ds, Options{Augment: "shift"}, ErrOptions)
	check("lr_mult", m(), ds, Options{LRMult: map[string]float64{"fc9": 1}}, ErrOptions)
	check("diverges", m(), ds, Options{Optimizer: "sgd", LR: 1000, Epochs: 50}, nil)
	g := m()
	n := g.NewNode("", "Round", nil, 1, g.Outputs[0])
	g.Nodes = append(g.Nodes, n)
	g.Outputs[0] = n.Out[0]
	if op.Of(n) != nil && op.Of(n).VJP == nil {
		check("gradient", g, ds, Options{}, ErrNoGradient)
	}
}

func TestEvaluateUnlabelled(t *testing.T) {
	ds := newBlobs(20, 4, 1, 12)
	for i := range 5 {
		ds.y[i] = -1
	}
	e, err := Evaluate(context.Background(), mlp(1, tensor.Float32), ds, EvalOptions{Batch: 3})
	if err != nil || e.N != 15 {
		t.Fatalf("%+v, %v", e, err)
	}
}

// TestTargets holds that teachers' decisions are kept where the versions of images are counted, that this changes
// nothing but rounding, and that a run that is resumed gives the same bytes.
func TestTargets(t *testing.T) {
	ctx := context.Background()
	ds := newBlobs(70, 4, 1, 1, 6, 6) // the last batch is smaller
	net := func(seed uint64) *graph.Graph {
		return newNet(seed, tensor.Float32, 1, 6, 6).add("Flatten", nil).fc("fc", 36, 4).done()
	}
	g := net(1)
	Promote(g)
	teacher := net(7)
	for _, o := range []Options{
		{Epochs: 5},
		{Epochs: 5, Augment: "shift1", Views: 2},
	} {
		t.Run(fmt.Sprint(o.Views), func(t *testing.T) {
			o.Batch, o.Distill, o.Temperature, o.Teachers = 16, 0.7, 2, []*graph.Graph{teacher, net(8)}
			kept, err := New(g, ds, o)
			if err != nil {
				t.Fatal(err)
			}
			if kept.targets.prog != nil {
				t.Fatal("no decisions are kept")
			}
			live, err := New(g, ds, o)
			if err != nil {
				t.Fatal(err)
			}
			if live.targets, err = newTargets(ds.Shape(), 1<<40, 4, &live.opt); err != nil {
				t.Fatal(err)
			}
			if live.targets.prog == nil {
				t.Fatal("the decisions on 2^40 samples are kept")
			}
			for !kept.Done() {
				a, err := kept.Step(ctx)
				if err != nil {
					t.Fatal(err)
				}
				b, err := live.Step(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if math.Abs(a.Loss-b.Loss) > 1e-4*b.Loss {
					t.Fatalf("loss %v with decisions that are kept, %v without", a.Loss, b.Loss)
				}
			}
			first, err := New(g, ds, o)
			if err != nil {
				t.Fatal(err)
			}
			for range 17 {
				if _, err := first.Step(ctx); err != nil {
					t.Fatal(err)
				}
			}
			second, err := New(g, ds, o)
			if err != nil {
				t.Fatal(err)
			}
			if err := second.Restore(first.Snapshot()); err != nil {
				t.Fatal(err)
			}
			for !second.Done() {
				if _, err := second.Step(ctx); err != nil {
					t.Fatal(err)
				}
			}
			for _, p := range kept.Params() {
				if !bytes.Equal(second.Var(p).Bytes(), kept.Var(p).Bytes()) {
					t.Errorf("a resumed run gives another %s", p)
				}
			}
		})
	}
}

// TestMimicry holds that values within the model come close to those of another, which is part of a checkpoint's identity.
func TestMimicry(t *testing.T) {
	teacher, g := mlp(3, tensor.Float32), mlp(1, tensor.Float32)
	Promote(g)
	ds := newBlobs(64, 4, 1, 12)
	value := g.Nodes[0].Out[0].Name
	off := func(g *graph.Graph) (sum float64) {
		var got [2][]float32
		for i, m := range []*graph.Graph{g, teacher} {
			c, _ := m.Clone()
			c.Outputs = []*graph.Value{c.Find(value)}
			e, err := Evaluate(context.Background(), c, ds, EvalOptions{Logits: true})
			if err != nil {
				t.Fatal(err)
			}
			got[i] = e.Logits
		}
		for i, x := range got[0] {
			sum += float64((x - got[1][i]) * (x - got[1][i]))
		}
		return sum
	}
	m := &Mimic{Weight: 10, Of: teacher, Hints: []Hint{{Value: value}}}
	o := Options{Epochs: 60, Batch: 16, LR: 0.01, Mimic: m}
	c, _ := g.Clone()
	if _, err := Run(context.Background(), c, ds, o); err != nil {
		t.Fatal(err)
	}
	if before, after := off(g), off(c); after > before/10 {
		t.Errorf("off by %v, before %v", after, before)
	}
	a, err := New(g, ds, o)
	if err != nil {
		t.Fatal(err)
	}
	m.Of = mlp(4, tensor.Float32)
	b, err := New(g, ds, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(a.Snapshot()); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("got %v, want %v", err, ErrCheckpoint)
	}
	for name, m := range map[string]*Mimic{
		"nothing":       {Weight: 1, Of: teacher},
		"no model":      {Weight: 1, Hints: m.Hints},
		"no weight":     {Of: teacher, Hints: m.Hints},
		"no such value": {Weight: 1, Of: teacher, Hints: []Hint{{Value: "zz"}}},
		"other shape":   {Weight: 1, Of: teacher, Hints: []Hint{{Value: value, Channels: []int{0, 1}, Axis: 1}}},
		"beyond":        {Weight: 1, Of: teacher, Hints: []Hint{{Value: value, Channels: []int{0, 999}, Axis: 1}}},
	} {
		if _, err := New(g, ds, Options{Mimic: m}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestSoft holds that runs which share what teachers said give the bytes that they give alone, that it is asked for but once, and that
// what other teachers said, or about other versions, is not taken for it.
func TestSoft(t *testing.T) {
	ctx := context.Background()
	ds := newBlobs(70, 4, 1, 1, 6, 6)
	net := func(seed uint64) *graph.Graph {
		return newNet(seed, tensor.Float32, 1, 6, 6).add("Flatten", nil).fc("fc", 36, 4).done()
	}
	run := func(o Options, soft *Soft) []byte {
		g := net(1)
		Promote(g)
		o.Epochs, o.Batch, o.Distill, o.Temperature, o.Views, o.Soft = 3, 16, 0.7, 2, 2, soft
		if _, err := Run(ctx, g, ds, o); err != nil {
			t.Fatal(err)
		}
		var b []byte
		for _, v := range g.Values() {
			if x := v.Tensor(); x != nil {
				b = append(b, x.Bytes()...)
			}
		}
		return b
	}
	o := Options{Augment: "shift1", Teachers: []*graph.Graph{net(7)}}
	var soft Soft
	alone := run(o, nil)
	for range 2 {
		if !bytes.Equal(run(o, &soft), alone) {
			t.Fatal("other bytes with decisions that are shared")
		}
	}
	for _, v := range soft.by {
		clear(v)
	}
	if bytes.Equal(run(o, &soft), alone) {
		t.Error("the teacher was asked again")
	}
	for name, change := range map[string]func(o *Options){
		"another teacher":      func(o *Options) { o.Teachers = []*graph.Graph{net(8)} },
		"another seed":         func(o *Options) { o.Seed = 5 },
		"another augmentation": func(o *Options) { o.Augment = "shift2" },
		"no augmentation":      func(o *Options) { o.Augment = "" },
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			change(&o)
			if !bytes.Equal(run(o, &soft), run(o, nil)) {
				t.Error("other bytes with decisions that are shared")
			}
		})
	}
}

// TestDistillation holds that a student comes to decide as its teacher, and that teachers are part of a checkpoint's identity.
func TestDistillation(t *testing.T) {
	teacher := mlp(3, tensor.Float32)
	g := mlp(1, tensor.Float32)
	Promote(g)
	ds := newBlobs(64, 4, 1, 12)
	agree := func(g *graph.Graph) float64 {
		same := 0
		a, err := Evaluate(context.Background(), g, ds, EvalOptions{Logits: true})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Evaluate(context.Background(), teacher, ds, EvalOptions{Logits: true})
		if err != nil {
			t.Fatal(err)
		}
		for i := range ds.Len() {
			if Argmax(a.Logits[4*i:4*i+4]) == Argmax(b.Logits[4*i:4*i+4]) {
				same++
			}
		}
		return float64(same) / float64(ds.Len())
	}
	o := Options{Epochs: 60, Batch: 16, LR: 0.01, Distill: 1, Temperature: 2, Teachers: []*graph.Graph{teacher, mlp(3, tensor.Float32)}}
	before := agree(g)
	c, _ := g.Clone()
	if _, err := Run(context.Background(), c, ds, o); err != nil {
		t.Fatal(err)
	}
	// The teacher is not trained itself: its decisions have nothing to do with the labels.
	if after := agree(c); after < 0.95 || before > 0.6 {
		t.Errorf("agreement with the teacher %.2f, before %.2f", after, before)
	}
	// Labels are not needed.
	c, _ = g.Clone()
	bare := *ds
	bare.y = slices.Repeat([]int32{-1}, ds.n)
	if _, err := Run(context.Background(), c, &bare, o); err != nil {
		t.Fatal(err)
	}
	if after := agree(c); after < 0.95 {
		t.Errorf("agreement with the teacher %.2f without labels", after)
	}
	a, err := New(g, ds, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Teachers = []*graph.Graph{mlp(4, tensor.Float32), teacher}
	b, err := New(g, ds, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(a.Snapshot()); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("got %v, want %v", err, ErrCheckpoint)
	}
	for name, o := range map[string]Options{
		"no teacher": {Distill: 0.5},
		"too much":   {Distill: 1.5, Teachers: []*graph.Graph{teacher}},
	} {
		if _, err := New(g, ds, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: got %v, want %v", name, err, ErrOptions)
		}
	}
	if _, err := New(g, ds, Options{Distill: 0.5, Teachers: []*graph.Graph{newNet(1, tensor.Float32, 12).fc("fc1", 12, 3).done()}}); err == nil {
		t.Error("a teacher of other logits was taken")
	}
}
