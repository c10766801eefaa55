package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
	"whit/weight"
)

// Convolution (one group) and products with a constant matrix whose weights are
// mostly zero: only what is not zero is packed and computed. Images stay NHWC; a
// tile transposes what it reads into planes of one channel each, so that a weight
// multiplies a vector of pixels, and its results back. Convolutions of few outputs, of
// which a vector of channels would be mostly empty, run here too, with all their weights.
// sparseVerdict decides.
func init() {
	for _, on := range [][2]string{{"", "Conv"}, {graph.Domain, "Fused"}} {
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "f32_sparse_conv", Priority: 30,
			Match:  matchSparse("Conv"),
			Layout: func(n *graph.Node, in []graph.Layout) Layouts { return sparseLayouts(n, in, nhwc([4]int{})) }, Prepare: prepareSparse,
		})
		match := matchSparse("Conv")
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "f32_sparse_planes", Priority: 31,
			Match:  func(n *graph.Node, e *Env) bool { return e.planes(n) && match(n, e) },
			Layout: func(n *graph.Node, in []graph.Layout) Layouts { return sparseLayouts(n, in, graph.Layout{}) }, Prepare: prepareSparse,
		})
	}
	for _, on := range [][2]string{{"", "Gemm"}, {graph.Domain, "Fused"}, {"", "MatMul"}} {
		name := on[1]
		if name == "Fused" {
			name = "Gemm"
		}
		Register(Kernel{Domain: on[0], Op: on[1], Name: "f32_sparse_" + lower(name), Priority: 30,
			Match: matchSparse(name), Prepare: prepareSparse})
	}
}

// sparseLayouts reads images as they come, row-major ones are planes already, and writes
// the layout out, as which a residual is read too.
func sparseLayouts(n *graph.Node, in []graph.Layout, out graph.Layout) Layouts {
	m, _, add := unfuseSum(n, "Conv")
	w, _ := convWindow(m)
	l := Layouts{In: make([]graph.Layout, len(n.In)), Out: []graph.Layout{out}}
	if in[0].Order == graph.NHWC {
		l.In[0] = nhwc(w.halo())
	}
	if add >= 0 {
		l.In[add] = out
	}
	return l
}

// sparseProduct is a node of this file as a convolution: a matrix product is one of
// 1x1 over an image of one row, whose pixels are the rows of the matrix.
type sparseProduct struct {
	n, fused  *graph.Node // the product, and the node that it is or begins
	act       activation
	w         window
	images    int
	cin, cout int
	add       int // the input that is added before the activation, or -1
	matrix    bool
	columns   bool // the weights of an output are a column of the constant, not a row
}

func (s *sparseProduct) taps() int { return s.w.kh * s.w.kw }
func (s *sparseProduct) k() int    { return s.taps() * s.cin }

// pointwise reports whether outputs meet inputs one to one.
func (s *sparseProduct) pointwise() bool {
	w := &s.w
	return w.kh == 1 && w.kw == 1 && w.sh == 1 && w.sw == 1 && w.halo() == [4]int{} && w.ph == 0 && w.pw == 0
}

// sparseOf reads the node as a product of this file; nil where it is none.
func sparseOf(fn *graph.Node) *sparseProduct {
	for _, name := range []string{"Conv", "Gemm", "MatMul"} {
		n, act, add := unfuseSum(fn, name)
		if n == nil {
			continue
		}
		if name != "Conv" && (add >= 0 || act.slope != nil) {
			return nil
		}
		b := n.Input(1)
		if !f32Node(n) || b == nil || !b.IsConst() || n.In[0].IsConst() || len(n.In) > 3 {
			return nil
		}
		s := &sparseProduct{n: n, fused: fn, act: act, add: add, images: 1}
		xs, ws, ys := n.In[0].Type.Shape, b.Type.Shape, n.Out[0].Type.Shape
		if xs.NumElements() == 0 || ws.NumElements() == 0 || ys.NumElements() == 0 {
			return nil
		}
		if name == "Conv" {
			var ok bool
			if s.w, ok = convWindow(n); !ok || n.Int("group", 1) != 1 {
				return nil
			}
			s.images, s.cout, s.cin = xs[0], ws[0], ws[1]
			return s
		}
		s.matrix = true
		if len(ws) != 2 {
			return nil
		}
		s.cin, s.cout, s.columns = ws[0], ws[1], true
		if name == "Gemm" {
			if n.Int("transB", 0) != 0 {
				s.cin, s.cout, s.columns = ws[1], ws[0], false
			}
			if n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 {
				return nil
			}
			// The bias is one for each column.
			if c := n.Input(2); c != nil {
				cs := c.Type.Shape
				if n.Float("beta", 1) != 1 || len(cs) == 0 || cs.NumElements() != s.cout || cs[len(cs)-1] != s.cout {
					return nil
				}
			}
		}
		m := ys.NumElements() / s.cout
		s.w = window{h: 1, w: m, oh: 1, ow: m, kh: 1, kw: 1, sh: 1, sw: 1, dh: 1, dw: 1}
		return s
	}
	return nil
}

func matchSparse(name string) func(*graph.Node, *Env) bool {
	return func(n *graph.Node, e *Env) bool {
		if m, _, _ := unfuseSum(n, name); m == nil || e.Training {
			return false
		}
		s := sparseOf(n)
		if s == nil {
			return false
		}
		return sparseVerdict(s, e).rows > 0
	}
}

// zeroCount says how many steps a constant takes in blocks of 1, 2 and 4 rows, and how
// many weights it has in all. A block is a step if any of its rows is not zero.
type zeroCount struct {
	steps [4]int
	all   bool // every block counts, zero or not
}

// sparseForms are the rows of a block of each form. Of three there are blocks where all weights
// are steps; zeros are not counted for them.
var sparseForms = [4]int{1, 2, 4, 3}

func (z *zeroCount) forms() []int {
	if z.all {
		return sparseForms[:]
	}
	return sparseForms[:3]
}

// countZeros looks at a constant once a program. A constant of whose sample most is
// not zero is not looked at further: nil.
func countZeros(s *sparseProduct, e *Env) *zeroCount {
	v := s.n.In[1]
	count := func() []byte {
		b := make([]byte, 24)
		if !mostlyZero(v) {
			return b[:1]
		}
		var z [3]int
		empty := make([]float32, s.k())
		eachRows(s, 4, func(_, n int, w []float32) {
			r := fourRows(w, n, empty)
			r1, r2, r3 := r[1][:len(r[0])], r[2][:len(r[0])], r[3][:len(r[0])]
			for i, v := range r[0] {
				a, b, c, d := magnitude(v), magnitude(r1[i]), magnitude(r2[i]), magnitude(r3[i])
				z[0] += some(a) + some(b) + some(c) + some(d)
				z[1] += some(a|b) + some(c|d)
				z[2] += some(a | b | c | d)
			}
		})
		for i, n := range z {
			binary.LittleEndian.PutUint64(b[8*i:], uint64(n))
		}
		return b
	}
	var b []byte
	if e.Pack != nil {
		b = e.Pack(v, fmt.Sprintf("f32_sparse_steps/%d/%v", s.cout, s.columns), count)
	} else {
		b = count()
	}
	if len(b) < 24 {
		return nil
	}
	z := &zeroCount{}
	for i := range z.forms() {
		z.steps[i] = int(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return z
}

// fewOutputs is the most output channels of a convolution that may run here with all its weights.
const fewOutputs = 16

// stepsOf is countZeros, or all steps for a convolution of few outputs.
func stepsOf(s *sparseProduct, e *Env) *zeroCount {
	z := countZeros(s, e)
	if z != nil || s.matrix || s.cout > fewOutputs || kern.SparseOf(e.CPU).ISA == "go" {
		return z
	}
	z = &zeroCount{all: true}
	for i, rows := range sparseForms {
		z.steps[i] = (s.cout + rows - 1) / rows * s.k()
	}
	return z
}

// magnitude is the bits of a float without its sign: 0 for 0 and -0.
func magnitude(v float32) uint32 { return math.Float32bits(v) << 1 }

// some is 1 where bits, of magnitudes, are not all zero.
func some(bits uint32) int { return int((bits | -bits) >> 31) }

// fourRows are n rows of len(empty) floats that follow each other in w, and empty ones.
func fourRows(w []float32, n int, empty []float32) (r [4][]float32) {
	for i := range r {
		r[i] = empty
		if i < n {
			r[i] = w[i*len(empty):][:len(empty)]
		}
	}
	return r
}

// mostlyZero looks at runs of a constant spread evenly: at least a quarter of what it
// sees is zero. Of Sparse weights it takes that as said.
func mostlyZero(v *graph.Value) bool {
	const runs, run = 8, 512
	size := v.Type.Shape.NumElements()
	// zeros counts those from at to end.
	var zeros func(at, end int) int
	switch w := v.Weight.(type) {
	case nil:
		d, buf := floats(v), tensor.AlignedBytes(pieceScratch(v, run))
		zeros = func(at, end int) (n int) {
			for _, x := range d(buf, at, end-at) {
				if x == 0 {
					n++
				}
			}
			return n
		}
	case weight.Codebook:
		if !slices.Contains(w.Centroids, 0) {
			return false
		}
		zeros = func(at, end int) (n int) {
			for ; at < end; at++ {
				if w.Centroids[w.Index(at)] == 0 {
					n++
				}
			}
			return n
		}
	default:
		return true
	}
	seen, zero := 0, 0
	for k, i := range [runs]int{0, 4, 2, 6, 1, 5, 3, 7} {
		if k == runs/2 && zero == 0 {
			return false // most constants have none
		}
		at := i * max(0, size-run) / runs
		end := min(size, at+run)
		seen, zero = seen+end-at, zero+zeros(at, end)
	}
	return 4*zero >= seen
}

// Why says which rung a convolution or product took and why, where its weights are
// compressed or hold many zeros, or its outputs are few: "" elsewhere.
func Why(n *graph.Node, e *Env) string {
	s := sparseOf(n)
	if s == nil || e.Training {
		return ""
	}
	z := stepsOf(s, e)
	if s.n.In[1].Weight == nil && z == nil {
		return ""
	}
	v := sparseVerdict(s, e)
	if v.rows == 0 && s.n.In[1].Weight == nil && z.all {
		return ""
	}
	if _, ok := codesForm(s); ok && s.matrix && v.rows == 0 {
		form, why := codesVerdict(s, e)
		if why == "" {
			why = fmt.Sprintf("%s: weights stay packed", kern.CodedOf(e.CPU).Name(form))
		}
		return why
	}
	return v.why
}
