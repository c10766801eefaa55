package op

import (
	"whit/graph"
	"whit/tensor"
)

// matTypes are the element types of matrix products.
var matTypes = append([]tensor.DType{tensor.Int32, tensor.Int64, tensor.Uint32, tensor.Uint64}, Floats...)

// MatMul is numpy's matmul: y = A·B over the last two axes, the others being
// broadcast. A vector A is a row, a vector B a column, and its axis vanishes from y.
func init() {
	Register(Op{
		Name:     "MatMul",
		Infer:    inferMatMul,
		Ref:      matNumbers(refMatMul[float64], refMatMul[int32], refMatMul[int64], refMatMul[uint32], refMatMul[uint64]),
		VJP:      vjpMatMul,
		Channels: channelsMatMul,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			if m, err := newMatmul(n, n.In[0].Type.Shape, n.In[1].Type.Shape); err == nil {
				macs = int64(m.batch.NumElements()) * int64(m.m) * int64(m.k) * int64(m.n)
			}
			return macs, IOBytes(n)
		},
	})
	// MatMulGradA is the gradient of MatMul with respect to A: inputs dy, B and A (of
	// which only the type is used). MatMulGradB: inputs dy, A and B, the same for B.
	for _, side := range []string{"A", "B"} {
		grad := matmulGrad{side == "B"}
		Register(Op{
			Domain: graph.Domain, Name: "MatMulGrad" + side,
			Infer: grad.infer,
			Ref:   grad.ref,
			Cost: func(n *graph.Node) (macs, bytes int64) {
				if m, err := grad.shape(n, n.In[1].Type.Shape, n.In[2].Type.Shape); err == nil {
					macs = int64(m.batch.NumElements()) * int64(m.m) * int64(m.k) * int64(m.n)
				}
				return macs, IOBytes(n) - int64(n.In[2].Type.NumBytes())
			},
		})
	}
}

// matNumbers makes a reference for matTypes: all floats are widened to float64 and
// rounded once, integers wrap.
func matNumbers(f64, i32, i64, u32, u64 ref) ref {
	return func(n *graph.Node, in, out []*tensor.Tensor) error {
		if !in[0].DType.IsFloat() {
			return numbers{i32: i32, i64: i64, u32: u32, u64: u64}.ref(n, in, out)
		}
		w := make([]*tensor.Tensor, len(in))
		for i, t := range in {
			if t != nil {
				w[i] = tensor.From(wide(t), t.Shape...)
			}
		}
		y := tensor.New(tensor.Float64, out[0].Shape...)
		if err := f64(n, w, []*tensor.Tensor{y}); err != nil {
			return err
		}
		narrow(out[0], tensor.Of[float64](y))
		return nil
	}
}

// mulAdd is c[m,n] += Σ_k a[m,k]·b[k,n], k ascending, with c row-major and the
// strides given of a (rows am, columns ak) and b (rows bk, columns bn).
func mulAdd[T Number](c, a, b []T, m, n, k, am, ak, bk, bn int) {
	for i := range m {
		row := c[i*n : (i+1)*n]
		if bn == 1 {
			for p := range k {
				f := a[i*am+p*ak]
				for j, v := range b[p*bk:][:n] {
					row[j] += f * v
				}
			}
			continue
		}
		for j := range row {
			s := row[j]
			for p := range k {
				s += a[i*am+p*ak] * b[p*bk+j*bn]
			}
			row[j] = s
		}
	}
}

// matmul is the broadcast shape of a MatMul: batch matrices of m x k times k x n.
type matmul struct {
	batch          tensor.Shape
	m, n, k        int
	aStep, bStep   []int // strides in matrices over batch; 0 where broadcast
	vectorA, vectB bool
}

func newMatmul(n *graph.Node, a, b tensor.Shape) (*matmul, error) {
	if len(a) == 0 || len(b) == 0 {
		return nil, Errorf(n, "A %v times B %v: scalars are not allowed", a, b)
	}
	m := &matmul{m: 1, n: 1}
	fail := func() (*matmul, error) { return nil, Errorf(n, "A %v times B %v: shapes do not fit", a, b) }
	if m.vectorA = len(a) == 1; m.vectorA {
		a = tensor.Shape{1, a[0]}
	}
	if m.vectB = len(b) == 1; m.vectB {
		b = tensor.Shape{b[0], 1}
	}
	ra, rb := len(a)-2, len(b)-2
	m.m, m.k, m.n = a[ra], a[ra+1], b[rb+1]
	if b[rb] != m.k {
		return fail()
	}
	r := max(ra, rb)
	m.batch, m.aStep, m.bStep = make(tensor.Shape, r), make([]int, r), make([]int, r)
	sa, sb := 1, 1
	for i := 1; i <= r; i++ {
		da, db := 1, 1
		if i <= ra {
			da = a[ra-i]
		}
		if i <= rb {
			db = b[rb-i]
		}
		if da != db && da != 1 && db != 1 {
			return fail()
		}
		d := da
		if da == 1 {
			d = db
		}
		m.batch[r-i] = d
		if da != 1 {
			m.aStep[r-i] = sa
		}
		if db != 1 {
			m.bStep[r-i] = sb
		}
		sa, sb = sa*da, sb*db
	}
	return m, nil
}

// shape is the shape of the product.
func (m *matmul) shape() tensor.Shape {
	s := m.batch.Clone()
	if !m.vectorA {
		s = append(s, m.m)
	}
	if !m.vectB {
		s = append(s, m.n)
	}
	return s
}

// each calls f with the index of every product and of the matrices of A and B that make it.
func (m *matmul) each(f func(y, a, b int)) {
	at := make([]int, len(m.batch))
	for y := range m.batch.NumElements() {
		a, b := 0, 0
		for i, v := range at {
			a += v * m.aStep[i]
			b += v * m.bStep[i]
		}
		f(y, a, b)
		step(at, m.batch)
	}
}

func inferMatMul(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 2, 2, matTypes...); err != nil {
		return nil, err
	}
	if err := oneType(n, 0, 1); err != nil {
		return nil, err
	}
	m, err := newMatmul(n, n.In[0].Type.Shape, n.In[1].Type.Shape)
	if err != nil {
		return nil, err
	}
	return []tensor.Type{{DType: n.In[0].Type.DType, Shape: m.shape()}}, nil
}

func refMatMul[T Number](n *graph.Node, in, out []*tensor.Tensor) error {
	m, err := newMatmul(n, in[0].Shape, in[1].Shape)
	if err != nil {
		return err
	}
	a, b, y := tensor.Of[T](in[0]), tensor.Of[T](in[1]), tensor.Of[T](out[0])
	clear(y)
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	m.each(func(iy, ia, ib int) {
		mulAdd(y[iy*m.m*m.n:][:m.m*m.n], a[ia*m.m*m.k:], b[ib*m.k*m.n:], m.m, m.n, m.k, m.k, 1, m.n, 1)
	})
	return nil
}

func vjpMatMul(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
	a, b, dy := n.In[0], n.In[1], grads[0]
	d := make([]*graph.Value, 2)
	if dy == nil {
		return d, nil
	}
	plain := a.Bound() && b.Bound() && len(a.Type.Shape) == 2 && len(b.Type.Shape) == 2
	if !a.IsConst() {
		if plain {
			d[0] = g.Add("", "Gemm", map[string]any{"transB": int64(1)}, dy, b)
		} else {
			d[0] = g.Add(graph.Domain, "MatMulGradA", nil, dy, b, a)
		}
	}
	if !b.IsConst() {
		if plain {
			d[1] = g.Add("", "Gemm", map[string]any{"transA": int64(1)}, a, dy)
		} else {
			d[1] = g.Add(graph.Domain, "MatMulGradB", nil, dy, a, b)
		}
	}
	return d, nil
}

// matmulGrad is the gradient of MatMul for one side: inputs dy, the other factor, and
// the factor itself as the pattern of the result. Broadcast matrices are summed.
type matmulGrad struct{ b bool }

func (s matmulGrad) shape(n *graph.Node, other, like tensor.Shape) (*matmul, error) {
	if s.b {
		return newMatmul(n, other, like)
	}
	return newMatmul(n, like, other)
}

func (s matmulGrad) infer(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 3, 3, Floats...); err != nil {
		return nil, err
	}
	if err := oneType(n, 0, 1, 2); err != nil {
		return nil, err
	}
	m, err := s.shape(n, n.In[1].Type.Shape, n.In[2].Type.Shape)
	if err != nil {
		return nil, err
	}
	if !n.In[0].Type.Shape.Equal(m.shape()) {
		return nil, Errorf(n, "dy has shape %v, want %v", n.In[0].Type.Shape, m.shape())
	}
	return []tensor.Type{n.In[2].Type}, nil
}

func (s matmulGrad) ref(n *graph.Node, in, out []*tensor.Tensor) error {
	m, err := s.shape(n, in[1].Shape, in[2].Shape)
	if err != nil {
		return err
	}
	dy, other, d := wide(in[0]), wide(in[1]), make([]float64, in[2].Len())
	if len(dy) > 0 && len(d) > 0 {
		m.each(func(iy, ia, ib int) {
			if s.b { // dB = Aᵀ·dy
				mulAdd(d[ib*m.k*m.n:][:m.k*m.n], other[ia*m.m*m.k:], dy[iy*m.m*m.n:], m.k, m.n, m.m, 1, m.k, m.n, 1)
			} else { // dA = dy·Bᵀ
				mulAdd(d[ia*m.m*m.k:][:m.m*m.k], dy[iy*m.m*m.n:], other[ib*m.k*m.n:], m.m, m.k, m.n, m.n, 1, 1, m.n)
			}
		})
	}
	narrow(out[0], d)
	return nil
}

// channelsMatMul: A's columns are B's rows, B's columns are y's, A's rows are y's.
func channelsMatMul(n *graph.Node) []Coupling {
	a, b := len(n.In[0].Type.Shape), len(n.In[1].Type.Shape)
	cs := []Coupling{{From: Port{Axis: a - 1}, To: Port{Index: 1, Axis: max(b-2, 0)}}}
	y := max(a, b) - 1 // the axis of y that the last one of B is
	if a == 1 {
		y--
	}
	if b >= 2 {
		cs = append(cs, Coupling{From: Port{Index: 1, Axis: b - 1}, To: Port{Out: true, Axis: y}})
	}
	if a >= 2 { // without B's last axis A's rows are last in y
		cs = append(cs, Coupling{From: Port{Axis: a - 2}, To: Port{Out: true, Axis: y - 1}})
	}
	return cs
}
