package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// LinearAttention keeps a state S [size of a key, size of a value] a head instead of
// all keys and values, and reads it with the queries (Katharopoulos et al.:
// Transformers are RNNs, 2020; Yang et al.: Gated Delta Networks, 2024). By position
// t, update_rule says how:
//
//	linear       S += k ⊗ v                       y = scale · qᵀ·S
//	gated        S = exp(g)·S, then as linear
//	delta        S += k ⊗ β·(v - kᵀ·S)
//	gated_delta  S = exp(g)·S, then as delta
//
// Inputs: query [N,T,q_num_heads·K], key [N,T,kv_num_heads·K], value
// [N,T,kv_num_heads·V], past_state [N,kv_num_heads,K,V] (zeros without it), decay g
// [N,T,heads·K] or [N,T,heads], beta [N,T,heads] or [N,T,1]. Outputs: y
// [N,T,q_num_heads·V] and the state.
func init() {
	Register(Op{
		Name: "LinearAttention",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 3, 6, Floats...); err != nil {
				return nil, err
			}
			if err := oneType(n, 0, 1, 2, 4, 5); err != nil {
				return nil, err
			}
			a, err := newLinear(n)
			if err != nil {
				return nil, err
			}
			d := n.In[0].Type.DType
			state := tensor.Type{DType: d, Shape: tensor.Shape{a.n, a.groups, a.k, a.v}}
			if p := n.Input(3); p != nil {
				state.DType = p.Type.DType
				if !p.Type.Shape.Equal(state.Shape) {
					return nil, Errorf(n, "past_state has shape %v, want %v", p.Type.Shape, state.Shape)
				}
			}
			return []tensor.Type{{DType: d, Shape: tensor.Shape{a.n, a.length, a.heads * a.v}}, state}, nil
		},
		Ref: refLinearAttention,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			if a, err := newLinear(n); err == nil {
				macs = int64(a.n) * int64(a.length) * int64(a.heads+3*a.groups) * int64(a.k) * int64(a.v)
			}
			return macs, IOBytes(n)
		},
	})
	// CausalConvWithState is the depthwise convolution of x [N,C,length] with W [C,1,k]
	// that sees the k-1 elements before it, those of past_state [N,C,k-1] (input 3,
	// zeros without it) at first, plus the bias [C] (input 2), with activation silu (or
	// swish) after it. The second output is the last k-1 elements, for the next call.
	Register(Op{
		Name: "CausalConvWithState",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 4, Floats...); err != nil {
				return nil, err
			}
			if err := oneType(n, 0, 1, 2, 3); err != nil {
				return nil, err
			}
			x, w := n.In[0].Type, n.In[1].Type.Shape
			if len(x.Shape) != 3 || len(w) != 3 || w[0] != x.Shape[1] || w[1] != 1 || w[2] < 1 {
				return nil, Errorf(n, "x %v and W %v, want [N,C,length] and [C,1,k]", x.Shape, w)
			}
			state := tensor.Shape{x.Shape[0], x.Shape[1], w[2] - 1}
			if b := n.Input(2); b != nil && !b.Type.Shape.Equal(w[:1]) {
				return nil, Errorf(n, "bias has shape %v, want %v", b.Type.Shape, w[:1])
			}
			if p := n.Input(3); p != nil && !p.Type.Shape.Equal(state) {
				return nil, Errorf(n, "past_state has shape %v, want %v", p.Type.Shape, state)
			}
			switch a := n.Str("activation", "none"); a {
			case "none", "silu", "swish":
			default:
				return nil, Errorf(n, "activation %q, want none, silu or swish", a)
			}
			return []tensor.Type{x, {DType: x.DType, Shape: state}}, nil
		},
		Ref: refCausalConv,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			return int64(n.In[0].Type.Shape.NumElements()) * int64(n.In[1].Type.Shape[2]), IOBytes(n)
		},
	})
}

type linear struct{ n, length, heads, groups, k, v, decay, beta int }

func newLinear(n *graph.Node) (*linear, error) {
	q, k, v := n.In[0].Type.Shape, n.In[1].Type.Shape, n.In[2].Type.Shape
	hq, hk := n.Int("q_num_heads", 0), n.Int("kv_num_heads", 0)
	if len(q) != 3 || len(k) != 3 || len(v) != 3 || hq < 1 || hk < 1 || hq > math.MaxInt32 || hq%hk != 0 ||
		q[2]%int(hq) != 0 || k[2]%int(hk) != 0 || v[2]%int(hk) != 0 || q[2]/int(hq) != k[2]/int(hk) ||
		!k[:2].Equal(q[:2]) || !v[:2].Equal(q[:2]) {
		return nil, Errorf(n, "query %v, key %v and value %v of %d and %d heads do not fit", q, k, v, hq, hk)
	}
	a := &linear{n: q[0], length: q[1], heads: int(hq), groups: int(hk), k: k[2] / int(hk), v: v[2] / int(hk)}
	rule := n.Str("update_rule", "gated_delta")
	switch rule {
	case "linear", "gated", "delta", "gated_delta":
	default:
		return nil, Errorf(n, "update_rule %q", rule)
	}
	gated, delta := rule == "gated" || rule == "gated_delta", rule == "delta" || rule == "gated_delta"
	d, b := n.Input(4), n.Input(5)
	if gated != (d != nil) || delta != (b != nil) {
		return nil, Errorf(n, "update_rule %q goes with other inputs", rule)
	}
	if d != nil {
		if s := d.Type.Shape; len(s) != 3 || !s[:2].Equal(q[:2]) || s[2] != a.groups && s[2] != a.groups*a.k {
			return nil, Errorf(n, "decay has shape %v", s)
		}
		a.decay = d.Type.Shape[2]
	}
	if b != nil {
		if s := b.Type.Shape; len(s) != 3 || !s[:2].Equal(q[:2]) || s[2] != a.groups && s[2] != 1 {
			return nil, Errorf(n, "beta has shape %v", s)
		}
		a.beta = b.Type.Shape[2]
	}
	return a, nil
}

func refLinearAttention(n *graph.Node, in, out []*tensor.Tensor) error {
	a, err := newLinear(n)
	if err != nil {
		return err
	}
	arg := func(i int) []float64 {
		if i < len(in) {
			return wide(in[i])
		}
		return nil
	}
	q, k, v, decay, beta := arg(0), arg(1), arg(2), arg(4), arg(5)
	state := make([]float64, a.n*a.groups*a.k*a.v)
	copy(state, arg(3))
	scale := float64(n.Float("scale", 0))
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(a.k))
	}
	y, add, per := make([]float64, a.n*a.length*a.heads*a.v), make([]float64, a.v), a.heads/a.groups
	for img := range a.n {
		for t := range a.length {
			row := img*a.length + t
			for h := range a.groups {
				s := state[(img*a.groups+h)*a.k*a.v:][:a.k*a.v]
				key, val := k[(row*a.groups+h)*a.k:][:a.k], v[(row*a.groups+h)*a.v:][:a.v]
				if decay != nil {
					for i := range s {
						g := decay[row*a.decay+h%a.decay]
						if a.decay == a.groups*a.k {
							g = decay[row*a.decay+h*a.k+i/a.v]
						}
						s[i] *= math.Exp(g)
					}
				}
				copy(add, val)
				if beta != nil {
					for i, x := range key {
						for j := range add {
							add[j] -= x * s[i*a.v+j]
						}
					}
					for j := range add {
						add[j] *= beta[row*a.beta+h%a.beta]
					}
				}
				for i, x := range key {
					for j := range add {
						s[i*a.v+j] += x * add[j]
					}
				}
				for r := h * per; r < (h+1)*per; r++ {
					o := y[(row*a.heads+r)*a.v:][:a.v]
					for i, x := range q[(row*a.heads+r)*a.k:][:a.k] {
						for j := range o {
							o[j] += scale * x * s[i*a.v+j]
						}
					}
				}
			}
		}
	}
	narrow(out[0], y)
	if len(out) > 1 {
		narrow(out[1], state)
	}
	return nil
}

func refCausalConv(n *graph.Node, in, out []*tensor.Tensor) error {
	xs, k := in[0].Shape, in[1].Shape[2]
	x, w := wide(in[0]), wide(in[1])
	var bias, past []float64
	if len(in) > 2 {
		bias = wide(in[2])
	}
	if len(in) > 3 {
		past = wide(in[3])
	}
	length := xs[2]
	y, state, seq := make([]float64, len(x)), make([]float64, xs[0]*xs[1]*(k-1)), make([]float64, k-1+length)
	for r := range xs[0] * xs[1] {
		if past != nil {
			copy(seq, past[r*(k-1):(r+1)*(k-1)])
		} else {
			clear(seq[:k-1])
		}
		copy(seq[k-1:], x[r*length:(r+1)*length])
		copy(state[r*(k-1):(r+1)*(k-1)], seq[length:])
		c := r % xs[1]
		for i := range length {
			sum := 0.0
			if bias != nil {
				sum = bias[c]
			}
			for t, f := range w[c*k : (c+1)*k] {
				sum += f * seq[i+t]
			}
			if n.Str("activation", "none") != "none" {
				sum *= sigmoid(sum)
			}
			y[r*length+i] = sum
		}
	}
	narrow(out[0], y)
	if len(out) > 1 {
		narrow(out[1], state)
	}
	return nil
}
