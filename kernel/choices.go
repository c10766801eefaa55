package kernel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// Choices say for some nodes which of their [Candidates] to run on, where the tables of
// costs would decide otherwise. A node is known by its signature: operator, shapes,
// window, types, and the number of its weights that are not zero. What a node
// cannot run on, or may not because it is not exact enough, is not taken: the tables decide.
//
// On another processor than that which was measured, choices keep the algorithm, whose
// bits differ, and leave the tables to decide between what gives the same bits.
//
// Their text is a line "choices 1", a line "cpu FEATURES", and a line
// "SIGNATURE = CANDIDATE" for each, in order of the signatures.
type Choices struct {
	CPU string            // the processor's features, cpu.Features.String
	Of  map[string]string // the candidate of a signature
}

// ErrChoices is the root of errors about the text of choices.
var ErrChoices = errors.New("corrupt choices")

const (
	choicesHead = "choices 1"
	maxChoices  = 1 << 12 // lines
	maxChoice   = 1 << 9  // bytes of a line
)

// Append appends the text of the choices.
func (c *Choices) Append(dst []byte) []byte {
	dst = fmt.Appendf(dst, "%s\ncpu %s\n", choicesHead, c.CPU)
	for _, s := range slices.Sorted(maps.Keys(c.Of)) {
		dst = fmt.Appendf(dst, "%s = %s\n", s, c.Of[s])
	}
	return dst
}

// ParseChoices reads their text. Candidates and signatures that nothing knows are taken as they are.
func ParseChoices(text []byte) (*Choices, error) {
	if len(text) > maxChoices*maxChoice {
		return nil, fmt.Errorf("%w: %d bytes", ErrChoices, len(text))
	}
	for i, b := range text {
		if b != '\n' && (b < ' ' || b > '~') {
			return nil, fmt.Errorf("%w: byte %d is %#x", ErrChoices, i, b)
		}
	}
	lines := strings.Split(string(text), "\n")
	if n := len(lines); n < 3 || n > maxChoices+3 || lines[n-1] != "" || lines[0] != choicesHead {
		return nil, fmt.Errorf("%w: want lines that begin with %q", ErrChoices, choicesHead)
	}
	c := &Choices{Of: map[string]string{}}
	var ok bool
	if c.CPU, ok = strings.CutPrefix(lines[1], "cpu "); !ok {
		return nil, fmt.Errorf("%w: line 2 names no processor", ErrChoices)
	}
	last := ""
	for i, l := range lines[2 : len(lines)-1] {
		sig, name, ok := strings.Cut(l, " = ")
		if !ok || len(l) > maxChoice || name == "" || strings.ContainsAny(name, " =") || sig <= last {
			return nil, fmt.Errorf("%w: line %d is no choice", ErrChoices, 3+i)
		}
		c.Of[sig], last = name, sig
	}
	return c, nil
}

// The candidates of products in floats, and of pairs of convolutions. Those of
// convolutions on integers are the names of their kernels, and asFloats.
const (
	direct   = "direct" // the dense kernel
	wino     = "winograd"
	sparse   = "sparse"
	coded    = "codes"
	joined   = "joined" // one kernel for both
	apart    = "apart"
	asFloats = "float" // dequantised, in floats, quantised: as the model is written
	// sameBits stands for whatever has the bits of the direct kernel.
	sameBits = "same"
)

// Candidates are what the node n of a compiled graph could run on, with its signature and what
// it does run on. none where there is nothing to choose, or clearly nothing to gain.
func Candidates(n *graph.Node, e *Env) (sig string, names []string, taken string) {
	if e.Training {
		return "", nil, ""
	}
	if p := convPairOf(n); p != nil {
		if k := Select(n, e); k != nil {
			return pairSignature(p, e), []string{joined, apart}, joined
		}
		return "", nil, ""
	}
	if m, _, _ := qunfuse(n, "", "QLinearConv"); m != nil {
		for _, k := range For(n.Domain, n.Op) {
			if k.Match(n, e) {
				names = append(names, k.Name)
			}
		}
		if len(names) == 0 {
			return "", nil, ""
		}
		taken = Select(n, e).Name
		if slices.Contains(names, "i8_depthwise") {
			names = []string{"i8_depthwise"} // the others know no lines of channels
		}
		return signature(m, e), append(names, asFloats), taken
	}
	s := sparseOf(n)
	if s == nil {
		return "", nil, ""
	}
	names, taken = []string{direct}, direct
	w := &s.w
	best := directCost(s.images*w.oh*w.ow, s.k(), s.cout)
	if !s.matrix && winogradFits(s.n, e) {
		for _, m := range []int{2, 4} {
			if winogradCostOf(s.n, m) < 1.7*best && e.possible(s.n, fmt.Sprint(wino, m)) {
				names = append(names, fmt.Sprint(wino, m))
			}
		}
		if t := winogradTile(s.n, e); t > 0 {
			taken = fmt.Sprint(wino, t)
		}
	}
	if z := stepsOf(s, e); z != nil {
		for i, rows := range z.forms() {
			if (z.all || 3*z.steps[i]*rows < 2*s.k()*s.cout) && e.possible(s.n, fmt.Sprint(sparse, rows)) {
				names = append(names, fmt.Sprint(sparse, rows))
			}
		}
	}
	if e.possible(s.n, coded) {
		names = append(names, coded)
		if _, why := codesVerdict(s, e); why == "" {
			taken = coded
		}
	}
	if v := sparseVerdict(s, e); v.rows > 0 {
		taken = fmt.Sprint(sparse, v.rows)
	}
	if len(names) == 1 {
		return "", nil, ""
	}
	return signature(s.n, e), names, taken
}

// KeepFloat reports whether the convolution on integers n is to be left as it is written.
func KeepFloat(n *graph.Node, e *Env) bool {
	m, _, _ := qunfuse(n, "", "QLinearConv")
	return m != nil && e.chosen(m) == asFloats
}

// Chosen is the candidate that Env.Choices gives the node n of a compiled graph, "" where
// the tables decide.
func Chosen(n *graph.Node, e *Env) string {
	if e.Choices == nil {
		return ""
	}
	c := ""
	if p := convPairOf(n); p != nil {
		c = e.choice(pairSignature(p, e))
	} else if m, _, _ := qunfuse(n, "", "QLinearConv"); m != nil {
		c = e.chosen(m)
	} else if s := sparseOf(n); s != nil {
		c = e.chosen(s.n)
	}
	if c == sameBits {
		return ""
	}
	return c
}

// chosen is the candidate for the product m, which stands alone; "" leaves it to the tables.
func (e *Env) chosen(m *graph.Node) string {
	if e.Choices == nil || e.Training {
		return ""
	}
	c := e.choice(signature(m, e))
	if c != "" && !e.possible(m, c) {
		return ""
	}
	return c
}

// choice is the candidate of a signature as far as it counts on this processor.
func (e *Env) choice(sig string) string {
	c := e.Choices.Of[sig]
	if c == "" || e.Choices.CPU == e.CPU.String() || c == asFloats || strings.HasPrefix(c, wino) {
		return c
	}
	if c == direct || c == coded || strings.HasPrefix(c, sparse) {
		return sameBits
	}
	return ""
}

// possible reports whether the product m may run on a candidate.
func (e *Env) possible(m *graph.Node, c string) bool {
	if m.Op == "QLinearConv" {
		return c == asFloats || slices.ContainsFunc(For("", m.Op), func(k Kernel) bool { return k.Name == c })
	}
	s := sparseOf(m)
	switch {
	case s == nil:
		return false
	case c == direct || c == sameBits:
		return true
	case c == wino+"2":
		return !s.matrix && winogradFits(m, e)
	case c == wino+"4":
		return !s.matrix && winogradFits(m, e) && winogradExact(m, e)
	case c == coded:
		_, ok := codesForm(s)
		return ok && s.matrix && s.w.ow <= codesRows && kern.CodedOf(e.CPU) != (kern.Coded{})
	}
	if z := stepsOf(s, e); z != nil {
		for i, rows := range z.forms() {
			if c == fmt.Sprint(sparse, rows) {
				return s.vector() || tileSparse(s, e, rows, z.steps[i]).l > 0
			}
		}
	}
	return false
}

// signature describes a product that stands alone.
func signature(m *graph.Node, e *Env) string {
	var b strings.Builder
	shape := func(v *graph.Value) {
		b.WriteByte(' ')
		if t := v.Type.DType; t != tensor.Float32 {
			fmt.Fprintf(&b, "%v:", t)
		}
		for i, d := range v.Type.Shape {
			if i > 0 {
				b.WriteByte('x')
			}
			fmt.Fprint(&b, d)
		}
	}
	b.WriteString(m.Op)
	shape(m.In[0])
	w := m.In[min(1, len(m.In)-1)]
	if m.Op == "QLinearConv" {
		w = m.In[3]
	}
	shape(w)
	if win, ok := windowOf(m, w); ok {
		fmt.Fprintf(&b, " to %dx%d by %dx%d from %dx%d", win.oh, win.ow, win.sh, win.sw, win.ph, win.pw)
		if win.dh != 1 || win.dw != 1 {
			fmt.Fprintf(&b, " every %dx%d", win.dh, win.dw)
		}
	}
	if g := m.Int("group", 1); g != 1 {
		fmt.Fprintf(&b, " groups %d", g)
	}
	if m.Int("transB", 0) != 0 {
		b.WriteString(" rows")
	}
	if s := sparseOf(m); s != nil {
		if z := countZeros(s, e); z != nil {
			fmt.Fprintf(&b, " nonzero %d,%d,%d", z.steps[0], z.steps[1], z.steps[2])
		}
		if _, ok := codesForm(s); ok {
			b.WriteString(" " + w.Weight.Kind())
		}
	}
	return b.String()
}

// windowOf is the window of a convolution with weights w.
func windowOf(m *graph.Node, w *graph.Value) (window, bool) {
	if len(w.Type.Shape) != 4 {
		return window{}, false
	}
	return window2D(m, m.In[0].Type.Shape, m.Out[0].Type.Shape, w.Type.Shape[2:])
}

func pairSignature(p *convPair, e *Env) string {
	return signature(p.conv, e) + ", " + signature(p.dw, e)
}
