package op

import (
	"math"
	"slices"
	"strings"

	"whit/graph"
	"whit/tensor"
)

// Einsum is Einstein's summation: attribute equation, "ij,jk->ik", names the axes of
// each input by letters; axes of one letter run together, and letters that the output
// does not name are summed over. "..." stands for any axes, which broadcast. Without
// "->" the output has the letters that come once, in order, behind those axes. Inputs
// are taken in one by one, from the left, and what later ones and the output do not
// name is summed at once. Floats are summed in float64, integers wrap.
func init() {
	Register(Op{
		Name: "Einsum",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, maxOperands, Numbers...); err != nil {
				return nil, err
			}
			for i, v := range n.In {
				if v == nil || v.Type.DType != n.In[0].Type.DType {
					return nil, Errorf(n, "input %d is missing or of another type", i)
				}
			}
			e, err := newEinsum(n)
			if err != nil {
				return nil, err
			}
			y := make(tensor.Shape, len(e.out))
			for i, l := range e.out {
				y[i] = e.size[l]
			}
			return []tensor.Type{{DType: n.In[0].Type.DType, Shape: y}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			e, err := newEinsum(n)
			if err != nil {
				return err
			}
			if in[0].DType.IsFloat() {
				vs := make([][]float64, len(in))
				for i, t := range in {
					vs[i] = wide(t)
				}
				narrow(out[0], einsumOf(e, vs))
				return nil
			}
			vs := make([][]int64, len(in))
			for i, t := range in {
				vs[i] = ints64(t)
			}
			castTo(out[0], tensor.From(einsumOf(e, vs), out[0].Shape...), castOptions{})
			return nil
		},
		VJP: vjpEinsum,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			if e, err := newEinsum(n); err == nil {
				for _, s := range e.steps {
					macs += s.work
				}
			}
			return macs, IOBytes(n)
		},
	})
}

// maxOperands bounds the inputs of an Einsum, and maxLetters its axes, "..."'s included.
const (
	maxOperands = 64
	maxLetters  = 64
)

// einsum is a parsed equation. Axes are numbered; those that "..." stands for come first.
type einsum struct {
	in    [][]int // the axes of each input
	out   []int
	size  []int // of each axis
	dims  []tensor.Shape
	steps []einsumStep
}

// einsumStep multiplies what there is so far (at first nothing) with one input and
// sums, from the axes left and right to the axes out.
type einsumStep struct {
	left, right, out, sum []int
	work                  int64
}

func newEinsum(n *graph.Node) (*einsum, error) {
	eq := strings.ReplaceAll(n.Str("equation", ""), " ", "")
	lhs, rhs, explicit := strings.Cut(eq, "->")
	terms := strings.Split(lhs, ",")
	if len(terms) != len(n.In) || len(eq) > 4096 {
		return nil, Errorf(n, "equation %.80q for %d inputs", eq, len(n.In))
	}
	// How many axes "..." stands for.
	dots := 0
	for i, t := range terms {
		rank, letters := len(n.In[i].Type.Shape), len(strings.Replace(t, "...", "", 1))
		if strings.Contains(t, "...") {
			dots = max(dots, rank-letters)
		}
		if letters > rank || !strings.Contains(t, "...") && letters != rank {
			return nil, Errorf(n, "term %.80q for an input of rank %d", t, rank)
		}
	}
	e := &einsum{size: make([]int, dots)}
	for i := range e.size {
		e.size[i] = 1
	}
	letter, count := map[byte]int{}, map[int]int{}
	fit := func(l, d int) bool {
		if e.size[l] == 1 {
			e.size[l] = d
		}
		return d == 1 || d == e.size[l]
	}
	for i, t := range terms {
		s := n.In[i].Type.Shape
		var axes []int
		for len(t) > 0 {
			if strings.HasPrefix(t, "...") {
				k := len(s) - len(axes) - (len(t) - 3)
				for j := range k {
					axes = append(axes, dots-k+j)
				}
				t = t[3:]
				continue
			}
			c := t[0]
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
				return nil, Errorf(n, "equation %.80q: %q is not a letter", eq, c)
			}
			if _, ok := letter[c]; !ok {
				letter[c] = len(e.size)
				e.size = append(e.size, 1)
			}
			axes, t = append(axes, letter[c]), t[1:]
		}
		for k, l := range axes {
			count[l]++
			if !fit(l, s[k]) {
				return nil, Errorf(n, "equation %.80q: input %d is %v, another one has %d there", eq, i, s, e.size[l])
			}
		}
		e.in, e.dims = append(e.in, axes), append(e.dims, s)
	}
	if len(e.size) > maxLetters {
		return nil, Errorf(n, "equation %.80q has more than %d axes", eq, maxLetters)
	}
	if explicit {
		if i := strings.Index(rhs, "..."); i >= 0 || dots == 0 {
			i = max(i, 0)
			rhs = rhs[:i] + "." + strings.TrimPrefix(rhs[i:], "...")
		}
		for _, c := range []byte(rhs) {
			l, ok := letter[c]
			switch {
			case c == '.':
				for i := range dots {
					e.out = append(e.out, i)
				}
				continue
			case !ok || slices.Contains(e.out, l):
				return nil, Errorf(n, "equation %.80q: output %q", eq, c)
			}
			e.out = append(e.out, l)
		}
	} else {
		for i := range dots {
			e.out = append(e.out, i)
		}
		for c := range byte(128) {
			if l, ok := letter[c]; ok && count[l] == 1 {
				e.out = append(e.out, l)
			}
		}
	}
	// An input whose axis does not stretch is looked at as it is.
	return e, e.plan(n)
}

// plan lists the steps, and bounds what lies between them.
func (e *einsum) plan(n *graph.Node) error {
	var have []int
	for i, right := range e.in {
		s := einsumStep{left: have, right: right}
		if i == len(e.in)-1 {
			s.out = e.out
		}
		var all []int
		for _, l := range append(slices.Clone(have), right...) {
			if slices.Contains(all, l) {
				continue
			}
			all = append(all, l)
			later := slices.Contains(e.out, l)
			for _, t := range e.in[i+1:] {
				later = later || slices.Contains(t, l)
			}
			if !later {
				s.sum = append(s.sum, l)
			} else if i < len(e.in)-1 {
				s.out = append(s.out, l)
			}
		}
		// An axis of the output that only ... of rank 0 inputs would have has size 1.
		for _, l := range s.out {
			if !slices.Contains(all, l) {
				all = append(all, l)
			}
		}
		var made tensor.Shape
		for _, l := range s.out {
			made = append(made, e.size[l])
		}
		s.work = 1
		for _, l := range all {
			d := int64(e.size[l])
			if d > 0 && s.work > math.MaxInt64/4/d {
				return Errorf(n, "the equation takes too much work")
			}
			s.work *= d
		}
		big := int64(1)
		for _, d := range made {
			if d > 0 && big > maxBetween/int64(d) {
				return Errorf(n, "the equation has more than %d elements in between", maxBetween)
			}
			big *= int64(d)
		}
		have = s.out
		e.steps = append(e.steps, s)
	}
	return nil
}

// maxBetween bounds the elements of a result between two inputs.
const maxBetween = 1 << 28

// einsumOf computes with the inputs' elements v.
func einsumOf[T float64 | int64](e *einsum, v [][]T) []T {
	acc := []T{1}
	var shape tensor.Shape
	for i, s := range e.steps {
		ls, rs := e.strides(s.left, shape), e.strides(s.right, e.dims[i])
		var made tensor.Shape
		for _, l := range s.out {
			made = append(made, e.size[l])
		}
		inner := make(tensor.Shape, 0, len(s.sum))
		for _, l := range s.sum {
			inner = append(inner, e.size[l])
		}
		pick := func(st []int, ls []int) (out []int) {
			for _, l := range ls {
				out = append(out, st[l])
			}
			return out
		}
		li, ri := pick(ls, s.sum), pick(rs, s.sum)
		next := make([]T, made.NumElements())
		walk(made, [][]int{pick(ls, s.out), pick(rs, s.out)}, func(pos int, off []int, n int, step []int) {
			p, q := off[0], off[1]
			for k := range n {
				var sum T
				walk(inner, [][]int{li, ri}, func(_ int, o []int, n int, st []int) {
					a, b := p+o[0], q+o[1]
					for range n {
						sum += acc[a] * v[i][b]
						a += st[0]
						b += st[1]
					}
				})
				next[pos+k] = sum
				p += step[0]
				q += step[1]
			}
		})
		acc, shape = next, made
	}
	return acc
}

// strides is, for each axis of the equation, how far an operand of axes and shape
// moves along it: an axis that it names twice moves both.
func (e *einsum) strides(axes []int, shape tensor.Shape) []int {
	st := make([]int, len(e.size))
	for k, s := range shape.Strides() {
		if shape[k] != 1 {
			st[axes[k]] += s
		}
	}
	return st
}

// vjpEinsum: the gradient of an input is the Einsum of the others and dy, where every
// letter of it is one of theirs.
func vjpEinsum(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
	eq := strings.ReplaceAll(n.Str("equation", ""), " ", "")
	lhs, rhs, explicit := strings.Cut(eq, "->")
	terms := strings.Split(lhs, ",")
	ds := make([]*graph.Value, len(n.In))
	for i, v := range n.In {
		if !wantsGrad(v) {
			continue
		}
		if !explicit || strings.Contains(eq, ".") || i >= len(terms) {
			return nil, Unsupported(n, "gradient of equation %.80q", eq)
		}
		from, in := []string{rhs}, []*graph.Value{grads[0]}
		for k, t := range terms {
			if k != i {
				from, in = append(from, t), append(in, n.In[k])
			}
		}
		for k, c := range terms[i] {
			if !strings.ContainsRune(strings.Join(from, ""), c) || strings.ContainsRune(terms[i][k+1:], c) {
				return nil, Unsupported(n, "gradient of equation %.80q", eq)
			}
		}
		d := g.Add("", "Einsum", map[string]any{"equation": strings.Join(from, ",") + "->" + terms[i]}, in...)
		ds[i] = sumTo(g, d, v, n.Out[0])
	}
	return ds, nil
}
