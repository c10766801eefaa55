package zoo

import (
	"fmt"
	"math"
	"math/rand/v2"
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
	// Params is the number of trainable values.
	Params int
	// Card is the model card as YAML, for networks trained on the architecture's
	// usual dataset.
	Card string

	build func(b *builder) *graph.Value
}

var archs = []Arch{lenet300, lenet5}

// All lists the architectures in a fixed order.
func All() []Arch { return append([]Arch{}, archs...) }

// Find is the architecture of that name; the error lists the names that exist.
func Find(name string) (Arch, error) {
	var names []string
	for _, a := range archs {
		if a.Name == name {
			return a, nil
		}
		names = append(names, a.Name)
	}
	return Arch{}, fmt.Errorf("unknown architecture %q, want one of %s", name, strings.Join(names, " "))
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
	b := &builder{g: graph.New(a.Name), seed: seed}
	x := b.g.AddInput("input", tensor.Float32, append([]int{-1}, a.Input...)...)
	x.Decl.Dims[0].Name = "N"
	b.x = x
	y := a.build(b)
	y.Name = "logits"
	y.Decl = graph.Decl{DType: tensor.Float32, Ranked: true, Dims: []graph.Dim{{Size: -1, Name: "N"}, {Size: a.Classes}}}
	b.g.Outputs = []*graph.Value{y}
	b.g.Meta = map[string]string{"whit.arch": a.Name, "whit.card": a.Card}
	if err := b.g.Verify(); err != nil {
		return nil, fmt.Errorf("zoo %s: %w", a.Name, err)
	}
	return b.g, nil
}

// builder appends layers; x is the value so far.
type builder struct {
	g    *graph.Graph
	x    *graph.Value
	seed uint64
	draw uint64 // tensors drawn so far: the stream of the next one
}

// gain is the variance of a layer's weights times its fan.
type gain int

const (
	he     gain = iota // a ReLU follows: limit sqrt(6/in)
	glorot             // limit sqrt(6/(in+out))
)

// uniform draws a weight in (-limit, limit). Each tensor has its own stream.
func (b *builder) uniform(name string, k gain, in, out int, shape ...int) *graph.Value {
	limit := math.Sqrt(6 / float64(in))
	if k == glorot {
		limit = math.Sqrt(6 / float64(in+out))
	}
	b.draw++
	r := rand.New(rand.NewPCG(b.seed, b.draw))
	t := tensor.New(tensor.Float32, shape...)
	w := tensor.Of[float32](t)
	for i := range w {
		w[i] = float32(limit * float64(2*r.Float64()-1))
	}
	return b.g.NewConst(name, t)
}

func (b *builder) zeros(name string, n int) *graph.Value {
	return b.g.NewConst(name, tensor.New(tensor.Float32, n))
}

// node appends a node of one output, called by the layer's name, and moves on to
// its output.
func (b *builder) node(name, op string, attrs map[string]any, in ...*graph.Value) {
	b.x = b.g.Add("", op, attrs, in...)
	b.x.Producer.Name, b.x.Name = name, name
}

// conv is a convolution with bias, stride 1, no padding: k x k, in to out channels.
func (b *builder) conv(name string, in, out, k int, g gain) {
	w := b.uniform(name+".weight", g, in*k*k, out*k*k, out, in, k, k)
	b.node(name, "Conv", map[string]any{
		"kernel_shape": []int64{int64(k), int64(k)}, "strides": []int64{1, 1},
		"pads": []int64{0, 0, 0, 0}, "dilations": []int64{1, 1}, "group": int64(1),
	}, b.x, w, b.zeros(name+".bias", out))
}

// maxpool is a k x k pool of stride k.
func (b *builder) maxpool(name string, k int) {
	b.node(name, "MaxPool", map[string]any{
		"kernel_shape": []int64{int64(k), int64(k)}, "strides": []int64{int64(k), int64(k)},
	}, b.x)
}

// fc is a fully connected layer with bias; its weight is [out,in].
func (b *builder) fc(name string, in, out int, g gain) {
	b.node(name, "Gemm", map[string]any{"alpha": float32(1), "beta": float32(1), "transA": int64(0), "transB": int64(1)},
		b.x, b.uniform(name+".weight", g, in, out, out, in), b.zeros(name+".bias", out))
}

func (b *builder) relu(name string) { b.node(name, "Relu", nil, b.x) }
func (b *builder) flatten(name string) {
	b.node(name, "Flatten", map[string]any{"axis": int64(1)}, b.x)
}
