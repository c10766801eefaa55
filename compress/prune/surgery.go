package prune

import (
	"errors"
	"fmt"
	"slices"

	"whit/compress/method"
	"whit/graph"
	"whit/op"
	"whit/tensor"
)

// Place is an axis of a value of a model graph.
type Place struct {
	Value *graph.Value
	Axis  int
}

// Span is some indices of a place, ascending.
type Span struct {
	Place
	Index []int
}

// Atom is channels that can only go together: a filter, its bias and statistics, what reads it
// in the layers after it, and whatever additions, joins and shuffles tie to it.
type Atom []Span

// In is the atom's indices of a place, nil where it has none.
func (a Atom) In(p Place) []int {
	for _, s := range a {
		if s.Place == p {
			return s.Index
		}
	}
	return nil
}

// Surgery knows which channels of a graph can be removed. It comes from the couplings of the
// operators ([op.Op.Channels]), index by index: channels that are coupled, however far
// apart, are one [Atom]. What no coupling names (inputs and outputs of the model,
// operators without a rule) keeps its channels, and so does everything coupled to it.
type Surgery struct {
	Graph *graph.Graph
	// Atoms are what can be removed, in the order of the graph's values.
	Atoms []Atom

	shape []int // of a sample
	types map[*graph.Value]tensor.Type
	why   map[Place]string // places that keep all their channels
	some  map[Place]string // places some of whose channels stay
}

// NewSurgery looks at the graph g, which has one input; shape is one sample's.
func NewSurgery(g *graph.Graph, shape []int) (*Surgery, error) {
	s := &Surgery{Graph: g, shape: shape, types: map[*graph.Value]tensor.Type{}, why: map[Place]string{}, some: map[Place]string{}}
	t, err := newTyper(g, shape)
	if err != nil {
		return nil, err
	}
	free := shapeNodes(g)
	var links []link
	var joins [][]link // links of one node to one place that overlap: one of them holds
	for _, n := range g.Nodes {
		b, err := t.step(n)
		if err != nil {
			return nil, err
		}
		var cs []op.Coupling
		named := map[Place]bool{}
		reason := fmt.Sprintf("node %q (%s) mixes them", n.Name, n.OpName())
		switch {
		case b == nil:
			reason = fmt.Sprintf("the shapes of node %q (%s) depend on data", n.Name, n.OpName())
		case op.Of(b).Channels == nil:
			reason = fmt.Sprintf("node %q (%s) has no rule for channels", n.Name, n.OpName())
		default:
			cs = op.Of(b).Channels(b)
		}
		place := func(p op.Port) (Place, bool) {
			vs := n.In
			if p.Out {
				vs = n.Out
			}
			if p.Index >= len(vs) || vs[p.Index] == nil || p.Axis < 0 || p.Axis >= len(t.types[vs[p.Index]].Shape) {
				return Place{}, false
			}
			return Place{vs[p.Index], p.Axis}, true
		}
		to := map[Place][]link{}
		var order []Place
		for _, c := range cs {
			from, ok1 := place(c.From)
			into, ok2 := place(c.To)
			if !ok1 || !ok2 || c.Map != nil && fixedSlice(n) {
				continue
			}
			named[from], named[into] = true, true
			l := link{from, into, c.Map, n}
			if c.Map == nil {
				links = append(links, l)
				continue
			}
			if to[into] == nil {
				order = append(order, into)
			}
			to[into] = append(to[into], l)
		}
		for _, p := range order {
			if ls := to[p]; len(ls) > 1 && overlap(ls, t.types) {
				joins = append(joins, ls)
			} else {
				links = append(links, ls...)
			}
		}
		for i, vs := range [][]*graph.Value{n.In, n.Out} {
			if i == 0 && free[n] {
				continue
			}
			for _, v := range vs {
				if v == nil {
					continue
				}
				for k := range t.types[v].Shape {
					if p := (Place{v, k}); !named[p] {
						s.keep(p, reason)
					}
				}
			}
		}
	}
	s.types = t.types
	for _, v := range g.Inputs {
		s.keepAll(v, "they are the model's input "+v.Name)
	}
	for _, v := range g.Outputs {
		s.keepAll(v, "they are the model's output "+v.Name)
	}
	for _, v := range g.Values() {
		for k, d := range s.types[v].Shape {
			if d < 2 {
				s.keep(Place{v, k}, "it is the only one")
			}
		}
	}
	s.spread(links)
	for _, ls := range joins {
		s.choose(ls, &links)
		s.spread(links)
	}
	s.atoms(links)
	return s, nil
}

// link is a coupling of a node.
type link struct {
	from, to Place
	by       func(int) []int
	node     *graph.Node
}

func (l link) at(i int) []int {
	if l.by == nil {
		return []int{i}
	}
	return l.by(i)
}

// overlap reports whether links to one place name an index twice: axes that a Reshape joins.
func overlap(ls []link, types map[*graph.Value]tensor.Type) bool {
	seen := map[int]int{}
	for k, l := range ls {
		for i := range types[l.from.Value].Shape[l.from.Axis] {
			for _, j := range l.at(i) {
				if was, ok := seen[j]; ok && was != k {
					return true
				}
				seen[j] = k
			}
		}
	}
	return false
}

func (s *Surgery) size(p Place) int { return s.types[p.Value].Shape[p.Axis] }

func (s *Surgery) keep(p Place, why string) {
	if _, ok := s.why[p]; !ok {
		s.why[p] = why
	}
}

func (s *Surgery) keepAll(v *graph.Value, why string) {
	for k := range s.types[v].Shape {
		s.keep(Place{v, k}, why)
	}
}

// spread hands on that a whole place keeps its channels.
func (s *Surgery) spread(links []link) {
	for again := true; again; {
		again = false
		for _, l := range links {
			a, ok1 := s.why[l.from]
			b, ok2 := s.why[l.to]
			switch {
			case ok2 && !ok1:
				s.why[l.from], again = b, true
			case ok1 && !ok2 && l.by == nil && s.size(l.from) == s.size(l.to):
				s.why[l.to], again = a, true
			}
		}
	}
}

// choose takes, of several axes that one place joins, the one whose channels may go, in
// the smallest parts; the others keep theirs.
func (s *Surgery) choose(ls []link, links *[]link) {
	best := -1
	for i, l := range ls {
		if _, kept := s.why[l.from]; kept || s.size(l.from) == 0 {
			continue
		}
		if best < 0 || len(l.at(0)) < len(ls[best].at(0)) {
			best = i
		}
	}
	for i, l := range ls {
		if i != best {
			s.keep(l.from, fmt.Sprintf("node %q (%s) joins them with another axis", l.node.Name, l.node.OpName()))
		}
	}
	if best < 0 {
		s.keep(ls[0].to, fmt.Sprintf("node %q (%s) joins axes that stay", ls[0].node.Name, ls[0].node.OpName()))
		return
	}
	*links = append(*links, ls[best])
}

// atoms unites what the links couple.
func (s *Surgery) atoms(links []link) {
	first := map[Place]int{}
	var places []Place
	total := 0
	for _, v := range s.Graph.Values() {
		for k := range s.types[v].Shape {
			if p := (Place{v, k}); s.why[p] == "" {
				first[p] = total
				places = append(places, p)
				total += s.size(p)
			}
		}
	}
	up := make([]int32, total)
	for i := range up {
		up[i] = int32(i)
	}
	root := func(i int32) int32 {
		for up[i] != i {
			up[i] = up[up[i]]
			i = up[i]
		}
		return i
	}
	stays := map[int32]string{}
	for _, l := range links {
		a, ok1 := first[l.from]
		b, ok2 := first[l.to]
		if !ok1 && !ok2 {
			continue
		}
		for i := range s.size(l.from) {
			for _, j := range l.at(i) {
				switch {
				case !ok1:
					stays[int32(b+j)] = s.why[l.from]
				case !ok2:
					stays[int32(a+i)] = s.why[l.to]
				default:
					x, y := root(int32(a+i)), root(int32(b+j))
					up[max(x, y)] = min(x, y)
				}
			}
		}
	}
	kept := map[int32]string{}
	marks := make([]int32, 0, len(stays))
	for i := range stays {
		marks = append(marks, i)
	}
	slices.Sort(marks)
	for _, i := range marks {
		if r := root(i); kept[r] == "" {
			kept[r] = stays[i]
		}
	}
	at := map[int32]int{}
	for _, p := range places {
		for i := range s.size(p) {
			r := root(int32(first[p] + i))
			if why, ok := kept[r]; ok {
				if s.some[p] == "" {
					s.some[p] = why
				}
				continue
			}
			k, ok := at[r]
			if !ok {
				k = len(s.Atoms)
				at[r] = k
				s.Atoms = append(s.Atoms, nil)
			}
			a := s.Atoms[k]
			if n := len(a); n > 0 && a[n-1].Place == p {
				a[n-1].Index = append(a[n-1].Index, i)
			} else {
				s.Atoms[k] = append(a, Span{p, []int{i}})
			}
		}
	}
}

// Why says why channels of a place stay, "" where all of them may go.
func (s *Surgery) Why(p Place) string {
	if w := s.why[p]; w != "" {
		return w
	}
	return s.some[p]
}

// ErrSurgery is the root of errors about cuts that cannot be made.
var ErrSurgery = errors.New("surgery")

// Cut removes atoms, by their numbers, from the graph: constants are sliced, and sizes in attributes
// and constants follow. Every place keeps at least one channel, or it is an error.
// Afterwards the Surgery knows the graph as it was; make another to cut more.
func (s *Surgery) Cut(atoms []int) error {
	gone := s.gone(atoms)
	left := func(p Place) int {
		n := s.size(p)
		for _, g := range gone[p] {
			if g {
				n--
			}
		}
		return n
	}
	if len(gone) == 0 {
		return nil
	}
	values := s.Graph.Values()
	for _, v := range values {
		for k := range s.types[v].Shape {
			if p := (Place{v, k}); gone[p] != nil && left(p) == 0 {
				return fmt.Errorf("%w: nothing is left of axis %d of %q", ErrSurgery, k, v.Name)
			}
		}
	}
	for _, v := range values {
		if v.Kind != graph.Const {
			continue
		}
		t := v.Tensor()
		cut := false
		for k := range t.Shape {
			if b := gone[Place{v, k}]; b != nil {
				if t.DType.Bits()%8 != 0 {
					return fmt.Errorf("%w: constant %q is %v", ErrSurgery, v.Name, t.DType)
				}
				t, cut = without(t, k, b), true
			}
		}
		if cut {
			v.Data, v.Weight, v.Type = t, nil, t.Type
		}
	}
	t, err := newTyper(s.Graph, s.shape)
	if err != nil {
		return err
	}
	for _, n := range s.Graph.Nodes {
		if err := s.adjust(n, gone, left); err != nil {
			return err
		}
		wrong := func() *graph.Value {
			for _, v := range n.Out {
				if v == nil {
					continue
				}
				for k := range s.types[v].Shape {
					if now := t.types[v].Shape; len(now) != len(s.types[v].Shape) || now[k] != left(Place{v, k}) {
						return v
					}
				}
			}
			return nil
		}
		b, err := t.step(n)
		if (err != nil || b != nil && wrong() != nil) && n.Domain == "" && (n.Op == "Reshape" || n.Op == "Expand") {
			// Sizes that were computed, or that no longer say it: as they come out for this input.
			want := make([]int64, len(s.types[n.Out[0]].Shape))
			for k := range want {
				want[k] = int64(left(Place{n.Out[0], k}))
			}
			if len(want) > 0 && n.Op == "Reshape" && n.Int("allowzero", 0) == 0 && len(s.types[n.In[0]].Shape) > 0 && left(Place{n.In[0], 0}) == int(want[0]) {
				want[0] = 0
			}
			n.In[1] = s.Graph.NewConst("", tensor.Ints(want...))
			b, err = t.step(n)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSurgery, err)
		}
		if b != nil {
			if v := wrong(); v != nil {
				return fmt.Errorf("%w: node %q (%s) gives %v after the cut", ErrSurgery, n.Name, n.OpName(), t.types[v])
			}
		}
	}
	return s.Graph.Verify()
}

// gone marks the indices of the atoms.
func (s *Surgery) gone(atoms []int) map[Place][]bool {
	gone := map[Place][]bool{}
	for _, k := range atoms {
		for _, sp := range s.Atoms[k] {
			b := gone[sp.Place]
			if b == nil {
				b = make([]bool, s.size(sp.Place))
				gone[sp.Place] = b
			}
			for _, i := range sp.Index {
				b[i] = true
			}
		}
	}
	return gone
}

// adjust makes what a node says of sizes agree with what is left.
func (s *Surgery) adjust(n *graph.Node, gone map[Place][]bool, left func(Place) int) error {
	if n.Domain != "" || len(n.In) == 0 || len(n.Out) == 0 || n.In[0] == nil || n.Out[0] == nil {
		return nil
	}
	for _, v := range append(slices.Clone(n.In), n.Out...) {
		if _, ok := s.types[v]; v != nil && !ok {
			return nil // its shapes depend on data: nothing of it is cut
		}
	}
	ints := func(v []int64) *graph.Value { return s.Graph.NewConst("", tensor.Ints(v...)) }
	switch n.Op {
	case "Conv", "ConvTranspose":
		// A depthwise convolution has as many groups as channels; others lose as many channels in each group.
		if g := n.Int("group", 1); g > 1 && s.size(Place{n.In[0], 1}) == int(g) {
			n.Attrs["group"] = int64(left(Place{n.In[0], 1}))
		}
	case "Split":
		axis := int(n.Int("axis", 0))
		if axis < 0 {
			axis += len(s.types[n.In[0]].Shape)
		}
		if gone[Place{n.In[0], axis}] == nil {
			return nil
		}
		var lens []int64
		for _, v := range n.Out {
			if v == nil {
				return fmt.Errorf("%w: node %q (Split) leaves an output out", ErrSurgery, n.Name)
			}
			lens = append(lens, int64(left(Place{v, axis})))
		}
		delete(n.Attrs, "num_outputs")
		n.In = []*graph.Value{n.In[0], ints(lens)}
	case "Reshape", "Expand":
		c := n.Input(1)
		if !c.IsConst() || c.Type.DType != tensor.Int64 {
			return nil
		}
		shape := slices.Clone(tensor.Of[int64](c.Tensor()))
		off := len(s.types[n.Out[0]].Shape) - len(shape)
		changed := false
		for k, d := range shape {
			if p := (Place{n.Out[0], off + k}); d > 1 && off+k >= 0 && gone[p] != nil {
				shape[k], changed = int64(left(p)), true
			}
		}
		if changed {
			n.In[1] = ints(shape)
		}
	case "Pad":
		x := s.types[n.In[0]].Shape
		var axes []int64
		if n.Input(3) != nil {
			var err error
			if axes, err = op.Ints(n, 3); err != nil {
				return nil // no padded axis is cut
			}
		} else {
			for k := range x {
				axes = append(axes, int64(k))
			}
		}
		pads, err := op.Ints(n, 1)
		if err != nil || len(pads) != 2*len(axes) {
			return nil
		}
		pads = slices.Clone(pads)
		changed := false
		for i, a := range axes {
			if a < 0 {
				a += int64(len(x))
			}
			in, out := Place{n.In[0], int(a)}, Place{n.Out[0], int(a)}
			b := gone[out]
			if b == nil || pads[i] == 0 && pads[len(axes)+i] == 0 {
				continue
			}
			for k := range pads[i] {
				if b[k] {
					pads[i]--
				}
			}
			pads[len(axes)+i] = int64(left(out)-left(in)) - pads[i]
			changed = true
		}
		if changed {
			n.In = append([]*graph.Value{n.In[0], ints(pads)}, n.In[2:]...)
		}
	case "Slice":
		in, out := s.types[n.In[0]].Shape, s.types[n.Out[0]].Shape
		hit := false
		for k := range in {
			hit = hit || gone[Place{n.In[0], k}] != nil
		}
		if !hit {
			return nil
		}
		starts, _, axes, ok := sliceOf(n, len(in))
		if !ok {
			return nil // no sliced axis is cut
		}
		from, to := slices.Clone(starts), make([]int64, len(starts))
		for i, a := range axes {
			lo := from[i]
			if lo < 0 {
				lo += int64(in[a])
			}
			lo = min(max(lo, 0), int64(in[a]))
			b := gone[Place{n.In[0], a}]
			kept := lo
			for j := range int(lo) {
				if b != nil && b[j] {
					kept--
				}
			}
			from[i], to[i] = kept, kept+int64(left(Place{n.Out[0], a}))
			if out[a] == in[a] {
				from[i], to[i] = 0, int64(left(Place{n.In[0], a}))
			}
		}
		ax := make([]int64, len(axes))
		for i, a := range axes {
			ax[i] = int64(a)
		}
		n.In = []*graph.Value{n.In[0], ints(from), ints(to), ints(ax)}
	}
	return nil
}

// fixedSlice reports that n is a Slice, or Pad, whose bounds cannot follow a cut.
func fixedSlice(n *graph.Node) bool {
	if n.Domain == "" && n.Op == "Pad" {
		return !n.Input(1).IsConst() || n.Input(3) != nil && !n.In[3].IsConst()
	}
	if n.Domain != "" || n.Op != "Slice" {
		return false
	}
	_, _, _, ok := sliceOf(n, -1)
	return !ok
}

// sliceOf is the constant bounds of a Slice whose steps are 1. rank -1: the axes are not wanted.
func sliceOf(n *graph.Node, rank int) (starts, ends []int64, axes []int, ok bool) {
	var in [5][]int64
	for i := 1; i < 5; i++ {
		if n.Input(i) == nil {
			continue
		}
		v, err := op.Ints(n, i)
		if err != nil {
			return nil, nil, nil, false
		}
		in[i] = v
	}
	for _, d := range in[4] {
		if d != 1 {
			return nil, nil, nil, false
		}
	}
	for i := range in[1] {
		a := i
		if in[3] != nil && i < len(in[3]) {
			a = int(in[3][i])
			if a < 0 && rank >= 0 {
				a += rank
			}
		}
		axes = append(axes, a)
	}
	return in[1], in[2], axes, len(in[1]) == len(in[2])
}

// without is x less the marked indices of an axis.
func without(x *tensor.Tensor, axis int, gone []bool) *tensor.Tensor {
	s := x.Shape.Clone()
	row := s[axis+1:].NumElements() * x.DType.Bits() / 8
	for _, g := range gone {
		if g {
			s[axis]--
		}
	}
	y := tensor.New(x.DType, s...)
	from, to := x.Bytes(), y.Bytes()
	for i := 0; row > 0 && len(from) >= row; i++ {
		if !gone[i%len(gone)] {
			to = to[copy(to, from[:row]):]
		}
		from = from[row:]
	}
	return y
}

// typer binds a graph's values node by node, without changing it, and computes what
// is constant and small, which is how sizes reach a Reshape.
type typer struct {
	types map[*graph.Value]tensor.Type
	known map[*graph.Value]*tensor.Tensor
}

// maxKnown is the number of elements up to which constants are computed.
const maxKnown = 1024

// newTyper binds the input, with two samples where their number is open, and the constants.
func newTyper(g *graph.Graph, shape []int) (*typer, error) {
	if len(g.Inputs) != 1 {
		return nil, fmt.Errorf("%w: the model has %d inputs, want one", ErrSurgery, len(g.Inputs))
	}
	t := &typer{types: map[*graph.Value]tensor.Type{}, known: map[*graph.Value]*tensor.Tensor{}}
	in := g.Inputs[0]
	d := in.Decl
	s := append(tensor.Shape{2}, shape...)
	if d.Ranked && len(d.Dims) == len(s) && d.Dims[0].Size > 0 {
		s[0] = d.Dims[0].Size
	}
	t.types[in] = tensor.Type{DType: tensor.Float32, Shape: s}
	return t, nil
}

// typesOf are the types of a graph's values, of those whose shapes do not depend on data.
func typesOf(g *graph.Graph, shape []int) (map[*graph.Value]tensor.Type, error) {
	t, err := newTyper(g, shape)
	if err != nil {
		return nil, err
	}
	for _, n := range g.Nodes {
		if _, err := t.step(n); err != nil {
			return nil, err
		}
	}
	return t.types, nil
}

// step binds the outputs of a node and gives a copy of it on bound values; nil where
// that needs data.
func (t *typer) step(n *graph.Node) (*graph.Node, error) {
	b := &graph.Node{Name: n.Name, Op: n.Op, Domain: n.Domain, Attrs: n.Attrs}
	constant, elements := len(n.In) > 0, 0
	for _, v := range n.In {
		if v == nil {
			b.In = append(b.In, nil)
			continue
		}
		if v.Kind != graph.Computed && v.Kind != graph.Input {
			t.types[v] = v.Type
		}
		ty, ok := t.types[v]
		if !ok {
			return nil, nil
		}
		c := *v
		c.Type, c.Producer = ty, nil
		if k := t.known[v]; k != nil {
			c.Kind, c.Data = graph.Const, k
		}
		constant = constant && c.IsConst()
		elements += ty.Shape.NumElements()
		b.In = append(b.In, &c)
	}
	if op.Of(b) == nil {
		return nil, fmt.Errorf("node %q: %w: operator %s", n.Name, op.ErrUnsupported, n.OpName())
	}
	if len(n.Bodies()) > 0 {
		return nil, nil
	}
	ts, err := op.Infer(b)
	if nv := (*op.NeedValue)(nil); errors.As(err, &nv) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	for i, v := range n.Out {
		if v == nil {
			b.Out = append(b.Out, nil)
			continue
		}
		t.types[v] = ts[i]
		c := *v
		c.Type, c.Producer = ts[i], b
		b.Out = append(b.Out, &c)
		elements += ts[i].Shape.NumElements()
	}
	sizes := n.Domain == "" && (n.Op == "Shape" || n.Op == "Size")
	if o := op.Of(b); !sizes && (!constant || elements > maxKnown || o.Random || len(o.Writes) > 0) {
		return b, nil
	}
	in, out := make([]*tensor.Tensor, len(b.In)), make([]*tensor.Tensor, len(b.Out))
	for i, v := range b.In {
		if v == nil {
			continue
		}
		if in[i] = v.Tensor(); sizes { // no data are read
			in[i] = &tensor.Tensor{Type: v.Type}
		}
	}
	for i, v := range b.Out {
		if v != nil {
			out[i] = tensor.New(v.Type.DType, v.Type.Shape...)
		}
	}
	if err := op.Of(b).Ref(b, in, out); err != nil {
		return nil, fmt.Errorf("node %q (%s): %w", n.Name, n.OpName(), err)
	}
	for i, v := range n.Out {
		if v != nil {
			t.known[v] = out[i]
		}
	}
	return b, nil
}

// shapeNodes are the nodes that read sizes only for the sizes of other nodes: they may
// see channels go.
func shapeNodes(g *graph.Graph) map[*graph.Node]bool {
	uses := g.Uses()
	var only func(v *graph.Value, depth int) bool
	only = func(v *graph.Value, depth int) bool {
		for _, u := range uses[v] {
			if u.Node == nil || u.Node.Domain != "" || depth > 64 {
				return false
			}
			switch u.Node.Op {
			case "Reshape", "Expand", "Resize", "Slice", "Split":
				if u.Index > 0 {
					continue
				}
			}
			switch u.Node.Op {
			case "Gather", "Unsqueeze", "Squeeze", "Concat", "Slice", "Cast", "Add", "Sub", "Mul", "Div", "Reshape":
				if len(u.Node.Out) != 1 || u.Node.Out[0] == nil || !only(u.Node.Out[0], depth+1) {
					return false
				}
			default:
				return false
			}
		}
		return true
	}
	free := map[*graph.Node]bool{}
	for _, n := range g.Nodes {
		if n.Domain == "" && (n.Op == "Shape" || n.Op == "Size") && len(n.Out) == 1 && n.Out[0] != nil {
			free[n] = only(n.Out[0], 0)
		}
	}
	return free
}

// cut removes atoms from the state's graph, with what its layers' masks and codebooks say of
// them, and finds the layers again.
func cut(s *method.State, y *Surgery, atoms []int) error {
	gone := y.gone(atoms)
	for _, l := range s.Layers {
		for _, h := range []*method.Held{&l.Weight, l.Bias} {
			if h != nil {
				cutHeld(h, gone)
			}
		}
	}
	if err := y.Cut(atoms); err != nil {
		return err
	}
	for _, l := range s.Layers {
		b := gone[outs(l)]
		if b == nil {
			continue
		}
		old, left := s.Left[l.Weight.Value.Name], []int{}
		for i, g := range b {
			switch {
			case g:
			case old == nil:
				left = append(left, i)
			default:
				left = append(left, old[i])
			}
		}
		if s.Left == nil {
			s.Left = map[string][]int{}
		}
		s.Left[l.Weight.Value.Name] = left
	}
	s.Refind()
	return nil
}

func cutHeld(h *method.Held, gone map[Place][]bool) {
	shape := h.Value.Type.Shape
	hit := false
	for k := range shape {
		hit = hit || gone[Place{h.Value, k}] != nil
	}
	if !hit {
		return
	}
	h.As = nil // dense, or sparse by its mask
	if h.Mask == nil && h.Index == nil {
		return
	}
	strides := shape.Strides()
	var mask []uint64
	var index []uint16
	n := 0
	for i := range h.Len() {
		out := false
		for k, d := range shape {
			b := gone[Place{h.Value, k}]
			out = out || b != nil && b[i/strides[k]%d]
		}
		if out {
			continue
		}
		if n%64 == 0 {
			mask = append(mask, 0)
		}
		if h.Mask != nil {
			mask[n/64] |= h.Mask[i/64] >> (i % 64) & 1 << (n % 64)
		}
		if h.Index != nil {
			index = append(index, h.Index[i])
		}
		n++
	}
	if h.Mask != nil {
		h.Mask = mask
	}
	h.Index = index
}
