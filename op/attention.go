package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// Attention is scaled dot-product attention (Vaswani et al., "Attention Is All You
// Need", 2017, section 3.2.1), with grouped heads (Ainslie et al., "GQA", 2023):
// inputs Q, K, V, then optionally attn_mask, past_key, past_value and
// nonpad_kv_seqlen [N]. Q, K and V are [N,heads,length,size], or
// [N,length,heads·size] with the attributes q_num_heads and kv_num_heads.
//
//	Y = softmax(softcap(scale · Q·Kᵀ) + bias) · V
//
// Outputs: Y, the keys and values with their past before them, and the matrix
// that qk_matmul_output_mode chooses. A query that may attend to no key gives
// zeros, and a key that is masked takes no part whatever its value is.
func init() {
	Register(Op{
		Name: "Attention",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 3, 7); err != nil {
				return nil, err
			}
			for _, i := range []int{0, 1, 2, 4, 5} {
				if err := floatInput(n, i); err != nil {
					return nil, err
				}
			}
			if err := oneType(n, 0, 1, 4); err != nil {
				return nil, err
			}
			if err := oneType(n, 2, 5); err != nil {
				return nil, err
			}
			if err := inputType(n, 3, append([]tensor.DType{tensor.Bool}, Floats...)); err != nil {
				return nil, err
			}
			if err := inputType(n, 6, indexTypes); err != nil {
				return nil, err
			}
			a, err := newAttention(n)
			if err != nil {
				return nil, err
			}
			q, v := n.In[0].Type.DType, n.In[2].Type.DType
			y := tensor.Shape{a.n, a.heads, a.length, a.vsize}
			if a.packed {
				y = tensor.Shape{a.n, a.length, a.heads * a.vsize}
			}
			return []tensor.Type{
				{DType: q, Shape: y},
				{DType: q, Shape: tensor.Shape{a.n, a.groups, a.total, a.size}},
				{DType: v, Shape: tensor.Shape{a.n, a.groups, a.total, a.vsize}},
				{DType: q, Shape: tensor.Shape{a.n, a.heads, a.length, a.total}},
			}, nil
		},
		Ref: refAttention,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			if a, err := newAttention(n); err == nil {
				macs = int64(a.n) * int64(a.heads) * int64(a.length) * int64(a.total) * int64(a.size+a.vsize)
			}
			return macs, IOBytes(n)
		},
	})
}

// attention is the geometry of an Attention node.
type attention struct {
	n, heads, groups int // batch; heads of Q; heads of K and V
	length           int // of Q
	past, total      int // keys before K, and all of them
	size, vsize      int // of a head of Q and K, and of V
	packed           bool
}

func newAttention(n *graph.Node) (*attention, error) {
	q, k, v := n.In[0].Type.Shape, n.In[1].Type.Shape, n.In[2].Type.Shape
	if len(q) != len(k) || len(q) != len(v) || len(q) != 3 && len(q) != 4 {
		return nil, Errorf(n, "Q %v, K %v and V %v: want equal ranks of 3 or 4", q, k, v)
	}
	a := &attention{packed: len(q) == 3}
	if a.packed {
		hq, hk := n.Int("q_num_heads", 0), n.Int("kv_num_heads", 0)
		split := func(s tensor.Shape, h int64) (tensor.Shape, error) {
			if h < 1 || h > int64(max(1, s[2])) || s[2]%int(h) != 0 {
				return nil, Errorf(n, "%v does not split into %d heads", s, h)
			}
			return tensor.Shape{s[0], int(h), s[1], s[2] / int(h)}, nil
		}
		var err error
		if q, err = split(q, hq); err != nil {
			return nil, err
		}
		if k, err = split(k, hk); err != nil {
			return nil, err
		}
		if v, err = split(v, hk); err != nil {
			return nil, err
		}
	}
	a.n, a.heads, a.groups, a.length, a.size, a.vsize, a.total = q[0], q[1], k[1], q[2], q[3], v[3], k[2]
	if k[0] != a.n || v[0] != a.n || k[3] != a.size || v[1] != a.groups || v[2] != k[2] {
		return nil, Errorf(n, "Q %v, K %v and V %v do not fit", q, k, v)
	}
	if a.groups < 1 || a.heads%a.groups != 0 {
		return nil, Errorf(n, "%d heads of Q for %d of K", a.heads, a.groups)
	}
	pk, pv := n.Input(4), n.Input(5)
	if (pk == nil) != (pv == nil) {
		return nil, Errorf(n, "past_key and past_value belong together")
	}
	if pk != nil {
		s, t := pk.Type.Shape, pv.Type.Shape
		if len(s) != 4 || len(t) != 4 || !s.Equal(tensor.Shape{a.n, a.groups, s[2], a.size}) || !t.Equal(tensor.Shape{a.n, a.groups, s[2], a.vsize}) {
			return nil, Errorf(n, "past_key %v and past_value %v do not fit K %v and V %v", s, t, k, v)
		}
		a.past = s[2]
		a.total += a.past
	}
	if m := n.Input(3); m != nil {
		s := m.Type.Shape
		if len(s) < 1 || len(s) > 4 || s[len(s)-1] > a.total {
			return nil, Errorf(n, "attn_mask has shape %v for %d keys", s, a.total)
		}
		full := []int{a.n, a.heads, a.length}
		for i, d := range s[:len(s)-1] {
			if w := full[len(full)-len(s)+1+i]; d != 1 && d != w {
				return nil, Errorf(n, "attn_mask %v does not broadcast to %v", s, append(full, a.total))
			}
		}
	}
	if p := n.Input(6); p != nil {
		if pk != nil {
			return nil, Errorf(n, "nonpad_kv_seqlen does not go with past_key")
		}
		if !p.Type.Shape.Equal(tensor.Shape{a.n}) {
			return nil, Errorf(n, "nonpad_kv_seqlen has shape %v, want [%d]", p.Type.Shape, a.n)
		}
	}
	for _, name := range []string{"left_window_size", "right_window_size"} {
		if w := n.Int(name, -1); w < -1 {
			return nil, Errorf(n, "%s is %d", name, w)
		}
	}
	if m := n.Int("qk_matmul_output_mode", 0); m < 0 || m > 3 {
		return nil, Errorf(n, "qk_matmul_output_mode is %d, want 0 to 3", m)
	}
	return a, nil
}

// rows is x [N,heads,length,size] as float64, whichever of its two forms it has.
func (a *attention) rows(x *tensor.Tensor, heads int) []float64 {
	if x == nil {
		return nil
	}
	w := wide(x)
	if len(x.Shape) == 4 {
		return w
	}
	y, length, size := make([]float64, len(w)), x.Shape[1], x.Shape[2]/heads
	for i := 0; i < len(w); i += size {
		// i/size counts n, position, head; y counts n, head, position.
		r := i / size
		h, p, b := r%heads, r/heads%length, r/heads/length
		copy(y[((b*heads+h)*length+p)*size:], w[i:i+size])
	}
	return y
}

// joined is the rows of the past, then of x, head by head.
func joined(past, x []float64, sets, size int) []float64 {
	if past == nil {
		return x
	}
	if sets == 0 || size == 0 {
		return nil
	}
	var y []float64
	p, q := len(past)/sets, len(x)/sets
	for i := range sets {
		y = append(append(y, past[i*p:(i+1)*p]...), x[i*q:(i+1)*q]...)
	}
	return y
}

func refAttention(n *graph.Node, in, out []*tensor.Tensor) error {
	a, err := newAttention(n)
	if err != nil {
		return err
	}
	arg := func(i int) *tensor.Tensor {
		if i < len(in) {
			return in[i]
		}
		return nil
	}
	q := a.rows(in[0], a.heads)
	k := joined(wide(arg(4)), a.rows(in[1], a.groups), a.n*a.groups, a.size)
	v := joined(wide(arg(5)), a.rows(in[2], a.groups), a.n*a.groups, a.vsize)
	for i, x := range [][]float64{nil, k, v} {
		if i > 0 && i < len(out) && out[i] != nil {
			narrow(out[i], x)
		}
	}
	scale := 1 / math.Sqrt(float64(a.size))
	if s, ok := n.Attrs["scale"].(float32); ok {
		scale = float64(s)
	}
	bias := a.bias(n, arg(3), arg(6))
	softcap, mode := float64(n.Float("softcap", 0)), n.Int("qk_matmul_output_mode", 0)
	y := make([]float64, a.n*a.heads*a.length*a.vsize)
	var qk []float64
	if len(out) > 3 && out[3] != nil {
		qk = make([]float64, a.n*a.heads*a.length*a.total)
	}
	s, b := make([]float64, a.total), make([]float64, a.total)
	for r := range a.n * a.heads * a.length {
		img, h, i := r/a.length/a.heads, r/a.length%a.heads, r%a.length
		group := img*a.groups + h/(a.heads/a.groups)
		keys, values := k[group*a.total*a.size:], v[group*a.total*a.vsize:]
		keep := func(m int64) {
			if qk != nil && mode == m {
				copy(qk[r*a.total:], s)
			}
		}
		for j := range s {
			s[j] = 0
			for d, x := range q[r*a.size:][:a.size] {
				s[j] += x * keys[j*a.size+d]
			}
			s[j] *= scale
		}
		keep(0)
		if softcap > 0 {
			for j := range s {
				s[j] = softcap * math.Tanh(s[j]/softcap)
			}
		}
		keep(1)
		bias(img, h, i, b)
		top := math.Inf(-1)
		for j := range s {
			if s[j] += b[j]; math.IsInf(b[j], -1) {
				s[j] = b[j]
			}
			if s[j] > top || s[j] != s[j] {
				top = s[j]
			}
		}
		keep(2)
		var sum float64
		for j := range s {
			if math.IsInf(top, -1) { // no key
				s[j] = 0
			} else {
				s[j] = math.Exp(s[j] - top)
			}
			sum += s[j]
		}
		for j := range s {
			if sum != 0 {
				s[j] = s[j] / sum
			}
		}
		keep(3)
		at := r * a.vsize
		if a.packed {
			at = ((img*a.length+i)*a.heads + h) * a.vsize
		}
		for j, p := range s {
			if p == 0 {
				continue
			}
			for d, x := range values[j*a.vsize:][:a.vsize] {
				y[at+d] += p * x
			}
		}
	}
	narrow(out[0], y)
	if qk != nil {
		narrow(out[3], qk)
	}
	return nil
}

// bias gives a function that writes what is added to the scores of query i of head
// h of image img.
func (a *attention) bias(n *graph.Node, mask, nonpad *tensor.Tensor) func(img, h, i int, b []float64) {
	var m []float64
	var st [3]int
	width := 0
	if mask != nil {
		if mask.DType == tensor.Bool {
			m = make([]float64, mask.Len())
			for i := range m {
				if mask.Bytes()[i] == 0 {
					m[i] = math.Inf(-1)
				}
			}
		} else {
			m = wide(mask)
		}
		s := mask.Shape
		width = s[len(s)-1]
		for i, d := range s.Strides()[:len(s)-1] {
			if s[i] != 1 {
				st[3-len(s)+1+i] = d
			}
		}
	}
	var valid []int64
	if nonpad != nil {
		valid = ints64(nonpad)
	}
	left, right, causal := n.Int("left_window_size", -1), n.Int("right_window_size", -1), n.Int("is_causal", 0) != 0
	far := int64(math.MaxInt32)
	return func(img, h, i int, b []float64) {
		at := int64(a.past + i) // the position of the query among the keys
		if valid != nil {
			at = max(-far, min(far, valid[img])) - int64(a.length) + int64(i)
		}
		for j := range b {
			b[j] = 0
			if m != nil {
				if b[j] = math.Inf(-1); j < width {
					b[j] = m[img*st[0]+h*st[1]+i*st[2]+j]
				}
			}
			p := int64(j)
			if causal && p > at || left >= 0 && at-p > left || right >= 0 && p-at > right || valid != nil && p >= valid[img] {
				b[j] = math.Inf(-1)
			}
		}
	}
}
