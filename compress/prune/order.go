package prune

import (
	"context"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/entropy"
	"whit/op"
	"whit/tensor"
	"whit/weight"
)

// Order puts the units of layers, and with them all that is coupled to them, into the order in which the
// file's coder takes fewest bits. The network stays what it is: a hidden layer computes the same in any order.
//
// That hidden units may change places is R. Hecht-Nielsen's: On the algebraic structure of feedforward network weight spaces, 1990.
// The search is our own: units come one after the other, each the one whose
// weights are most like the last one's (their places count, blurred along the row, and their signs), and then
// single units move, and runs of units are turned round, as long as the code gets shorter.
var Order = &method.Method{
	Name: "order",
	Doc:  "orders the units of layers so that the file's coder takes fewer bits; the outputs stay",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers' output units: globs, joined by commas"},
		{Name: "tries", Kind: method.Int, Default: 500, Min: 0, Max: 1e6, Doc: "moves of units that are tried, a layer"},
	},
	Apply: order,
}

func order(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	y, err := NewSurgery(s.Graph, s.Train.Shape())
	if err != nil {
		return fmt.Errorf("order: %w", err)
	}
	for _, l := range layers {
		o := newOrder(s, y, l)
		if o == nil {
			continue // they are the outputs, or tied to something that is not to move
		}
		s.Draws++
		if err := o.search(ctx, a.Int("tries"), s.Seed+s.Draws); err != nil {
			return err
		}
		o.left(s)
		s.Tell(method.Event{Stage: "order", Message: fmt.Sprintf("%s: %.0f bytes of %.0f", l.Name, o.bits/8, o.first/8)})
	}
	if !slices.ContainsFunc(layers, func(l *method.Layer) bool { return l.Weight.Centroids != nil }) {
		return nil // what the stages count does not depend on the order
	}
	return s.StageShared(ctx)
}

// ordering is the order of the units of one layer.
type ordering struct {
	l     *method.Layer
	units []Atom
	held  []*moved
	code  []*moved // all that is coded, in the file's order; what does not move has no slots
	perm  []int    // perm[j] is the unit that comes j-th
	first float64
	bits  float64
}

// moved is a constant some of whose axis goes with the units.
type moved struct {
	h    *method.Held
	axis int
	slot [][]int // the indices of each unit
	syms []int32
}

// newOrder is nil where the layer's units cannot move.
func newOrder(s *method.State, y *Surgery, l *method.Layer) *ordering {
	o := &ordering{l: l}
	known := map[*method.Held]bool{}
	for _, a := range y.Atoms {
		if ix := a.In(outs(l)); ix == nil {
			continue
		} else if len(ix) != 1 {
			return nil
		}
		o.units = append(o.units, a)
	}
	if len(o.units) < 2 || len(o.units) != y.size(outs(l)) {
		return nil
	}
	for _, sp := range o.units[0] {
		if !sp.Value.IsConst() {
			continue
		}
		var h *method.Held
		for _, k := range s.Layers {
			for _, c := range []*method.Held{&k.Weight, k.Bias} {
				if c != nil && c.Value == sp.Value && c.As == nil {
					h = c
				}
			}
		}
		if h == nil || known[h] {
			return nil // a constant of another kind, or one that goes along two axes
		}
		known[h] = true
		m := &moved{h: h, axis: sp.Axis}
		for _, u := range o.units {
			ix := u.In(sp.Place)
			if len(ix) != len(sp.Index) || len(u) != len(o.units[0]) {
				return nil
			}
			m.slot = append(m.slot, ix)
		}
		m.syms = symbols(h)
		o.held = append(o.held, m)
	}
	for i := range o.units {
		o.perm = append(o.perm, i)
	}
	for _, k := range s.Layers {
		for _, h := range []*method.Held{&k.Weight, k.Bias} {
			if h == nil || h.As != nil {
				continue
			}
			m := &moved{h: h}
			if i := slices.IndexFunc(o.held, func(m *moved) bool { return m.h == h }); i >= 0 {
				m = o.held[i]
			} else {
				m.syms = symbols(h)
			}
			o.code = append(o.code, m)
		}
	}
	return o
}

// symbols are what the coder sees of a constant, about.
func symbols(h *method.Held) []int32 {
	x := h.Data()
	step := float64(h.Step)
	if step == 0 {
		for _, v := range x {
			step = max(step, math.Abs(float64(v))/5)
		}
	}
	out := make([]int32, len(x))
	for i, v := range x {
		if v != 0 && step > 0 {
			if out[i] = int32(math.RoundToEven(float64(v) / step)); out[i] == 0 {
				out[i] = 1
			}
		}
	}
	return out
}

// arrange writes the elements of src into dst in the order perm.
func arrange[T any](m *moved, dst, src []T, perm []int) {
	shape := m.h.Value.Type.Shape
	inner := 1
	for _, d := range shape[m.axis+1:] {
		inner *= d
	}
	n := shape[m.axis]
	copy(dst, src)
	for at := 0; at < len(src); at += n * inner {
		for j, u := range perm {
			for k, to := range m.slot[j] {
				copy(dst[at+to*inner:at+(to+1)*inner], src[at+m.slot[u][k]*inner:])
			}
		}
	}
}

// price is the bits of all layers' code with the units in that order.
func (o *ordering) price(perm []int) (bits float64) {
	cost := entropy.NewCost()
	for _, m := range o.code {
		syms := m.syms
		if m.slot != nil {
			syms = make([]int32, len(m.syms))
			arrange(m, syms, m.syms, perm)
		}
		bits = m.h.Code(cost, syms, bits, nil)
	}
	return bits
}

// search leaves the best order that it finds in perm, and the constants in it.
func (o *ordering) search(ctx context.Context, tries int, seed uint64) error {
	o.first = o.price(o.perm)
	o.bits = o.first
	better := func(p []int) bool {
		b := o.price(p)
		if b >= o.bits {
			return false
		}
		o.perm, o.bits = p, b
		return true
	}
	like := o.likeness()
	better(o.chain(like))
	draw := uint64(0)
	random := func(n int) int {
		draw++
		return int(op.Random(seed, 0, draw) % uint64(n))
	}
	n := len(o.perm)
	for range tries {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := slices.Clone(o.perm)
		i, j := random(n), random(n)
		if random(3) == 0 {
			slices.Reverse(p[min(i, j) : max(i, j)+1])
		} else { // beside the unit that is most like it, or anywhere
			u := p[i]
			p = slices.Delete(p, i, i+1)
			if random(3) > 0 {
				near, best := -1, -1.0
				for k, v := range p {
					if x := like[u][v] * float64(1+random(4)); x > best {
						near, best = k, x
					}
				}
				j = near + random(2)
			}
			p = slices.Insert(p, min(j, len(p)), u)
		}
		better(p)
	}
	if slices.IsSorted(o.perm) {
		return nil
	}
	for _, m := range o.held {
		m.apply(o.perm)
	}
	return nil
}

// left says where the units of the float model are now.
func (o *ordering) left(s *method.State) {
	name := o.l.Weight.Value.Name
	was, now := s.Left[name], make([]int, len(o.perm))
	for j, u := range o.perm {
		if now[j] = u; was != nil {
			now[j] = was[u]
		}
	}
	if s.Left == nil {
		s.Left = map[string][]int{}
	}
	s.Left[name] = now
}

// likeness of each pair of units is the cosine of their weights' places, blurred, with a share of that of the weights themselves.
func (o *ordering) likeness() [][]float64 {
	n := len(o.units)
	vs := make([][]float64, n)
	for _, m := range o.held {
		if m.h != &o.l.Weight {
			continue
		}
		shape := m.h.Value.Type.Shape
		inner := 1
		for _, d := range shape[m.axis+1:] {
			inner *= d
		}
		side := int(math.Round(math.Sqrt(float64(inner))))
		for u := range n {
			row := make([]float64, inner)
			signed := make([]float64, inner)
			at := m.slot[u][0] * inner
			for i := range inner {
				q := float64(m.syms[at+i])
				if q == 0 {
					continue
				}
				signed[i] = q
				for _, d := range [...]int{0, -1, 1, -side, side} {
					if k := i + d; k >= 0 && k < inner {
						row[k] += 1 / float64(1+d*d)
					}
				}
			}
			vs[u] = append(unit64(row), unit64(signed)...)
		}
	}
	like := make([][]float64, n)
	for a := range n {
		like[a] = make([]float64, n)
		for b := range n {
			for i := range vs[a] {
				like[a][b] += float64(vs[a][i] * vs[b][i])
			}
		}
	}
	return like
}

func unit64(x []float64) []float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v * v)
	}
	if sum > 0 {
		by := 1 / math.Sqrt(sum)
		for i := range x {
			x[i] *= by
		}
	}
	return x
}

// chain begins with the first unit and goes on to the one that is most like the last.
func (o *ordering) chain(like [][]float64) (p []int) {
	used := make([]bool, len(o.units))
	at := 0
	for {
		p, used[at] = append(p, at), true
		next := -1
		for k := range used {
			if !used[k] && (next < 0 || like[at][k] > like[at][next]) {
				next = k
			}
		}
		if next < 0 {
			return p
		}
		at = next
	}
}

// apply puts the constant into the order.
func (m *moved) apply(perm []int) {
	h := m.h
	x := make([]float32, h.Len())
	arrange(m, x, h.Data(), perm)
	if h.Index != nil {
		ix := make([]uint16, len(h.Index))
		arrange(m, ix, h.Index, perm)
		h.Index = ix
	}
	if h.Mask != nil {
		was, now := make([]bool, h.Len()), make([]bool, h.Len())
		for i := range was {
			was[i] = h.Kept(i)
		}
		arrange(m, now, was, perm)
		h.Mask = make([]uint64, weight.MaskWords(len(now)))
		for i, k := range now {
			if k {
				h.Mask[i/64] |= 1 << (i % 64)
			}
		}
	}
	h.Value.Data = tensor.From(x, h.Value.Type.Shape...)
}
