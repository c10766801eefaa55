package zoo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"whit/graph"
	"whit/tensor"
)

// Arch is an architecture of the zoo.
type Arch struct {
	// Name is what Build and the command line call it.
	Name string
	// About is one line: layers and source.
	About string
	// Input is the shape of one sample, [C,H,W].
	Input []int
	// Classes is the number of logits.
	Classes int
	// Width is the factor on the channels that a paper calls the width multiplier; 0
	// where the architecture has none.
	Width float64
	// Params is the number of trainable values.
	Params int
	// MACs is the number of multiply-accumulates of one sample's convolutions and
	// fully connected layers.
	MACs int64
	// Card is the model card as YAML, for networks trained on the architecture's
	// usual dataset.
	Card string

	card  func(in []int) string // the card for another input
	build func(b *builder, a Arch) *graph.Value
}

// Options change an architecture. What is zero stays.
type Options struct {
	Classes int     // logits
	Width   float64 // factor on the channels, of architectures that have one
	Input   []int   // the shape of one sample, [C,H,W]
}

// Limits of Options: what a network of today could want, far below what overflows.
const (
	maxClasses = 1 << 20
	maxWidth   = 16
	maxSide    = 1 << 13
)

var archs = []Arch{
	lenet300, lenet5, vggS, resnet20, squeezenet10, squeezenet11, shufflenet1, shufflenet2, mobilenet1, mobilenet2,
	resnet18, resnet50, vgg16,
}

// All lists the architectures in a fixed order.
func All() []Arch { return append([]Arch{}, archs...) }

// Names lists the architectures' names in the order of All.
func Names() []string {
	var names []string
	for _, a := range archs {
		names = append(names, a.Name)
	}
	return names
}

// Find is the architecture of that name; the error lists the names that exist.
func Find(name string) (Arch, error) {
	for _, a := range archs {
		if a.Name == name {
			return a, nil
		}
	}
	return Arch{}, fmt.Errorf("unknown architecture %q, want one of %s", name, strings.Join(Names(), " "))
}

// With is the architecture with other classes, width or input; Params, MACs and Card
// follow. The card of another input keeps the proportions.
func (a Arch) With(o Options) (Arch, error) {
	if o.Classes != 0 {
		if o.Classes < 1 || o.Classes > maxClasses {
			return a, fmt.Errorf("%s: %d classes, want 1 to %d", a.Name, o.Classes, maxClasses)
		}
		a.Classes = o.Classes
	}
	if o.Width != 0 {
		switch {
		case a.Width == 0:
			return a, fmt.Errorf("%s has no width multiplier", a.Name)
		case !(o.Width > 0 && o.Width <= maxWidth):
			return a, fmt.Errorf("%s: width %v, want more than 0, at most %d", a.Name, o.Width, maxWidth)
		}
		a.Width = o.Width
	}
	if o.Input != nil {
		if len(o.Input) != 3 {
			return a, fmt.Errorf("%s: input %v, want [C,H,W]", a.Name, o.Input)
		}
		for _, d := range o.Input {
			if d < 1 || d > maxSide {
				return a, fmt.Errorf("%s: input %v, want sides of 1 to %d", a.Name, o.Input, maxSide)
			}
		}
		a.Input = slices.Clone(o.Input)
		if a.card != nil {
			a.Card = a.card(a.Input)
		}
	}
	b := a.builder(0)
	b.dry = true
	if a.build(b, a); b.err != nil {
		return a, fmt.Errorf("%s: %w", a.Name, b.err)
	}
	a.Params, a.MACs = b.params, b.macs
	return a, nil
}

// Build makes the model graph of the named architecture. The same seed gives the
// same bytes on every CPU.
func Build(name string, seed uint64) (*graph.Graph, error) {
	a, err := Find(name)
	if err != nil {
		return nil, err
	}
	return a.Build(seed)
}

// Build makes the architecture's model graph: weights are constants, drawn from
// the seed.
func (a Arch) Build(seed uint64) (*graph.Graph, error) {
	b := a.builder(seed)
	y := a.build(b, a)
	if b.err != nil {
		return nil, fmt.Errorf("zoo %s: %w", a.Name, b.err)
	}
	y.Name = "logits"
	y.Decl = graph.Decl{DType: tensor.Float32, Ranked: true, Dims: []graph.Dim{{Size: -1, Name: "N"}, {Size: a.Classes}}}
	b.g.Outputs = []*graph.Value{y}
	b.g.Meta = map[string]string{"whit.arch": a.Name, "whit.card": a.Card}
	if err := b.g.Verify(); err != nil {
		return nil, fmt.Errorf("zoo %s: %w", a.Name, err)
	}
	return b.g, nil
}

func (a Arch) builder(seed uint64) *builder {
	b := &builder{g: graph.New(a.Name), seed: seed, c: a.Input[0], h: a.Input[1], w: a.Input[2]}
	b.x = b.g.AddInput("input", tensor.Float32, append([]int{-1}, a.Input...)...)
	b.x.Decl.Dims[0].Name = "N"
	return b
}

// builder appends layers; x is the value so far, [N,c,h,w], or [N,c] when h is 0.
type builder struct {
	g       *graph.Graph
	x       *graph.Value
	c, h, w int
	seed    uint64
	draw    uint64 // tensors drawn so far: the stream of the next one
	params  int    // trainable values so far
	macs    int64  // multiply-accumulates so far, of one sample
	dry     bool   // count only: weights are empty
	given   *given // trained weights instead of drawn ones; nil: draw
	err     error  // the first; layers after it mean nothing
}

// gain is the variance of a layer's weights times its fan.
type gain int

const (
	he     gain = iota // a ReLU follows: limit sqrt(6/in)
	glorot             // limit sqrt(6/(in+out))
)

// uniform draws a weight in (-limit, limit). Each tensor has its own stream.
func (b *builder) uniform(name string, k gain, in, out int, shape ...int) *graph.Value {
	n := tensor.Shape(shape).NumElements()
	b.params += n
	b.draw++
	if b.given != nil {
		return b.given.value(b.g, name, shape...)
	}
	if b.dry || b.err != nil {
		return b.g.NewConst(name, tensor.New(tensor.Float32, 0))
	}
	limit := math.Sqrt(6 / float64(in))
	if k == glorot {
		limit = math.Sqrt(6 / float64(in+out))
	}
	r := rand.New(rand.NewPCG(b.seed, b.draw))
	t := tensor.New(tensor.Float32, shape...)
	w := tensor.Of[float32](t)
	for i := range w {
		w[i] = float32(limit * float64(2*r.Float64()-1))
	}
	return b.g.NewConst(name, t)
}

// fill is a vector of n equal values, trainable.
func (b *builder) fill(name string, n int, v float32) *graph.Value {
	b.params += n
	if b.given != nil {
		return b.given.value(b.g, name, n)
	}
	return b.stat(name, n, v)
}

// stat is a vector of n equal values that is not trained.
func (b *builder) stat(name string, n int, v float32) *graph.Value {
	t := tensor.New(tensor.Float32, n)
	if v != 0 {
		w := tensor.Of[float32](t)
		for i := range w {
			w[i] = v
		}
	}
	return b.g.NewConst(name, t)
}

// node appends a node of one output, called by the layer's name, and moves on to
// its output.
func (b *builder) node(name, op string, attrs map[string]any, in ...*graph.Value) {
	b.x = b.g.Add("", op, attrs, in...)
	b.x.Producer.Name, b.x.Name = name, name
}

// window is a square window of a convolution or pool.
type window struct {
	k, stride, pad int
	group          int  // of convolutions; 0: 1
	ceil           bool // of pools: the last window may hang over
}

func (w window) attrs() map[string]any {
	k, s, p := int64(w.k), int64(w.stride), int64(w.pad)
	return map[string]any{"kernel_shape": []int64{k, k}, "strides": []int64{s, s}, "pads": []int64{p, p, p, p}}
}

// slide moves h and w to what the window leaves of them.
func (b *builder) slide(name string, w window) {
	h, wd := b.h+2*w.pad-w.k, b.w+2*w.pad-w.k
	if h < 0 || wd < 0 {
		if b.err == nil {
			b.err = fmt.Errorf("layer %s: nothing is left of the input for a window of %d: the input is too small", name, w.k)
		}
		return
	}
	if w.ceil {
		h, wd = h+w.stride-1, wd+w.stride-1
	}
	b.h, b.w = h/w.stride+1, wd/w.stride+1
}

// convolve is a convolution to out channels, with a bias or without.
func (b *builder) convolve(name string, out int, w window, g gain, bias bool) {
	group := max(1, w.group)
	fan := b.c / group * w.k * w.k
	in := []*graph.Value{b.x, b.uniform(name+".weight", g, fan, out/group*w.k*w.k, out, b.c/group, w.k, w.k)}
	if bias {
		in = append(in, b.fill(name+".bias", out, 0))
	}
	a := w.attrs()
	a["dilations"], a["group"] = []int64{1, 1}, int64(group)
	b.node(name, "Conv", a, in...)
	b.slide(name, w)
	b.c = out
	b.macs += int64(out) * int64(fan) * int64(b.h) * int64(b.w)
}

// conv is a convolution with bias, stride 1, no padding: k x k to out channels.
func (b *builder) conv(name string, out, k int, g gain) {
	b.convolve(name, out, window{k: k, stride: 1}, g, true)
}

// norm is a BatchNormalization that starts as the identity of normalised channels.
func (b *builder) norm(name string) {
	b.node(name, "BatchNormalization", map[string]any{"epsilon": float32(1e-5), "momentum": float32(0.9)}, b.x,
		b.fill(name+".scale", b.c, 1), b.fill(name+".bias", b.c, 0), b.stat(name+".mean", b.c, 0), b.stat(name+".var", b.c, 1))
}

// convBN is a convolution without bias and a norm: NAME.conv, NAME.bn.
func (b *builder) convBN(name string, out int, w window, g gain) {
	b.convolve(name+".conv", out, w, g, false)
	b.norm(name + ".bn")
}

// maxpool is a k x k pool of stride k.
func (b *builder) maxpool(name string, k int) {
	b.node(name, "MaxPool", map[string]any{
		"kernel_shape": []int64{int64(k), int64(k)}, "strides": []int64{int64(k), int64(k)},
	}, b.x)
	b.slide(name, window{k: k, stride: k})
}

// pool is a MaxPool or AveragePool; padding counts in the average.
func (b *builder) pool(name, op string, w window) {
	a := w.attrs()
	if w.ceil {
		a["ceil_mode"] = int64(1)
	}
	if op == "AveragePool" {
		a["count_include_pad"] = int64(1)
	}
	b.node(name, op, a, b.x)
	b.slide(name, w)
}

// global averages every channel: [N,c].
func (b *builder) global(name string) {
	b.node(name, "GlobalAveragePool", nil, b.x)
	b.h, b.w = 1, 1
	b.flatten("flatten")
}

// fc is a fully connected layer with bias; its weight is [out,in].
func (b *builder) fc(name string, out int, g gain) {
	b.node(name, "Gemm", map[string]any{"alpha": float32(1), "beta": float32(1), "transA": int64(0), "transB": int64(1)},
		b.x, b.uniform(name+".weight", g, b.c, out, out, b.c), b.fill(name+".bias", out, 0))
	b.macs += int64(b.c) * int64(out)
	b.c = out
}

func (b *builder) relu(name string) { b.node(name, "Relu", nil, b.x) }

// relu6 is min(max(x, 0), 6).
func (b *builder) relu6(name string) {
	b.node(name, "Clip", nil, b.x, b.scalar(name+".min", 0), b.scalar(name+".max", 6))
}

func (b *builder) scalar(name string, v float32) *graph.Value {
	return b.g.NewConst(name, tensor.Scalar(v))
}

// dropout does nothing but in training.
func (b *builder) dropout(name string, ratio float32) {
	b.node(name, "Dropout", nil, b.x, b.scalar(name+".ratio", ratio))
}

func (b *builder) flatten(name string) {
	b.node(name, "Flatten", map[string]any{"axis": int64(1)}, b.x)
	b.c, b.h, b.w = b.c*max(1, b.h)*max(1, b.w), 0, 0
}

// add sums the value so far and y.
func (b *builder) add(name string, y *graph.Value) { b.node(name, "Add", nil, b.x, y) }

// concat joins the channels of x, which has c of them, and of the value so far.
func (b *builder) concat(name string, x *graph.Value, c int) {
	b.node(name, "Concat", map[string]any{"axis": int64(1)}, x, b.x)
	b.c += c
}

// shuffle mixes the channels of g groups: channel i of group j becomes j of i.
func (b *builder) shuffle(name string, g int) {
	shape := func(suffix string, d ...int) *graph.Value {
		s := []int64{0} // the batch, as it is
		for _, n := range d {
			s = append(s, int64(n))
		}
		return b.g.NewConst(name+suffix, tensor.Ints(s...))
	}
	b.node(name+".split", "Reshape", nil, b.x, shape(".groups", g, b.c/g, b.h, b.w))
	b.node(name+".swap", "Transpose", map[string]any{"perm": []int64{0, 2, 1, 3, 4}}, b.x)
	b.node(name, "Reshape", nil, b.x, shape(".shape", b.c, b.h, b.w))
}
