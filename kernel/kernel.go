package kernel

import (
	"slices"
	"sort"
	"sync"

	"whit/graph"
	"whit/internal/cpu"
	"whit/internal/kern"
	"whit/op"
	"whit/tensor"
)

// Call is one execution of a prepared node: its inputs and outputs (nil where
// absent), which are views on a session's memory, and Temp, the node's own
// temporary memory, shared by its tiles and phases.
type Call struct {
	In, Out []*tensor.Tensor
	Temp    []byte
}

// Phase is a set of independent tiles; phases run one after the other.
type Phase struct {
	Tiles int
	// Run computes one tile. scratch is the worker's own, Prepared.Scratch bytes,
	// 64-byte aligned, with undefined contents. Run must not allocate.
	Run func(c *Call, tile int, scratch []byte)
}

// Prepared is a node bound to a kernel. It is immutable and shared by sessions.
type Prepared struct {
	Kernel string // the kernel's name; Prepare may leave it empty
	Phases []Phase
	// First, if set, computes the same as Phases, to the bit, while the constants of
	// Env.PackParts are not filled: a first run then touches less memory.
	First   []Phase
	Temp    int // bytes of Call.Temp
	Scratch int // bytes of scratch a worker
	// InPlace lists the inputs whose memory output 0 may take over, where the input
	// has no later use; nil: none.
	InPlace []int
	// Packed lists the constant inputs that the kernel has packed and does not read
	// at run time: their Call.In is nil, and a compressed weight is not expanded.
	Packed []int
	// Err, if set, is asked after a run: references can fail on data.
	Err func(c *Call) error
}

// Reads reports whether the kernel reads input i at run time.
func (p *Prepared) Reads(i int) bool { return !slices.Contains(p.Packed, i) }

// Env is what kernels may know when they prepare a node.
type Env struct {
	CPU cpu.Features
	// Training: params change between runs, so only Const inputs may be packed.
	Training bool
	// Direct turns off algorithms whose bits differ from direct convolution (Winograd) or that
	// hold weights in a larger form.
	Direct bool
	// Pack returns the packed form of a constant. It is built once for each
	// (constant, packing) and shared by nodes, shapes and sessions. packing names
	// the layout and every parameter that shaped it.
	Pack func(v *graph.Value, packing string, build func() []byte) []byte
	// PackParts is Pack for a form that is filled when the node runs. nil: Pack does.
	PackParts func(v *graph.Value, packing string, p Packing) *Packed
	// Trials may be nil.
	Trials *Trials
	// Known is of one graph that is compiled; it may be nil.
	Known *Known
	// Choices decide on some nodes where the tables of costs would; nil: on none.
	Choices *Choices
	// Planes says which images stay row-major, see [PlanesOf]; nil: none that kernels
	// could write as NHWC.
	Planes func(*graph.Value) bool
}

// Packing is a packed form of a constant that is filled part by part, in any order and
// by several goroutines.
type Packing struct {
	Bytes   int // of the form, zero before it is filled
	Parts   int
	Scratch int // bytes of scratch that Fill needs, 64-byte aligned, with undefined contents
	// At is where a part lies: its bytes are dst of Fill. nil: a part may be anywhere,
	// and dst is the whole.
	At   func(part int) (from, to int)
	Fill func(dst []byte, part int, scratch []byte)
	// Make, where it is set, is instead of Fill for parts whose sizes are not known before: it
	// returns the part. Bytes is 0 then, and the form is Packed.Parts.
	Make func(part int) []byte
}

// Part fills one part of the whole form.
func (p *Packing) Part(all []byte, part int, scratch []byte) {
	if p.At != nil {
		from, to := p.At(part)
		all = all[from:to]
	}
	p.Fill(all, part, scratch)
}

// worthFirst reports whether the packed form is so large that a first run does better
// without it: pages of fresh memory cost more than packing twice.
func (p *Packing) worthFirst() bool { return p.Bytes >= 64<<10 }

// packParts is e.PackParts, or Pack of all parts.
func (e *Env) packParts(v *graph.Value, packing string, p Packing) *Packed {
	switch {
	case e.PackParts != nil:
		return e.PackParts(v, packing, p)
	case p.Make != nil:
		parts := make([][]byte, p.Parts)
		for i := range parts {
			parts[i] = p.Make(i)
		}
		return &Packed{Parts: parts}
	}
	return &Packed{Bytes: e.Pack(v, packing, p.Build)}
}

// Packed is a packed form. Its bytes are there when the node's phases run.
type Packed struct {
	Bytes []byte
	Parts [][]byte // of Packing.Make
}

// floats is the form as float32; none for nil.
func (p *Packed) floats() []float32 {
	if p == nil {
		return nil
	}
	return kern.Floats(p.Bytes)
}

// Build fills all parts.
func (p Packing) Build() []byte {
	dst, scratch := tensor.AlignedBytes(p.Bytes), tensor.AlignedBytes(p.Scratch)
	for i := range p.Parts {
		p.Part(dst, i, scratch)
	}
	return dst
}

// floats reads a float32 constant piece by piece: n floats from from on are a view, or
// lie in scratch, which must have pieceScratch(v, n) bytes.
func floats(v *graph.Value) func(scratch []byte, from, n int) []float32 {
	t := sync.OnceValue(v.Tensor)
	return func(scratch []byte, from, n int) []float32 {
		return kern.Floats(t().Part(scratch, 4*from, 4*n))
	}
}

// pieceScratch is the scratch, in bytes, for pieces of up to n floats of a constant.
func pieceScratch(v *graph.Value, n int) int {
	if v.Data != nil && v.Data.IsStored() {
		return 4 * n
	}
	return 0
}

// Layouts is what a kernel reads and writes: one layout for each input and
// output of the node. Constants are row-major: a node of which a constant is wanted
// NHWC runs on its reference. For an NHWC input Halo is
// the least halo that the kernel needs (its padding, filled with zero); the
// assigned layout may have more, and any CStride of at least C. For an NHWC
// output the kernel writes any assigned CStride, and the halo is the producer's:
// it must fill the assigned halo at every run.
type Layouts struct{ In, Out []graph.Layout }

// Kernel is one implementation of an operator.
type Kernel struct {
	Domain, Op string
	Name       string // dtype_op_tile_isa, for example "f32_gemm_6x16_avx2"
	Priority   int    // higher is tried first
	// Match reports whether the kernel takes the node; types are bound, layouts not assigned yet.
	Match func(n *graph.Node, e *Env) bool
	// Layout says which layouts it wants, given those that its inputs have so far.
	// nil: row-major everything.
	Layout func(n *graph.Node, in []graph.Layout) Layouts
	// Parts: of an NHWC output with a channel stride beyond C the kernel writes nothing but
	// the C channels, halo included, so that the output may lie within a larger one; of bytes, nothing
	// but the blocks of 16 that have the C channels.
	Parts bool
	// Prepare binds the node; layouts are assigned. It must succeed where Match did.
	Prepare func(n *graph.Node, e *Env) (*Prepared, error)
}

var kernels = map[[2]string][]Kernel{}

// Register adds a kernel; it is called from init functions of this package only.
// A duplicate name for one operator panics.
func Register(k Kernel) {
	key := [2]string{k.Domain, k.Op}
	for _, o := range kernels[key] {
		if o.Name == k.Name {
			panic("kernel.Register: duplicate " + k.Name)
		}
	}
	kernels[key] = append(kernels[key], k)
	sort.SliceStable(kernels[key], func(i, j int) bool { return kernels[key][i].Priority > kernels[key][j].Priority })
}

// For lists the kernels of an operator, best first.
func For(domain, name string) []Kernel { return kernels[[2]string{domain, name}] }

// Select is the best kernel that takes the node, nil if only the reference does.
func Select(n *graph.Node, e *Env) *Kernel {
	ks := kernels[[2]string{n.Domain, n.Op}]
	if e.Choices != nil {
		if m, _, _ := qunfuse(n, "", "QLinearConv"); m != nil {
			c := e.chosen(m)
			if i := slices.IndexFunc(ks, func(k Kernel) bool { return k.Name == c }); i >= 0 && ks[i].Match(n, e) {
				return &ks[i]
			}
		}
	}
	for i := range ks {
		if ks[i].Match(n, e) {
			return &ks[i]
		}
	}
	return nil
}

// Reference runs the operator's specification, as a whole and in Prepared.Err,
// because it can fail on data. It may allocate.
func Reference(n *graph.Node) *Prepared {
	o := op.Of(n)
	return &Prepared{
		Kernel: "reference",
		Phases: []Phase{{Tiles: 1, Run: func(*Call, int, []byte) {}}},
		Err:    func(c *Call) error { return o.Ref(n, c.In, c.Out) },
	}
}
