package op

import (
	"whit/graph"
	"whit/tensor"
)

// Gemm is y = alpha·A'·B' + beta·C for matrices: A' [M,K] is A or, with transA, its
// transpose, B' [K,N] likewise; C is broadcast to [M,N]. Integers wrap, and want
// whole alpha and beta.
func init() {
	Register(Op{
		Name:     "Gemm",
		Infer:    inferGemm,
		Ref:      matNumbers(refGemm[float64], refGemm[int32], refGemm[int64], refGemm[uint32], refGemm[uint64]),
		VJP:      vjpGemm,
		Channels: channelsGemm,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			m, c, k := gemmShape(n, n.In[0].Type.Shape, n.In[1].Type.Shape)
			return int64(m) * int64(c) * int64(k), IOBytes(n)
		},
	})
	// GemmGradC is the gradient of Gemm with respect to C: inputs dy [M,N] and C (of
	// which only the type is used); dC is beta times dy, summed where C was broadcast.
	Register(Op{
		Domain: graph.Domain, Name: "GemmGradC",
		Infer: inferGemmGradC,
		Ref:   refGemmGradC,
	})
}

// gemmShape is M, N and K of matrices of shapes a and b.
func gemmShape(n *graph.Node, a, b tensor.Shape) (rows, cols, k int) {
	rows, k, cols = a[0], a[1], b[1]
	if n.Int("transA", 0) != 0 {
		rows, k = k, rows
	}
	if n.Int("transB", 0) != 0 {
		cols = b[0]
	}
	return rows, cols, k
}

func inferGemm(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 2, 3, matTypes...); err != nil {
		return nil, err
	}
	if err := oneType(n, 0, 1, 2); err != nil {
		return nil, err
	}
	a, b := n.In[0].Type, n.In[1].Type
	if len(a.Shape) != 2 || len(b.Shape) != 2 {
		return nil, Errorf(n, "A %v and B %v: want matrices", a.Shape, b.Shape)
	}
	m, c, k := gemmShape(n, a.Shape, b.Shape)
	bk := b.Shape[0]
	if n.Int("transB", 0) != 0 {
		bk = b.Shape[1]
	}
	if bk != k {
		return nil, Errorf(n, "A %v and B %v (transA %d, transB %d) do not fit", a.Shape, b.Shape, n.Int("transA", 0), n.Int("transB", 0))
	}
	if v := n.Input(2); v != nil {
		if s := v.Type.Shape; !gemmBiasFits(s, m, c) {
			return nil, Errorf(n, "C %v does not broadcast to [%d,%d]", s, m, c)
		}
	}
	if a.DType.IsInt() {
		for _, name := range []string{"alpha", "beta"} {
			if f := n.Float(name, 1); f != float32(int32(f)) {
				return nil, Unsupported(n, "%s %g with %v", name, f, a.DType)
			}
		}
	}
	return []tensor.Type{{DType: a.DType, Shape: tensor.Shape{m, c}}}, nil
}

func refGemm[T Number](n *graph.Node, in, out []*tensor.Tensor) error {
	m, c, k := gemmShape(n, in[0].Shape, in[1].Shape)
	a, b, y := tensor.Of[T](in[0]), tensor.Of[T](in[1]), tensor.Of[T](out[0])
	am, ak, bk, bn := k, 1, c, 1
	if n.Int("transA", 0) != 0 {
		am, ak = 1, m
	}
	if n.Int("transB", 0) != 0 {
		bk, bn = 1, k
	}
	clear(y)
	if k > 0 {
		mulAdd(y, a, b, m, c, k, am, ak, bk, bn)
	}
	alpha, beta := n.Float("alpha", 1), n.Float("beta", 1)
	if alpha != 1 {
		f := asNumber[T](alpha)
		for i := range y {
			y[i] *= f
		}
	}
	if len(in) < 3 || in[2] == nil {
		return nil
	}
	bias, f := tensor.Of[T](in[2]), asNumber[T](beta)
	rs, cs := gemmBiasStrides(in[2].Shape)
	for i := range m {
		for j := range c {
			y[i*c+j] += f * bias[i*rs+j*cs]
		}
	}
	return nil
}

// gemmBiasStrides are the strides by row and column of y of a C of shape s.
func gemmBiasStrides(s tensor.Shape) (row, col int) {
	if len(s) >= 1 && s[len(s)-1] != 1 {
		col = 1
	}
	if len(s) == 2 && s[0] != 1 {
		row = s[1]
	}
	return row, col
}

func gemmBiasFits(c tensor.Shape, rows, cols int) bool {
	r := len(c)
	return r <= 2 && (r < 1 || c[r-1] == 1 || c[r-1] == cols) && (r < 2 || c[0] == 1 || c[0] == rows)
}

func inferGemmGradC(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 2, 2, Floats...); err != nil {
		return nil, err
	}
	if err := oneType(n, 0, 1); err != nil {
		return nil, err
	}
	dy, c := n.In[0].Type.Shape, n.In[1].Type
	if len(dy) != 2 || !gemmBiasFits(c.Shape, dy[0], dy[1]) {
		return nil, Errorf(n, "C %v does not broadcast to dy %v", c.Shape, dy)
	}
	return []tensor.Type{c}, nil
}

func refGemmGradC(n *graph.Node, in, out []*tensor.Tensor) error {
	dy, dc, s := wide(in[0]), make([]float64, in[1].Len()), in[0].Shape
	rs, cs := gemmBiasStrides(in[1].Shape)
	for i := range s[0] {
		for j := range s[1] {
			dc[i*rs+j*cs] += dy[i*s[1]+j]
		}
	}
	beta := float64(n.Float("beta", 1))
	for i := range dc {
		dc[i] *= beta
	}
	narrow(out[0], dc)
	return nil
}

// asNumber is f as a T; for integers f is whole, and a negative one wraps.
func asNumber[T Number](f float32) T {
	if T(1)/2 != 0 {
		return T(f)
	}
	return T(int64(f))
}

func vjpGemm(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
	a, b, c, dy := n.In[0], n.In[1], n.Input(2), grads[0]
	d := make([]*graph.Value, len(n.In))
	if dy == nil {
		return d, nil
	}
	ta, tb, one := n.Int("transA", 0) != 0, n.Int("transB", 0) != 0, int64(1)
	attrs := func(transA, transB bool) map[string]any {
		m := map[string]any{}
		if transA {
			m["transA"] = one
		}
		if transB {
			m["transB"] = one
		}
		if alpha := n.Float("alpha", 1); alpha != 1 {
			m["alpha"] = alpha
		}
		return m
	}
	if !a.IsConst() {
		if ta {
			d[0] = g.Add("", "Gemm", attrs(tb, true), b, dy)
		} else {
			d[0] = g.Add("", "Gemm", attrs(false, !tb), dy, b)
		}
	}
	if !b.IsConst() {
		if tb {
			d[1] = g.Add("", "Gemm", attrs(true, ta), dy, a)
		} else {
			d[1] = g.Add("", "Gemm", attrs(!ta, false), a, dy)
		}
	}
	if c != nil && !c.IsConst() {
		// A bias of one value a column, and more than one, needs no broadcasting.
		if s := c.Type.Shape; c.Bound() && len(s) == 1 && s[0] > 1 && n.Float("beta", 1) == 1 {
			d[2] = g.Add(graph.Domain, "BiasGrad", nil, dy)
		} else {
			d[2] = g.Add(graph.Domain, "GemmGradC", map[string]any{"beta": n.Float("beta", 1)}, dy, c)
		}
	}
	return d, nil
}

// channelsGemm: the columns of A' are the rows of B', the columns of B' are y's and
// C's, the rows of A' are y's.
func channelsGemm(n *graph.Node) []Coupling {
	var am, ak, bk, bn = 0, 1, 0, 1
	if n.Int("transA", 0) != 0 {
		am, ak = 1, 0
	}
	if n.Int("transB", 0) != 0 {
		bk, bn = 1, 0
	}
	cols := Port{Index: 1, Axis: bn}
	cs := []Coupling{
		{From: Port{Axis: ak}, To: Port{Index: 1, Axis: bk}},
		{From: cols, To: Port{Out: true, Axis: 1}},
		{From: Port{Axis: am}, To: Port{Out: true}},
	}
	if c := n.Input(2); c != nil {
		s := c.Type.Shape
		if len(s) > 0 && s[len(s)-1] == n.In[1].Type.Shape[bn] {
			cs = append(cs, Coupling{From: cols, To: Port{Index: 2, Axis: len(s) - 1}})
		}
		if len(s) == 2 && s[0] != 1 {
			cs = append(cs, Coupling{From: Port{Axis: am}, To: Port{Index: 2}})
		}
	}
	return cs
}
