package kernel

import (
	"math"
	"slices"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// Functions of one value that take several steps, such as x·sigmoid(x): each step runs over
// a few kilobytes that stay in a first-level cache, with the bits that a node for each step
// would give.
func init() {
	register := func(domain, name string) {
		registerElementwise(Kernel{
			Domain: domain, Op: name, Name: "f32_curve", Priority: 5, Parts: true,
			Match:  func(n *graph.Node, _ *Env) bool { return curveOf(n) != nil },
			Layout: elementwiseLayout,
			Prepare: func(n *graph.Node, e *Env) (*Prepared, error) {
				m, cv := *n, curveOf(n)
				m.In = n.In[:1]
				p := elementwiseIn(&m, cv.floats(), func(*Call) binaryFunc {
					flat := kern.FlatOf(e.CPU)
					return func(tmp, dst, a, _ []float32, _, _ int) { cv.run(flat, dst, a, tmp) }
				})
				for i := 1; i < len(n.In); i++ {
					p.Packed = append(p.Packed, i)
				}
				return p, nil
			},
		})
	}
	register(graph.Domain, "Fused")
	for _, name := range curves {
		register("", name)
	}
}

// curves are the operators that are curves by themselves.
var curves = []string{"Erf", "Exp", "Gelu", "Swish", "Mish"}

// curveChunk is how many floats a step takes together.
const curveChunk = 1024

// maxCurveBuffers is how many results between steps there may be at a time.
const maxCurveBuffers = 4

type curveOp uint8

const (
	curveBinary curveOp = iota
	curveClamp
	curveSigmoid
	curveSwish // x·sigmoid(x)
	curveTanh
	curveErf
	curveExp
)

// Places that a step reads and writes: a buffer from 0 on, or one of these.
const (
	curveX     = -1 - iota // the function's argument
	curveY                 // its result
	curveConst             // the step's constant
)

type curveStep struct {
	op     curveOp
	f      kern.Op // of curveBinary
	c      [1]float32
	lo, hi float32
	a, b   int
	dst    int
}

// curve is a function of one float in steps.
type curve struct {
	steps   []curveStep
	buffers int
}

// floats is how many floats of temporary memory run needs.
func (cv *curve) floats() int { return cv.buffers * curveChunk }

// run is dst[i] = f(x[i]); dst may be x.
func (cv *curve) run(v kern.Flat, dst, x, tmp []float32) {
	for len(dst) > 0 {
		n := min(len(dst), curveChunk)
		for i := range cv.steps {
			s := &cv.steps[i]
			at := func(p int) []float32 {
				switch p {
				case curveX:
					return x[:n]
				case curveY:
					return dst[:n]
				case curveConst:
					return s.c[:]
				}
				return tmp[p*curveChunk:][:n]
			}
			to, a := at(s.dst), at(s.a)
			switch s.op {
			case curveBinary:
				sa, sb := 1, 1
				if s.a == curveConst {
					sa = 0
				}
				if s.b == curveConst {
					sb = 0
				}
				v.Binary(s.f, to, a, at(s.b), sa, sb)
			case curveClamp:
				v.Clamp(to, a, s.lo, s.hi)
			case curveSigmoid:
				v.Sigmoid(to, a)
			case curveSwish:
				v.Swish(to, a)
			case curveTanh:
				v.Tanh(to, a)
			case curveErf:
				v.Erf(to, a)
			case curveExp:
				v.Exp(to, a)
			}
		}
		dst, x = dst[n:], x[n:]
	}
}

// pixels runs over n pixels of c floats each that are step apart, in place; tmp has a chunk
// more than run needs, in which short pixels are brought together.
func (cv *curve) pixels(v kern.Flat, y []float32, n, c, step int, tmp []float32) {
	if c == step {
		cv.run(v, y[:n*c], y, tmp)
		return
	}
	some := curveChunk / c
	if some < 2 {
		for i := range n {
			z := y[i*step:][:c]
			cv.run(v, z, z, tmp)
		}
		return
	}
	near, tmp := tmp[:curveChunk], tmp[curveChunk:]
	for i := 0; i < n; i += some {
		k := min(some, n-i)
		for j := range k {
			copy(near[j*c:(j+1)*c], y[(i+j)*step:])
		}
		cv.run(v, near[:k*c], near, tmp)
		for j := range k {
			copy(y[(i+j)*step:], near[j*c:(j+1)*c])
		}
	}
}

// curveOf is the function that a node alone or the body of a whit.Fused of one input is; nil: none.
func curveOf(n *graph.Node) *curve {
	if len(n.In) == 0 || len(n.Out) != 1 || n.In[0] == nil || !f32Node(n) {
		return nil
	}
	if n.Domain == "" {
		return newCurve([]*graph.Node{n}, n.In[0])
	}
	b := n.Graph("body")
	if b == nil || len(n.In) != 1 || len(b.Inputs) != 1 || len(b.Outputs) != 1 || len(b.Nodes) == 0 || b.Outputs[0] != b.Nodes[len(b.Nodes)-1].Out[0] {
		return nil
	}
	return newCurve(b.Nodes, b.Inputs[0])
}

// curveMaker turns nodes into steps. Results are numbered as they come; place then gives
// them buffers.
type curveMaker struct {
	steps []curveStep
	at    map[*graph.Value]int
}

func (m *curveMaker) add(s curveStep) int {
	s.dst = len(m.steps)
	m.steps = append(m.steps, s)
	return s.dst
}

func (m *curveMaker) binary(f kern.Op, a, b int) int { return m.add(curveStep{f: f, a: a, b: b}) }

func (m *curveMaker) with(f kern.Op, a int, c float32) int {
	return m.add(curveStep{f: f, a: a, b: curveConst, c: [1]float32{c}})
}

func (m *curveMaker) clamp(a int, lo, hi float32) int {
	return m.add(curveStep{op: curveClamp, a: a, lo: lo, hi: hi})
}

func (m *curveMaker) unary(op curveOp, a int) int { return m.add(curveStep{op: op, a: a}) }

// newCurve is the function that nodes compute of x, the last one's output; nil where one of
// them is something else.
func newCurve(nodes []*graph.Node, x *graph.Value) *curve {
	m := &curveMaker{at: map[*graph.Value]int{x: curveX}}
	for _, n := range nodes {
		if n.Domain != "" || len(n.Out) != 1 || n.Out[0] == nil || !n.Out[0].Type.Equal(x.Type) {
			return nil
		}
		y, ok := m.node(n)
		if !ok {
			return nil
		}
		m.at[n.Out[0]] = y
	}
	if len(m.steps) == 0 || m.at[nodes[len(nodes)-1].Out[0]] != len(m.steps)-1 {
		return nil
	}
	m.joinSwish()
	return m.place()
}

// joinSwish makes one step of a sigmoid and the product with its argument after it.
func (m *curveMaker) joinSwish() {
	reads := func(s *curveStep, p int) bool { return s.a == p || s.op == curveBinary && s.b == p }
	for i := len(m.steps) - 1; i > 0; i-- {
		s, g := &m.steps[i], m.steps[i-1]
		if g.op != curveSigmoid || g.a == curveConst || s.op != curveBinary || s.f != kern.OpMul || (s.a != g.a || s.b != i-1) && (s.b != g.a || s.a != i-1) ||
			slices.ContainsFunc(m.steps[i+1:], func(s curveStep) bool { return reads(&s, i-1) }) {
			continue
		}
		*s = curveStep{op: curveSwish, a: g.a}
		m.steps = slices.Delete(m.steps, i-1, i)
		for j := range m.steps {
			for _, p := range []*int{&m.steps[j].a, &m.steps[j].b} {
				if *p >= i {
					*p--
				}
			}
		}
	}
}

// node adds the steps of n and says which makes its output.
func (m *curveMaker) node(n *graph.Node) (y int, ok bool) {
	// operand is a value that is known, or a constant of one element.
	operand := func(i int) (at int, c float32, ok bool) {
		v := n.Input(i)
		if v == nil {
			return 0, 0, false
		}
		if at, ok := m.at[v]; ok {
			return at, 0, true
		}
		if !v.IsConst() || v.Type.DType != tensor.Float32 || v.Type.Shape.NumElements() != 1 {
			return 0, 0, false
		}
		return curveConst, f32s(v.Tensor())[0], true
	}
	x, _, ok := operand(0)
	if !ok {
		return 0, false
	}
	if f, is := map[string]kern.Op{"Add": kern.OpAdd, "Sub": kern.OpSub, "Mul": kern.OpMul, "Div": kern.OpDiv}[n.Op]; is && len(n.In) == 2 {
		_, c, _ := operand(0)
		b, d, ok := operand(1)
		if !ok || x == curveConst && b == curveConst {
			return 0, false
		}
		if b == curveConst {
			c = d
		}
		return m.add(curveStep{f: f, a: x, b: b, c: [1]float32{c}}), true
	}
	if x == curveConst {
		return 0, false
	}
	hard := func(alpha, beta float32) int {
		return m.clamp(m.with(kern.OpAdd, m.with(kern.OpMul, x, alpha), beta), 0, 1)
	}
	switch n.Op {
	case "Relu", "Clip":
		a, ok := limits(n)
		return m.clamp(x, a.lo, a.hi), ok
	case "LeakyRelu":
		return m.with(kern.OpPRelu, x, n.Float("alpha", 0.01)), true
	case "Neg":
		return m.with(kern.OpMul, x, -1), true
	case "Pow":
		_, c, ok := operand(1)
		if y = m.binary(kern.OpMul, x, x); c == 3 {
			y = m.binary(kern.OpMul, y, x)
		}
		return y, ok && (c == 2 || c == 3)
	case "Sigmoid":
		return m.unary(curveSigmoid, x), true
	case "Tanh":
		return m.unary(curveTanh, x), true
	case "Erf":
		return m.unary(curveErf, x), true
	case "Exp":
		return m.unary(curveExp, x), true
	case "HardSigmoid":
		return hard(n.Float("alpha", 0.2), n.Float("beta", 0.5)), true
	case "HardSwish":
		return m.binary(kern.OpMul, x, hard(1.0/6, 0.5)), true
	case "Swish":
		s := x
		if alpha := n.Float("alpha", 1); alpha != 1 {
			s = m.with(kern.OpMul, x, alpha)
		}
		return m.binary(kern.OpMul, x, m.unary(curveSigmoid, s)), true
	case "Gelu":
		var t int
		if n.Str("approximate", "none") == "tanh" {
			cube := m.binary(kern.OpMul, m.binary(kern.OpMul, x, x), x)
			t = m.with(kern.OpMul, m.binary(kern.OpAdd, m.with(kern.OpMul, cube, 0.044715), x), float32(math.Sqrt(2/math.Pi)))
			t = m.unary(curveTanh, t)
		} else {
			t = m.unary(curveErf, m.with(kern.OpMul, x, math.Sqrt2/2))
		}
		return m.with(kern.OpMul, m.binary(kern.OpMul, m.with(kern.OpAdd, t, 1), x), 0.5), true
	case "Mish":
		// tanh(ln(1+e)) = n/(n+2) with n = e·(e+2); it is 1 in float32 long before 20.
		e := m.unary(curveExp, m.clamp(x, float32(math.Inf(-1)), 20))
		k := m.binary(kern.OpMul, e, m.with(kern.OpAdd, e, 2))
		return m.binary(kern.OpMul, x, m.binary(kern.OpDiv, k, m.with(kern.OpAdd, k, 2))), true
	}
	return 0, false
}

// place gives every result a buffer until its last use; nil where they are too many.
func (m *curveMaker) place() *curve {
	cv := &curve{steps: m.steps}
	last := make([]int, len(m.steps))
	for i, s := range m.steps {
		for _, p := range []int{s.a, s.b} {
			if p >= 0 && (p == s.a || s.op == curveBinary) {
				last[p] = i
			}
		}
	}
	buffer := make([]int, len(m.steps)) // of each result
	var owner [maxCurveBuffers]int      // the result in a buffer, + 1
	for i := range cv.steps {
		s := &cv.steps[i]
		for _, p := range []*int{&s.a, &s.b} {
			if *p >= 0 && (p == &s.a || s.op == curveBinary) {
				*p = buffer[*p]
			}
		}
		if i == len(cv.steps)-1 {
			s.dst = curveY
			break
		}
		b := 0
		for b < len(owner) && owner[b] != 0 && last[owner[b]-1] > i {
			b++
		}
		if b == len(owner) {
			return nil
		}
		owner[b], buffer[i], s.dst = i+1, b, b
		cv.buffers = max(cv.buffers, b+1)
	}
	return cv
}
