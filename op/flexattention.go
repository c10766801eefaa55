package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// FlexAttention (domain ai.onnx.preview) is attention whose scores and
// probabilities pass through graphs, attributes score_mod and prob_mod: Q
// [N,heads,length,size], K and V [N,groups,keys,...] make
//
//	Y = prob_mod(softmax(score_mod(scale · Q·Kᵀ))) · V
//
// The graphs work in the element type softmax_precision, by default float32, float64
// for float64. What they capture are further inputs, prob_mod's before score_mod's.
func init() {
	Register(Op{
		Domain: "ai.onnx.preview", Name: "FlexAttention",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			a, err := newFlex(n)
			if err != nil {
				return nil, err
			}
			scores := graph.Value{Name: "scores", Type: a.scores}
			for _, m := range []struct {
				g  *graph.Graph
				in []*graph.Value
			}{{n.Graph("score_mod"), n.In[3+a.caps:]}, {n.Graph("prob_mod"), n.In[3 : 3+a.caps]}} {
				if m.g == nil {
					continue
				}
				ts, err := branchTypes(n, m.g, append([]*graph.Value{&scores}, m.in...))
				if err != nil {
					return nil, err
				}
				if !ts[0].Equal(a.scores) {
					return nil, Errorf(n, "graph %q makes %v of %v", m.g.Name, ts[0], a.scores)
				}
			}
			y := n.In[0].Type.Shape.Clone()
			y[3] = n.In[2].Type.Shape[3]
			return []tensor.Type{{DType: n.In[0].Type.DType, Shape: y}}, nil
		},
		Ref: refOfRun(runFlex), Run: runFlex,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			if a, err := newFlex(n); err == nil {
				q, v := n.In[0].Type.Shape, n.In[2].Type.Shape
				macs = int64(a.scores.Shape.NumElements()) * int64(q[3]+v[3])
			}
			return macs, IOBytes(n)
		},
	})
}

type flex struct {
	scores tensor.Type
	caps   int // captures of prob_mod
}

func newFlex(n *graph.Node) (*flex, error) {
	if len(n.In) < 3 {
		return nil, Errorf(n, "%d inputs, want at least 3", len(n.In))
	}
	for i, v := range n.In {
		if v == nil {
			return nil, Errorf(n, "input %d is missing", i)
		}
	}
	for i := range 3 {
		if err := floatInput(n, i); err != nil {
			return nil, err
		}
	}
	if err := oneType(n, 0, 1, 2); err != nil {
		return nil, err
	}
	q, k, v := n.In[0].Type.Shape, n.In[1].Type.Shape, n.In[2].Type.Shape
	if len(q) != 4 || len(k) != 4 || len(v) != 4 || !k[:3].Equal(v[:3]) || q[0] != k[0] || q[3] != k[3] || k[1] < 1 || q[1]%k[1] != 0 {
		return nil, Errorf(n, "Q %v, K %v and V %v do not fit", q, k, v)
	}
	a := &flex{scores: tensor.Type{DType: tensor.Float32, Shape: tensor.Shape{q[0], q[1], q[2], k[2]}}}
	if n.In[0].Type.DType == tensor.Float64 {
		a.scores.DType = tensor.Float64
	}
	if n.Attrs["softmax_precision"] != nil {
		a.scores.DType = tensor.FromONNX(n.Int("softmax_precision", 0))
	}
	if !isFullFloat(a.scores.DType) {
		return nil, Unsupported(n, "softmax_precision %v", a.scores.DType)
	}
	if err := a.scores.Shape.Check(); err != nil {
		return nil, Errorf(n, "scores: %v", err)
	}
	want := 3
	for _, name := range []string{"prob_mod", "score_mod"} {
		g := n.Graph(name)
		if g == nil {
			continue
		}
		if len(g.Inputs) < 1 || len(g.Outputs) != 1 {
			return nil, Errorf(n, "%s has %d inputs and %d outputs, want one", name, len(g.Inputs), len(g.Outputs))
		}
		want += len(g.Inputs) - 1
		if name == "prob_mod" {
			a.caps = len(g.Inputs) - 1
		}
	}
	if len(n.In) != want {
		return nil, Errorf(n, "%d inputs, want %d", len(n.In), want)
	}
	return a, nil
}

func runFlex(c *Control, n *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	a, err := newFlex(withData(n, in))
	if err != nil {
		return nil, err
	}
	s := tensor.Type{DType: tensor.Float64, Shape: a.scores.Shape}
	if b := int64(s.NumBytes()); b > c.MaxBytes {
		return nil, tooLarge(n, "scores of %d bytes, the limit is %d", b, c.MaxBytes)
	}
	q, k, v := wide(in[0]), wide(in[1]), wide(in[2])
	heads, length, keys, size, vsize := s.Shape[1], s.Shape[2], s.Shape[3], in[0].Shape[3], in[2].Shape[3]
	scale := 1 / math.Sqrt(float64(size))
	if f, ok := n.Attrs["scale"].(float32); ok {
		scale = float64(f)
	}
	group := func(r int) int { // of K and V, of row r of the scores
		h := r / length
		return h/heads*in[1].Shape[1] + h%heads/(heads/in[1].Shape[1])
	}
	p := make([]float64, s.Shape.NumElements())
	for i := range p {
		x, y := q[i/keys*size:][:size], k[(group(i/keys)*keys+i%keys)*size:][:size]
		for d := range x {
			p[i] += x[d] * y[d]
		}
		p[i] *= scale
	}
	// through is p by way of the precision and a graph.
	through := func(name string, captured []*tensor.Tensor) error {
		t := tensor.New(a.scores.DType, a.scores.Shape...)
		narrow(t, p)
		if g := n.Graph(name); g != nil {
			out, err := c.Body(g, append([]*tensor.Tensor{t}, captured...))
			if err != nil {
				return err
			}
			if t = out[0]; !t.Type.Equal(a.scores) {
				return Errorf(n, "%s makes %v of %v", name, t.Type, a.scores)
			}
		}
		copy(p, wide(t))
		return nil
	}
	if err := through("score_mod", in[3+a.caps:]); err != nil {
		return nil, err
	}
	for r := 0; r < len(p) && keys > 0; r += keys {
		row, top, sum := p[r:r+keys], math.Inf(-1), 0.0
		for _, x := range row {
			top = max(top, x)
		}
		for j, x := range row {
			row[j] = math.Exp(x - top)
			sum += row[j]
		}
		for j := range row {
			row[j] /= sum
		}
	}
	if err := through("prob_mod", in[3:3+a.caps]); err != nil {
		return nil, err
	}
	ys := in[0].Shape.Clone()
	ys[3] = vsize
	y := make([]float64, ys.NumElements())
	for i, w := range p {
		r := i / keys
		for d, x := range v[(group(r)*keys+i%keys)*vsize:][:vsize] {
			y[r*vsize+d] += w * x
		}
	}
	out := tensor.New(in[0].DType, ys...)
	narrow(out, y)
	return []*tensor.Tensor{out}, nil
}
