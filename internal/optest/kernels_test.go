package optest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"whit/graph"
	"whit/internal/cpu"
	"whit/kernel"
	"whit/op"
	"whit/pass"
	"whit/tensor"
)

// TestKernels runs every kernel that takes a case, on every CPU variant that the
// machine has, in several tile orders and layouts, and compares it with the
// reference; assembly variants must agree bit for bit.
func TestKernels(t *testing.T) {
	ran := map[string]int{}
	for _, c := range All() {
		if c.Err {
			continue
		}
		for _, constant := range []bool{false, true} {
			name, consts := c.Name, c.ConstIn
			if constant { // weights and biases as constants
				name, consts = name+"/const", nil
				for i := 1; i < len(c.In); i++ {
					consts = append(consts, i)
				}
			}
			acts := []string{"", "Relu", "Clip", "PRelu", "LeakyRelu", "Add", "Add Relu", "SiLU", "Add HardSwish"}
			if testing.Short() { // for emulated processors
				acts = []string{"", "PRelu", "Add", "SiLU"}
			}
			for _, act := range acts {
				if act != "" && !slices.Contains([]string{"Conv", "Gemm"}, c.Op) {
					continue
				}
				if strings.HasSuffix(act, "U") || strings.HasSuffix(act, "Swish") {
					if !strings.HasSuffix(name, "/const") { // only kernels with packed weights take them
						continue
					}
				}
				k := c
				k.ConstIn = consts
				if g, feeds := k.Build(); act == "" {
					kernelCase(t, name, &k, g, feeds, ran)
				} else if g, feeds, ok := fused(&k, act); ok {
					kernelCase(t, name+"/"+act, &k, g, feeds, ran)
				}
			}
		}
	}
	for name, n := range ran {
		t.Logf("%s: %d runs", name, n)
	}
}

// fused is the case followed by an activation, a residual or both, as one whit.Fused node.
func fused(c *Case, act string) (*graph.Graph, map[string]*tensor.Tensor, bool) {
	g, feeds := c.Build()
	if slices.Contains(c.In, nil) || g.Outputs[0] == nil || c.In[0].DType != tensor.Float32 {
		return nil, nil, false
	}
	if rest, ok := strings.CutPrefix(act, "Add"); ok {
		y, err := Eval(g, feeds)
		if err != nil || c.Op != "Conv" {
			return nil, nil, false
		}
		r := g.AddInput("residual", y[0].DType, y[0].Shape...)
		r.Type, feeds["residual"] = y[0].Type, Rand(78, y[0].DType, y[0].Shape...)
		g.Outputs = []*graph.Value{g.Add("", "Add", nil, g.Outputs[0], r)}
		act = strings.TrimSpace(rest)
	}
	in := []*graph.Value{g.Outputs[0]}
	if act == "Clip" {
		in = append(in, g.NewConst("", F32([]float32{-0.5})), g.NewConst("", F32([]float32{1.5})))
	}
	if act == "PRelu" {
		slope := Rand(77, tensor.Float32, c.In[1].Shape[0], 1, 1)
		if c.Op == "Gemm" || len(c.In[0].Shape) != 4 {
			slope = F32([]float32{-0.5})
		}
		in = append(in, g.NewConst("", slope))
	}
	if act == "SiLU" {
		in, act = append(in, g.Add("", "Sigmoid", nil, in[0])), "Mul"
	}
	if act != "" {
		g.Outputs = []*graph.Value{g.Add("", act, nil, in...)}
	}
	if _, err := Eval(g, feeds); err != nil {
		return nil, nil, false
	}
	pass.Fuse(g, func(*graph.Node) bool { return true })
	return g, feeds, len(g.Nodes) == 1
}

func kernelCase(t *testing.T, name string, c *Case, g *graph.Graph, feeds map[string]*tensor.Tensor, ran map[string]int) {
	want, err := Eval(g, feeds) // binds the types as well
	if err != nil {
		return // TestReference reports it
	}
	n := g.Nodes[0]
	if o := op.Of(n); len(o.Writes) > 0 {
		return // TestWritingKernels
	}
	for _, k := range kernel.For(n.Domain, n.Op) {
		planes := func(*graph.Value) bool { return strings.HasSuffix(k.Name, "_planes") }
		// Some kernels are for training only: those that take nodes whose weights change.
		training := !slices.ContainsFunc(cpu.Detect().Variants(), func(f cpu.Features) bool {
			return k.Match(n, &kernel.Env{CPU: f, Planes: planes})
		})
		var bits [][]byte
		for _, f := range cpu.Detect().Variants() {
			packed := map[string][]byte{}
			e := &kernel.Env{CPU: f, Training: training, Planes: planes, Pack: func(v *graph.Value, packing string, build func() []byte) []byte {
				key := v.Name + "/" + packing
				if packed[key] == nil {
					packed[key] = build()
				}
				return packed[key]
			}}
			if !k.Match(n, e) {
				continue
			}
			label := fmt.Sprintf("%s/%s/%v", name, k.Name, f)
			for i := range physical {
				if testing.Short() && i%2 == 1 {
					continue
				}
				got := runKernel(t, label, &k, n, e, feeds, want, i)
				if got == nil {
					continue
				}
				ran[k.Name]++
				for j, w := range want {
					if n.Out[j] == nil {
						continue
					}
					if d := Diff(got[j], w); !(d <= tol(c.Tol, w.DType)) {
						t.Errorf("%s/layout %d: output %d differs from the reference by %g", label, i, j, d)
						return
					}
					if f == (cpu.Features{}) {
						continue
					}
					if len(bits) <= j {
						bits = append(bits, got[j].Bytes())
					} else if !bytes.Equal(bits[j], got[j].Bytes()) {
						t.Errorf("%s/layout %d: output %d: bits differ between variants, layouts or tile orders", label, i, j)
						return
					}
				}
			}
		}
	}
}

// allocations counts the runs of each kernel.
var allocations = map[string]int{}

// physical are the layouts beyond what a kernel asks for: more halo, wider
// pixels, the inputs already NHWC; and the order of the tiles.
var physical = []struct {
	halo, stride int
	nhwc         bool
	reverse      bool
}{{}, {reverse: true}, {halo: 2, reverse: true}, {stride: 5}, {nhwc: true}, {nhwc: true, halo: 1, stride: 3}}

// runKernel runs n on the kernel under layout variant i; nil where the variant
// does not apply.
func runKernel(t *testing.T, label string, k *kernel.Kernel, n *graph.Node, e *kernel.Env, feeds map[string]*tensor.Tensor, want []*tensor.Tensor, i int) []*tensor.Tensor {
	ph := physical[i]
	if (ph.halo > 0 || ph.stride > 0 || ph.nhwc) && k.Layout == nil {
		return nil
	}
	// A copy of the node, so that layouts of one run do not show in the next.
	m := *n
	m.In, m.Out = slices.Clone(n.In), slices.Clone(n.Out)
	for _, vs := range [][]*graph.Value{m.In, m.Out} {
		for i, v := range vs {
			if v != nil {
				w := *v
				w.Layout = graph.Layout{}
				vs[i] = &w
			}
		}
	}
	if k.Layout != nil {
		var in []graph.Layout
		for _, v := range m.In {
			var l graph.Layout
			if v != nil && ph.nhwc && len(v.Type.Shape) == 4 && !v.IsConst() {
				l = graph.Layout{Order: graph.NHWC, CStride: v.Type.Shape[1]}
			}
			in = append(in, l)
		}
		ls := k.Layout(&m, in)
		more := func(v *graph.Value, l graph.Layout, i int) graph.Layout {
			if v.IsConst() {
				return graph.Layout{}
			}
			if l.Order != graph.NHWC {
				return l
			}
			if l.CStride == 0 {
				l.CStride = v.Type.Shape[1]
			}
			l.CStride += ph.stride
			for h := range l.Halo {
				l.Halo[h] += ph.halo
			}
			return l
		}
		for i, v := range m.In {
			if v != nil && i < len(ls.In) {
				v.Layout = more(v, ls.In[i], i)
			}
		}
		for i, v := range m.Out {
			if v != nil && i < len(ls.Out) {
				v.Layout = more(v, ls.Out[i], i)
			}
		}
	}
	p, err := k.Prepare(&m, e)
	if err != nil {
		t.Errorf("%s: %v", label, err)
		return nil
	}
	call := &kernel.Call{In: make([]*tensor.Tensor, len(m.In)), Out: make([]*tensor.Tensor, len(m.Out)), Temp: garbage(p.Temp)}
	for i, v := range m.In {
		if v == nil || !p.Reads(i) {
			continue
		}
		x := feeds[v.Name]
		if x == nil {
			x = v.Tensor()
		}
		call.In[i] = toPhysical(x, v.Layout)
	}
	for i, v := range m.Out {
		if v != nil {
			size := v.Type.NumBytes()
			if v.Layout.Order == graph.NHWC {
				size = kernel.PhysicalLen(v.Type.Shape, v.Layout) * v.Type.DType.Bits() / 8
			}
			call.Out[i], _ = tensor.View(v.Type, garbage(size))
		}
	}
	scratch := garbage(p.Scratch)
	run := func() {
		for _, phase := range p.Phases {
			for j := range phase.Tiles {
				if ph.reverse {
					j = phase.Tiles - 1 - j
				}
				phase.Run(call, j, scratch)
			}
		}
	}
	run()
	// A second run may not allocate (looked at a few times for each kernel). Nodes
	// that write their inputs would go on from there.
	if allocations[k.Name]++; allocations[k.Name] < 20 && len(op.Of(n).Writes) == 0 {
		// The runtime's own work may fall into one look, not into two.
		if a := testing.AllocsPerRun(1, run); a != 0 && testing.AllocsPerRun(1, run) != 0 {
			t.Errorf("%s: %v allocations a run", label, a)
		}
	}
	if p.Err != nil {
		if err := p.Err(call); err != nil {
			t.Errorf("%s: %v", label, err)
			return nil
		}
	}
	for i, v := range m.Out {
		if k.Parts && v != nil && !untouched(call.Out[i], v.Layout) {
			t.Errorf("%s/layout %+v: wrote between the channels of output %d", label, ph, i)
		}
	}
	out := make([]*tensor.Tensor, len(m.Out))
	for i, v := range m.Out {
		if v != nil {
			if out[i], err = fromPhysical(call.Out[i], v.Layout); err != nil {
				t.Errorf("%s/layout %+v: %v", label, ph, err)
				return nil
			}
		}
	}
	return out
}

// untouched reports whether what lies between the channels of pixels is still garbage; between
// whole blocks of 16 of them, of bytes.
func untouched(x *tensor.Tensor, l graph.Layout) bool {
	if l.Order == graph.NHWC && x.DType.Bits() == 8 {
		for i, v := range x.Bytes()[:kernel.PhysicalLen(x.Shape, l)] {
			if i%l.CStride >= (x.Shape[1]+15)/16*16 && v != 0xff {
				return false
			}
		}
	}
	if l.Order != graph.NHWC || x.DType.Bits() != 32 {
		return true
	}
	w := tensor.Words(x)[:kernel.PhysicalLen(x.Shape, l)]
	for i, v := range w {
		if i%l.CStride >= x.Shape[1] && v != 0xffffffff {
			return false
		}
	}
	return true
}

// garbage is memory that a kernel must not rely on: NaNs.
func garbage(n int) []byte {
	b := tensor.AlignedBytes(n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// toPhysical lays x out, halo zero, the floats between the pixels' channels garbage
// that is finite (kernels may multiply them by zero weights).
func toPhysical(x *tensor.Tensor, l graph.Layout) *tensor.Tensor {
	if l.Order == graph.RowMajor {
		return x
	}
	s := x.Shape
	size := x.DType.Bits() / 8
	y, _ := tensor.View(x.Type, tensor.AlignedBytes(size*kernel.PhysicalLen(s, l)))
	src, dst := x.Bytes(), y.Bytes()
	ni, ci, hi, wi, off := kernel.Stride(s, l)
	for n := range s[0] {
		for c := range s[1] {
			for h := range s[2] {
				for w := range s[3] {
					copy(dst[(off+n*ni+c*ci+h*hi+w*wi)*size:][:size], src[(((n*s[1]+c)*s[2]+h)*s[3]+w)*size:])
				}
			}
		}
	}
	return y
}

// fromPhysical is the row-major copy of x, after a look at the halo: all zero.
func fromPhysical(x *tensor.Tensor, l graph.Layout) (*tensor.Tensor, error) {
	if l.Order == graph.RowMajor {
		return x, nil
	}
	s := x.Shape
	y := tensor.New(x.DType, s...)
	src, dst, size := x.Bytes(), y.Bytes(), x.DType.Bits()/8
	ni, ci, hi, wi, off := kernel.Stride(s, l)
	for n := range s[0] {
		for h := -l.Halo[0]; h < s[2]+l.Halo[2]; h++ {
			for w := -l.Halo[1]; w < s[3]+l.Halo[3]; w++ {
				for c := range s[1] {
					v := src[(off+n*ni+c*ci+h*hi+w*wi)*size:][:size]
					if h >= 0 && h < s[2] && w >= 0 && w < s[3] {
						copy(dst[(((n*s[1]+c)*s[2]+h)*s[3]+w)*size:], v)
					} else if slices.Max(v) != 0 {
						return nil, fmt.Errorf("halo at [%d,%d,%d,%d] is %v, want 0", n, c, h, w, v)
					}
				}
			}
		}
	}
	return y, nil
}
