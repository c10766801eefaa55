package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// RNN, GRU and LSTM run over x [T,N,K] (attribute layout 1: [N,T,K]) with the
// weights W [D,G·H,K], R [D,G·H,H], and optionally B [D,2·G·H], sequence_lens [N],
// initial_h [D,N,H]; the LSTM takes initial_c and the peepholes P [D,3·H] too. G is
// 1, 3 (gates z, r, h: Cho et al., 2014) or 4 (gates i, o, f, c: Hochreiter and
// Schmidhuber, 1997), D is 2 where direction is bidirectional. Outputs: every step's
// h, the last h, and the LSTM's last c. Steps past a sequence's length give zeros.
func init() {
	for _, c := range []recurrent{{"RNN", 1}, {"GRU", 3}, {"LSTM", 4}} {
		Register(Op{Name: c.name, Infer: c.infer, Ref: c.ref, Cost: func(n *graph.Node) (macs, bytes int64) {
			x, w := n.In[0].Type.Shape, n.In[1].Type.Shape
			return int64(x[0]) * int64(x[1]) * int64(w[0]) * int64(w[1]) * int64(w[2]+n.In[2].Type.Shape[2]), IOBytes(n)
		}})
	}
}

type recurrent struct {
	name  string
	gates int
}

// functions of gates: the default of each, and the names that ONNX has.
func (c recurrent) activations(n *graph.Node, dirs int) ([]func(float64) float64, error) {
	names := []string{"Tanh"}
	switch c.gates {
	case 3:
		names = []string{"Sigmoid", "Tanh"}
	case 4:
		names = []string{"Sigmoid", "Tanh", "Tanh"}
	}
	if dirs == 2 {
		names = append(names, names...)
	}
	if given, ok := n.Attrs["activations"].([]string); ok && len(given) > 0 {
		if len(given) != len(names) {
			return nil, Errorf(n, "%d activations, want %d", len(given), len(names))
		}
		names = given
	}
	alpha, beta := n.Floats("activation_alpha"), n.Floats("activation_beta")
	next := func(v *[]float32, def float64) float64 {
		if len(*v) > 0 {
			def = float64((*v)[0])
			*v = (*v)[1:]
		}
		return def
	}
	var fs []func(float64) float64
	for _, name := range names {
		var f func(float64) float64
		switch name {
		case "Tanh":
			f = math.Tanh
		case "Sigmoid":
			f = func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
		case "Relu":
			f = func(x float64) float64 { return max(x, 0) }
		case "Softsign":
			f = func(x float64) float64 { return x / (1 + math.Abs(x)) }
		case "Softplus":
			f = func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
		case "Affine":
			a, b := next(&alpha, 1), next(&beta, 0)
			f = func(x float64) float64 { return a*x + b }
		case "LeakyRelu":
			a := next(&alpha, 0.01)
			f = func(x float64) float64 { return max(x, 0) + a*min(x, 0) }
		case "ThresholdedRelu":
			a := next(&alpha, 1)
			f = func(x float64) float64 {
				if x > a {
					return x
				}
				return 0
			}
		case "ScaledTanh":
			a, b := next(&alpha, 1), next(&beta, 1)
			f = func(x float64) float64 { return a * math.Tanh(b*x) }
		case "HardSigmoid":
			a, b := next(&alpha, 0.2), next(&beta, 0.5)
			f = func(x float64) float64 { return max(0, min(1, a*x+b)) }
		case "Elu":
			a := next(&alpha, 1)
			f = func(x float64) float64 {
				if x < 0 {
					return a * math.Expm1(x)
				}
				return x
			}
		default:
			return nil, Unsupported(n, "activation %q", name)
		}
		fs = append(fs, f)
	}
	return fs, nil
}

func (c recurrent) infer(n *graph.Node) ([]tensor.Type, error) {
	most := 6
	if c.gates == 4 {
		most = 8
	}
	if err := Want(n, 3, most); err != nil {
		return nil, err
	}
	for i := range n.In {
		if i == 4 {
			continue
		}
		if err := floatInput(n, i); err != nil {
			return nil, err
		}
	}
	if err := oneType(n, 0, 1, 2, 3, 5, 6, 7); err != nil {
		return nil, err
	}
	if err := inputType(n, 4, indexTypes); err != nil {
		return nil, err
	}
	x, w, r := n.In[0].Type.Shape, n.In[1].Type.Shape, n.In[2].Type.Shape
	dirs := 1
	switch d := n.Str("direction", "forward"); d {
	case "forward", "reverse":
	case "bidirectional":
		dirs = 2
	default:
		return nil, Errorf(n, "direction %q", d)
	}
	if len(x) != 3 || len(w) != 3 || len(r) != 3 {
		return nil, Errorf(n, "x %v, W %v and R %v: want rank 3", x, w, r)
	}
	h := r[2]
	if !w.Equal(tensor.Shape{dirs, c.gates * h, x[2]}) || !r.Equal(tensor.Shape{dirs, c.gates * h, h}) || h < 1 {
		return nil, Errorf(n, "x %v, W %v and R %v do not fit", x, w, r)
	}
	if s := n.Int("hidden_size", int64(h)); s != int64(h) {
		return nil, Errorf(n, "hidden_size %d, R %v", s, r)
	}
	layout := n.Int("layout", 0)
	if layout != 0 && layout != 1 {
		return nil, Errorf(n, "layout %d", layout)
	}
	t, b := x[0], x[1]
	y, state := tensor.Shape{t, dirs, b, h}, tensor.Shape{dirs, b, h}
	if layout == 1 {
		t, b = b, t
		y, state = tensor.Shape{b, t, dirs, h}, tensor.Shape{b, dirs, h}
	}
	for i, want := range map[int]tensor.Shape{3: {dirs, 2 * c.gates * h}, 4: {b}, 5: state, 6: state, 7: {dirs, 3 * h}} {
		if v := n.Input(i); v != nil && !v.Type.Shape.Equal(want) {
			return nil, Errorf(n, "an input has the wrong shape: want B [D,2·G·H], sequence_lens [N], initial states and P [D,3·H] for x %v and R %v", x, r)
		}
	}
	if _, err := c.activations(n, dirs); err != nil {
		return nil, err
	}
	d := n.In[0].Type.DType
	ts := []tensor.Type{{DType: d, Shape: y}, {DType: d, Shape: state}}
	if c.gates == 4 {
		ts = append(ts, tensor.Type{DType: d, Shape: state})
	}
	return ts, nil
}

func (c recurrent) ref(n *graph.Node, in, out []*tensor.Tensor) error {
	x, w, r := wide(in[0]), wide(in[1]), wide(in[2])
	dirs, size, h := in[1].Shape[0], in[0].Shape[2], in[2].Shape[2]
	fs, err := c.activations(n, dirs)
	if err != nil {
		return err
	}
	batchFirst := n.Int("layout", 0) == 1
	steps, batch := in[0].Shape[0], in[0].Shape[1]
	if batchFirst {
		steps, batch = batch, steps
	}
	g := c.gates
	b := make([]float64, dirs*2*g*h)
	copy(b, wide(optional(in, 3)))
	p := make([]float64, dirs*3*h)
	copy(p, wide(optional(in, 7)))
	var lens []int64
	if l := optional(in, 4); l != nil {
		lens = ints64(l)
	}
	h0, c0 := wide(optional(in, 5)), wide(optional(in, 6))
	y, yh, yc := make([]float64, steps*dirs*batch*h), make([]float64, dirs*batch*h), make([]float64, dirs*batch*h)
	clip := float64(n.Float("clip", 0))
	cut := func(v float64) float64 {
		if clip > 0 {
			return max(-clip, min(clip, v))
		}
		return v
	}
	gx, gh := make([]float64, g*h), make([]float64, g*h)
	next := make([]float64, h)
	for d := range dirs {
		f := fs[d*len(fs)/dirs:]
		bd, pd := b[d*2*g*h:], p[d*3*h:]
		for k := range batch {
			at := (d*batch + k) * h
			if batchFirst {
				at = (k*dirs + d) * h
			}
			hs, cs := yh[at:at+h], yc[at:at+h]
			if h0 != nil {
				copy(hs, h0[at:])
			}
			if c0 != nil {
				copy(cs, c0[at:])
			}
			length := steps
			if lens != nil {
				length = int(max(0, min(int64(steps), lens[k])))
			}
			back := d == 1 || n.Str("direction", "forward") == "reverse"
			for s := range length {
				t := s
				if back {
					t = length - 1 - s
				}
				row, to := (t*batch+k)*size, ((t*dirs+d)*batch+k)*h
				if batchFirst {
					row, to = (k*steps+t)*size, ((k*steps+t)*dirs+d)*h
				}
				for j := range g * h {
					gx[j], gh[j] = bd[j], bd[g*h+j]
					for i, v := range x[row : row+size] {
						gx[j] += w[(d*g*h+j)*size+i] * v
					}
					for i, v := range hs {
						gh[j] += r[(d*g*h+j)*h+i] * v
					}
				}
				switch g {
				case 1:
					for j := range h {
						next[j] = f[0](cut(gx[j] + gh[j]))
					}
				case 3:
					linear := n.Int("linear_before_reset", 0) != 0
					reset := make([]float64, h)
					for j := range h {
						reset[j] = f[0](cut(gx[h+j] + gh[h+j]))
					}
					for j := range h {
						z, m := f[0](cut(gx[j]+gh[j])), reset[j]*gh[2*h+j]
						if !linear {
							m = bd[5*h+j]
							for i, v := range hs {
								m += r[(d*g*h+2*h+j)*h+i] * (reset[i] * v)
							}
						}
						next[j] = (1-z)*f[1](cut(gx[2*h+j]+m)) + z*hs[j]
					}
				case 4:
					for j := range h {
						i := f[0](cut(gx[j] + gh[j] + pd[j]*cs[j]))
						forget := f[0](cut(gx[2*h+j] + gh[2*h+j] + pd[2*h+j]*cs[j]))
						if n.Int("input_forget", 0) != 0 {
							forget = 1 - i
						}
						cs[j] = forget*cs[j] + i*f[1](cut(gx[3*h+j]+gh[3*h+j]))
						next[j] = f[0](cut(gx[h+j]+gh[h+j]+pd[h+j]*cs[j])) * f[2](cs[j])
					}
				}
				copy(hs, next)
				copy(y[to:to+h], next)
			}
		}
	}
	for i, v := range [][]float64{y, yh, yc} {
		if i < len(out) && out[i] != nil {
			narrow(out[i], v)
		}
	}
	return nil
}
