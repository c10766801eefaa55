package method

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"whit/entropy"
	"whit/graph"
	"whit/tensor"
	"whit/train"
	"whit/weight"
)

// State is a model on its way through the methods. It has no test set.
type State struct {
	// Graph is the model graph; its weights are float32 constants that methods
	// replace (never write in place: other graphs share them). What Layers say of
	// masks and codebooks already holds for the constants.
	Graph *graph.Graph
	// Float is the model as it came; it stays as it is.
	Float *graph.Graph
	// Layers are what can be compressed, in node order.
	Layers []*Layer
	// Base is the model that the levels of Graph stand for, before they were rounded and with
	// the same names of values: what corrections compare with. nil: nothing was rounded.
	Base *graph.Graph
	// Norms are what batch normalisations that were folded say of the values that they made, by
	// name; methods replace the map and never write it.
	Norms map[string]Norm
	// Train is for fitting and calibration, Choice for every decision. Both are
	// labelled: where the data are not, by the float model. nil: there are no images.
	Train, Choice train.Dataset
	// Metric is what Measure measures; "" is Top1.
	Metric Metric
	// Reference keeps the float model's outputs on the choice split, and teachers' on the training part; nil: none yet.
	Reference *Reference
	// Teachers are what steps with distill train against; none: Float.
	Teachers []*graph.Graph
	// NoFinetune: methods must not train.
	NoFinetune bool
	// Keep is a glob of layers that methods leave alone, "" for none.
	Keep string
	// Seed is where all randomness comes from.
	Seed    uint64
	Threads int
	// Progress, if set, hears what happens.
	Progress func(Event)
	// Memo keeps finished fits and measurements; nil: nothing is kept.
	Memo *Memo

	// Stages are the steps so far, the model as it came first.
	Stages []Stage
	// Curves are what scans measured.
	Curves []Curve
	// Chosen is the sparsity of each layer that the last scan chose.
	Chosen LayerValues
	// Refused is what methods could not do, and why.
	Refused []Refusal
	// Left are, by the name of a weight whose output units were cut, those of the float model
	// that are left.
	Left map[string][]int

	// Draws counts what has been drawn at random so far, so that no two draws share
	// a stream.
	Draws uint64

	fits int
}

// Refusal is what was not done, and why.
type Refusal struct{ What, Why string }

// Refuse notes a refusal, once.
func (s *State) Refuse(what, why string) {
	if r := (Refusal{what, why}); !slices.Contains(s.Refused, r) {
		s.Refused = append(s.Refused, r)
	}
}

// Norm is the mean and the standard deviation of each channel of a value, over the data that the model was trained on.
type Norm struct{ Mean, Std []float64 }

// Event is a line of progress. Done and Total count epochs or measurements; 0: unknown.
type Event struct {
	Stage       string // what is being done
	Message     string // figures so far, may be empty
	Done, Total float64
}

// Layer is a weight that can be compressed, and the bias beside it.
type Layer struct {
	Name    string // the weight's name without ".weight", or the node's
	Node    *graph.Node
	OutAxis int // the axis of the weight that counts output units
	Weight  Held
	Bias    *Held // nil: none, or shared with another layer
}

// Held says how one constant is held.
type Held struct {
	Value *graph.Value
	// Mask names the elements that are stored, as weight.Sparse has it; nil: all.
	Mask []uint64
	// Centroids and Index are a codebook: stored element i is Centroids[Index[i]];
	// Index has an entry for every element, stored or not. nil: no codebook.
	Centroids []float32
	Index     []uint16
	// Step, if not 0, says that the codebook is one of multiples of it, by at most 127: the
	// elements are held as such levels, and not by their index.
	Step float32
	// As is any other encoding; Data is its expansion, Mask that of a weight.Sparse. nil: none.
	As weight.Weight
}

// Data is the constant's elements; they must not be written.
func (h *Held) Data() []float32 { return tensor.Of[float32](h.Value.Data) }

// Len is the number of elements.
func (h *Held) Len() int { return h.Value.Type.Shape.NumElements() }

// Code takes the constant as syms through cost, after what has been coded before, and returns bits and the bits that it takes. ask,
// if not nil, may ask for prices before each element.
func (h *Held) Code(cost *entropy.Cost, syms []int32, bits float64, ask func(i int)) float64 {
	bits += cost.Start(entropy.Block{Dims: entropy.DimsOf(h.Value.Type.Shape), Syms: syms})
	for i, q := range syms {
		if ask != nil {
			ask(i)
		}
		bits += cost.Take(q)
	}
	return bits
}

// Stored is the number of elements that the mask keeps.
func (h *Held) Stored() int {
	if h.Mask == nil {
		return h.Len()
	}
	return popcount(h.Mask)
}

// Kept reports whether the mask, if there is one, keeps element i.
func (h *Held) Kept(i int) bool { return h.Mask == nil || h.Mask[i/64]>>(i%64)&1 == 1 }

// Hold holds the constant as w, which has its shape. What the mask drops is zero in w, and stays
// dropped; a weight.Sparse brings its own mask.
func (h *Held) Hold(w weight.Weight) {
	h.Centroids, h.Index, h.Step = nil, nil, 0
	if p, ok := w.(weight.Sparse); ok {
		h.Mask = p.Mask
	}
	h.Value.Data, h.As = w.Dense(), w
}

// Set replaces the elements; x is kept. Where the held value has a mask, what it
// drops is zeroed in x first. Elements that were held As something are dense again.
func (h *Held) Set(x []float32) {
	h.As = nil
	if h.Mask != nil {
		for i := range x {
			if !h.Kept(i) {
				x[i] = 0
			}
		}
	}
	h.Value.Data = tensor.From(x, h.Value.Type.Shape...)
}

// Prune sets the mask and zeroes what it drops. A codebook is kept.
func (h *Held) Prune(mask []uint64) {
	h.Mask = mask
	h.Set(slices.Clone(h.Data()))
}

// Share sets the codebook and the elements from it. Centroids are rounded to 8
// significant bits: by 0.4% at most, half as many bytes in the file.
func (h *Held) Share(centroids []float32, index []uint16) {
	centroids = slices.Clone(centroids)
	for i, c := range centroids {
		if r := tensor.ToBF16(c).Float32(); r-r == 0 { // finite
			centroids[i] = r
		}
	}
	h.share(centroids, index)
}

func (h *Held) share(centroids []float32, index []uint16) {
	h.Centroids, h.Index, h.Step = centroids, index, 0
	x := make([]float32, len(index))
	for i, k := range index {
		x[i] = centroids[k]
	}
	h.Set(x)
}

// Quantise makes element i float32(levels[i]) * step, levels being -127..127. Where any
// are 0 the mask names the others.
func (h *Held) Quantise(levels []int8, step float32) {
	var used [256]bool
	mask := make([]uint64, weight.MaskWords(len(levels)))
	h.Mask = nil
	for i, q := range levels {
		if q == 0 {
			h.Mask = mask
			continue
		}
		mask[i/64] |= 1 << (i % 64)
		used[int(q)+128] = true
	}
	var at [256]uint16
	var c []float32
	for k, u := range used {
		if u {
			at[k] = uint16(len(c))
			c = append(c, float32(k-128)*step)
		}
	}
	if c == nil {
		c = []float32{0}
	}
	index := make([]uint16, len(levels))
	for i, q := range levels {
		index[i] = at[int(q)+128]
	}
	h.share(c, index) // not rounded: the file holds levels and the step
	h.Step = step
}

// Weight is the constant as it is held.
func (h *Held) Weight() (weight.Weight, error) {
	w, err := h.freeze()
	if w == nil && err == nil {
		w = weight.Dense{T: h.Value.Data}
	}
	return w, err
}

// freeze is the constant as a weight; nil: dense as it stands.
func (h *Held) freeze() (weight.Weight, error) {
	shape := h.Value.Type.Shape
	switch {
	case h.As != nil:
		return h.As, nil
	case h.Step != 0:
		q := tensor.New(tensor.Int8, shape...)
		for i, x := range h.Data() {
			tensor.Of[int8](q)[i] = int8(math.RoundToEven(float64(x) / float64(h.Step)))
		}
		return weight.NewInt8(q, weight.PerTensor, []float32{h.Step}, nil)
	case h.Mask == nil && h.Centroids == nil:
		return nil, nil
	case h.Centroids == nil:
		return weight.SparseOf(h.Value.Data, h.Mask)
	}
	index := h.Index
	if h.Mask != nil {
		index = nil
		for i, k := range h.Index {
			if h.Kept(i) {
				index = append(index, k)
			}
		}
		shape = tensor.Shape{len(index)}
	}
	q := tensor.New(tensor.Uint16, shape...)
	copy(tensor.Of[uint16](q), index)
	book := h.Centroids
	if len(index) == 0 {
		book = nil
	}
	c, err := weight.NewCodebook(q, book)
	if err != nil {
		return nil, err
	}
	c = c.Sorted()
	if h.Mask == nil {
		return c, nil
	}
	return weight.NewSparse(h.Value.Type.Shape, h.Mask, c)
}

// Stage is the model after a step.
type Stage struct {
	Name string
	// Graph is the model then, frozen; it is not written to JSON.
	Graph *graph.Graph
	// Bytes is the size as the paper's tables count it at this stage.
	Bytes int64
	// Stored is the number of weights that are not pruned.
	Stored int
	// Choice is the model's figures on the choice split.
	Choice Eval
}

// Zeroed is the Method of curves with a part of the weights zeroed.
const Zeroed = "zero"

// Curve is how the model answers to what is done to one layer, or to all layers of a block.
type Curve struct {
	Layer string // or the block
	// Granularity is "weight", "node", "layer" or "block".
	Granularity string
	Method      string
	Points      []CurvePoint
}

// CurvePoint is the model on the choice split with a method's level in the layer, nothing else changed.
type CurvePoint struct {
	// Fraction is the level: the share (0..1) that is gone, or bits.
	Fraction    float64
	Error, Loss float64 // as in Eval
	MSE, Far    float64 // as in Eval
	Saved       int64   // bytes of the file; 0: not counted
}

// Weights is how many weights the layers have.
func (s *State) Weights() (n int) {
	for _, l := range s.Layers {
		n += l.Weight.Len()
	}
	return n
}

// FindLayers lists the layers of a graph that can be compressed: Conv, Gemm and
// MatMul whose weight is a float32 constant. A weight that several nodes read is
// one layer. Names that keep (a glob, "" for none) matches are left out.
func FindLayers(g *graph.Graph, keep string) []*Layer {
	uses := g.Uses()
	seen := map[*graph.Value]bool{}
	names := map[string]bool{}
	var ls []*Layer
	for _, n := range g.Nodes {
		if n.Domain != "" {
			continue
		}
		w := n.Input(1)
		if w == nil || w.Kind != graph.Const || seen[w] || w.Type.DType != tensor.Float32 || len(w.Type.Shape) < 2 || w.Type.Shape.NumElements() == 0 {
			continue
		}
		axis := 0
		switch n.Op {
		case "Conv":
		case "Gemm":
			if n.Int("transB", 0) == 0 {
				axis = 1
			}
		case "MatMul":
			axis = len(w.Type.Shape) - 1
		default:
			continue
		}
		seen[w] = true
		name, plain := strings.CutSuffix(w.Name, ".weight")
		if !plain && n.Name != "" {
			name = n.Name
		}
		for base, i := name, 2; names[name]; i++ {
			name = fmt.Sprintf("%s#%d", base, i)
		}
		names[name] = true
		if keep != "" && (Match(keep, name) || Match(keep, w.Name)) {
			continue
		}
		if w.Data == nil { // held under an encoding: methods work on the expansion
			w.Data, w.Weight = w.Tensor(), nil
		}
		l := &Layer{Name: name, Node: n, OutAxis: axis, Weight: Held{Value: w}}
		if b := n.Input(2); b != nil && b.Kind == graph.Const && b.Type.DType == tensor.Float32 && len(uses[b]) == 1 && b.Type.Shape.NumElements() > 0 {
			if b.Data == nil {
				b.Data, b.Weight = b.Tensor(), nil
			}
			l.Bias = &Held{Value: b}
		}
		ls = append(ls, l)
	}
	return ls
}

// Refind lists the layers anew after the graph was edited. What is said of the constants that
// are still there stays; a method that cuts one cuts its mask and its index with it.
func (s *State) Refind() {
	was := map[*graph.Value]*Held{}
	for _, l := range s.Layers {
		for _, h := range l.held() {
			was[h.Value] = h
		}
	}
	s.Layers = FindLayers(s.Graph, s.Keep)
	for _, l := range s.Layers {
		for _, h := range l.held() {
			if old := was[h.Value]; old != nil {
				*h = *old
			}
		}
	}
}

// KeepBase makes the graph as it stands the Base, if there is none yet.
func (s *State) KeepBase() {
	if s.Base == nil {
		s.Base, _ = s.Graph.Clone()
	}
}

// Match lists the layers that a glob matches; an error where it matches none.
func (s *State) Match(glob string) ([]*Layer, error) {
	var out []*Layer
	var names []string
	for _, l := range s.Layers {
		names = append(names, l.Name)
		if Match(glob, l.Name) {
			out = append(out, l)
		}
	}
	if out == nil {
		return nil, fmt.Errorf("layers %q: no layer matches; there are %s", glob, strings.Join(names, ", "))
	}
	return out, nil
}

// Freeze is a copy of the model graph whose compressed layers are held as what
// their masks and codebooks make of them.
func (s *State) Freeze() (*graph.Graph, error) {
	c, m := s.Graph.Clone()
	for _, l := range s.Layers {
		for _, h := range l.held() {
			w, err := h.freeze()
			if err != nil {
				return nil, fmt.Errorf("layer %s: %w", l.Name, err)
			}
			if w != nil {
				v := m[h.Value]
				v.Weight, v.Data = w, nil
			}
		}
	}
	return c, c.Verify()
}

func (l *Layer) held() []*Held {
	if l.Bias == nil {
		return []*Held{&l.Weight}
	}
	return []*Held{&l.Weight, l.Bias}
}

// Bytes is the model's size as Deep Compression's tables count it: pruned,
// quantised and under Huffman codes. What is not in Layers counts in float32.
func (s *State) Bytes() (pruned, quantised, huffman int64) {
	rest := DenseBytes(s.Graph)
	for _, l := range s.Layers {
		for _, h := range l.held() {
			rest -= 4 * int64(h.Len())
		}
	}
	pruned, quantised, huffman = rest, rest, rest
	for _, l := range s.Layers {
		p := l.SizeOf()
		pruned += p.Pruned
		quantised += p.Quantised
		huffman += p.Huffman
	}
	return pruned, quantised, huffman
}

// DenseBytes is the size of all float constants of a graph in float32: what ratios
// are counted against.
func DenseBytes(g *graph.Graph) (n int64) {
	for _, v := range g.Values() {
		if (v.Kind == graph.Const || v.Kind == graph.Param || v.Kind == graph.State) && v.Type.DType.IsFloat() {
			n += 4 * int64(v.Type.Shape.NumElements())
		}
	}
	return n
}

// Stage measures the state on the choice split and records it. bytes is its size
// as counted at this stage.
func (s *State) Stage(ctx context.Context, name string, bytes int64) (Stage, error) {
	g, err := s.Freeze()
	if err != nil {
		return Stage{}, err
	}
	m := s.Graph
	if s.OnIntegers() {
		m = g // only levels run on integers
	}
	e, err := s.Measure(ctx, m)
	if err != nil {
		return Stage{}, err
	}
	st := Stage{Name: name, Graph: g, Bytes: bytes, Choice: e}
	for _, l := range s.Layers {
		st.Stored += l.Weight.Stored()
	}
	s.Stages = append(s.Stages, st)
	s.Tell(Event{Stage: name, Message: fmt.Sprintf("%d bytes, %s on %d held-out images", bytes, s.Metric.Text(e.Value), e.N)})
	return st, nil
}

// StageShared notes the stages "shared" and "huffman", which differ in how the same levels
// are counted.
func (s *State) StageShared(ctx context.Context) error {
	_, shared, huffman := s.Bytes()
	st, err := s.Stage(ctx, "shared", shared)
	if err != nil {
		return err
	}
	st.Name, st.Bytes = "huffman", huffman
	s.Stages = append(s.Stages, st)
	return nil
}

// OnIntegers reports whether activations are quantised.
func (s *State) OnIntegers() bool {
	return slices.ContainsFunc(s.Graph.Nodes, func(n *graph.Node) bool { return n.Domain == "" && n.Op == "QuantizeLinear" })
}

// Tell reports an event.
func (s *State) Tell(e Event) {
	if s.Progress != nil {
		s.Progress(e)
	}
}

// First is the first n samples of a dataset, as a dataset.
func First(ds train.Dataset, n int) train.Dataset { return first{ds, n} }

type first struct {
	train.Dataset
	n int
}

func (f first) Len() int    { return f.n }
func (f first) Unwrap() any { return f.Dataset }
