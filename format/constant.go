package format

import (
	"encoding/binary"
	"math"
	"math/bits"

	"whit/entropy"
	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

// Forms of a constant in a file.
const (
	formElements = iota // a tensor of any type, by its elements
	formSymbols         // an integer tensor, by its values
	formPalette         // a float32 tensor of few distinct values
	formInt8            // weight.Int8
	formCodebook        // weight.Codebook
	formSparse          // weight.Sparse, around one of formElements, formInt8, formCodebook
	formMasked          // a tensor of any unpacked type of which many elements are zero (all bits)
	formProduct         // the scales of a bias, which others say, see products
	numForms
)

// Bits beside the form in a constant's first byte.
const (
	bitWeight = 0x08 // formElements, formPalette, formMasked: a weight.Dense, not a plain tensor
	kindShift = 4    // 2 bits: 0 constant, 1 parameter, 2 state
)

// Flags of int8 and codebook forms.
const (
	flagWide  = 0x01 // int8: levels are unsigned; codebook: indices are uint16
	flagZero  = 0x02 // int8: zero points are given; they follow the scales
	flagBoth  = 0x04 // int8 within sparse: a stored level may equal the base, see stored()
	flagHalf  = 0x08 // codebook: the base is half the number of centroids, and not given
	flagPath  = 0x08 // int8, not within sparse: symbols are levels of a dependent quantiser
	flagGroup = 0x10 // int8, not within sparse: a group's size follows the axis
	flag4     = 0x20 // int8: levels of 4 bits
	flag2     = 0x40 // int8: levels of 2 bits
)

// levelTypes are the types of levels by their flags.
var levelTypes = map[byte]tensor.DType{0: tensor.Int8, flagWide: tensor.Uint8, flag4: tensor.Int4, flag4 | flagWide: tensor.Uint4,
	flag2: tensor.Int2, flag2 | flagWide: tensor.Uint2}

// levelFlags is the part of the flags that is a key of levelTypes.
const levelFlags = flagWide | flag4 | flag2

// desc is what a file's graph says of a constant; the rest are its streams: at most
// one block of symbols, and arrays of elements.
type desc struct {
	form   byte
	weight bool
	kind   graph.Kind
	dtype  tensor.DType // elements, symbols, sparse of elements
	shape  tensor.Shape
	flags  byte
	axis   int   // int8: axis of the scales, or -1
	group  int   // int8: indices of the axis that share a scale, or 0
	base   int32 // symbols are levels or indices less base
	n      int   // centroids, palette entries, stored elements
	inner  byte  // form of a sparse's values
}

// item is a constant with the streams that a file holds of it.
type item struct {
	name  string
	w     weight.Weight
	t     *tensor.Tensor
	d     desc
	block *entropy.Block
	elems []entropy.Elements
	bytes int64  // in the file
	coder string // of the symbols

	elemBytes int64 // the elements' share of bytes
}

// describe chooses the form of a constant, w or t, and makes its streams. raw keeps
// the forms that need no decoding.
func describe(w weight.Weight, t *tensor.Tensor, kind graph.Kind, raw bool) (*item, error) {
	it := &item{w: w, t: t}
	it.d = desc{kind: kind, weight: w != nil, axis: -1}
	d := &it.d
	if w != nil {
		if err := weight.Check(w); err != nil {
			return nil, err
		}
	}
	switch w := w.(type) {
	case nil:
		it.dense(t, raw)
	case weight.Dense:
		it.dense(w.T, raw)
	case weight.Int8:
		it.int8(w)
		d.shape = w.Q.Shape
		if it.block = dependent(w); it.block != nil {
			d.flags |= flagPath
			break
		}
		it.block = shifted(w.Q.Shape, w.Q.Len(), w.Level, &d.base)
		if w.Q.DType.IsSigned() && !frequent(it.block) {
			rebase(it.block, &d.base, 0) // levels are signed like the weights
		}
	case weight.Codebook:
		d.form, d.shape, d.n = formCodebook, w.Indices.Shape, len(w.Centroids)
		it.codebook(w)
		it.block = shifted(w.Indices.Shape, w.Indices.Len(), func(i int) int32 { return int32(w.Index(i)) }, &d.base)
		if !frequent(it.block) {
			rebase(it.block, &d.base, int32(d.n/2))
			d.flags |= flagHalf
		}
	case weight.Sparse:
		d.form, d.shape = formSparse, w.Shape
		syms := make([]int32, w.Shape.NumElements())
		k := 0
		switch v := w.Values.(type) {
		case weight.Dense:
			d.inner, d.dtype, d.n = formElements, v.T.DType, w.NNZ()
			it.elements(v.T.Bytes(), d.dtype, 1)
			w.Each(func(i int) { syms[i] = 1 })
		case weight.Int8:
			it.int8(v)
			d.inner, d.n = formInt8, w.NNZ()
			if v.Zero != nil && v.Axis == weight.PerTensor {
				d.base = v.Zero[0]
			}
			for i := range v.Q.Len() {
				if v.Level(i) == d.base {
					d.flags |= flagBoth
				}
			}
			w.Each(func(i int) { syms[i] = stored(v.Level(k)-d.base, d.flags); k++ })
		case weight.Codebook:
			d.inner, d.n = formCodebook, len(v.Centroids)
			it.codebook(v)
			neg := negatives(v.Centroids)
			w.Each(func(i int) { syms[i] = storedIndex(v.Index(k), neg); k++ })
		}
		d.form = formSparse
		it.block = block(w.Shape, syms)
	}
	return it, nil
}

// minDependent is the number of levels from which it is no chance that they are a path.
const minDependent = 64

// dependent is the block of levels that a dependent quantiser has given; nil where one has not.
func dependent(w weight.Int8) *entropy.Block {
	n := w.Q.Len()
	if n < minDependent || !w.Q.DType.IsSigned() {
		return nil
	}
	cols, state, odd := n/w.Q.Shape[0], 0, false
	syms := make([]int32, n)
	for i := range syms {
		if i%cols == 0 {
			state = 0
		}
		v := w.Level(i)
		k, ok := entropy.ValueLevel(state, v)
		if !ok {
			return nil
		}
		syms[i], state, odd = k, entropy.NextState(state, k), odd || v&1 != 0
	}
	if !odd { // another step would do
		return nil
	}
	b := block(w.Q.Shape, syms)
	b.Dependent = true
	return b
}

// independent is what symbols of a dependent quantiser stand for; false where one is out of any range.
func independent(b *entropy.Block) ([]int32, bool) {
	cols, state := max(1, b.Len()/max(1, b.Rows)), 0
	values := make([]int32, len(b.Syms))
	for i, k := range b.Syms {
		if i%cols == 0 {
			state = 0
		}
		if k < -128 || k > 128 {
			return nil, false
		}
		values[i] = entropy.LevelValue(state, k)
		state = entropy.NextState(state, k)
	}
	return values, true
}

// stored is the symbol of a sparse tensor's stored level, less the base: not 0, which
// says that nothing is stored. Where a level may be 0 the ones from there on move up.
func stored(level int32, flags byte) int32 {
	if flags&flagBoth != 0 && level >= 0 {
		return level + 1
	}
	return level
}

func unstored(sym int32, flags byte) int32 {
	if flags&flagBoth != 0 && sym > 0 {
		return sym - 1
	}
	return sym
}

// negatives is how many centroids at the start of a codebook are below zero. Symbols
// of a sparse codebook count from there, so that they are signed like the weights.
func negatives(c []float32) int {
	for i, x := range c {
		if !(x < 0) {
			return i
		}
	}
	return len(c)
}

func storedIndex(k, neg int) int32 {
	if k < neg {
		return int32(k - neg)
	}
	return int32(k - neg + 1)
}

// block arranges symbols as their tensor's shape says.
func block(shape tensor.Shape, syms []int32) *entropy.Block {
	return &entropy.Block{Dims: entropy.DimsOf(shape), Syms: syms}
}

// shifted makes a block of values less the most frequent one (the smallest of those), the base.
func shifted(shape tensor.Shape, n int, value func(i int) int32, base *int32) *entropy.Block {
	syms := make([]int32, n)
	count := make([]int32, 1<<16+256)
	for i := range syms {
		syms[i] = value(i)
		count[syms[i]+256]++
	}
	at := 256
	for i, c := range count {
		if c > count[at] || c == count[at] && c > 0 && i < at {
			at = i
		}
	}
	*base = int32(at - 256)
	for i := range syms {
		syms[i] -= *base
	}
	return block(shape, syms)
}

// frequent reports whether a quarter of the symbols are 0: whether it matters which are.
func frequent(b *entropy.Block) bool {
	zeros := 0
	for _, s := range b.Syms {
		if s == 0 {
			zeros++
		}
	}
	return 4*zeros >= len(b.Syms)
}

// rebase makes symbols less base those less to.
func rebase(b *entropy.Block, base *int32, to int32) {
	for i := range b.Syms {
		b.Syms[i] += *base - to
	}
	*base = to
}

// dense makes the streams of a plain tensor.
func (it *item) dense(t *tensor.Tensor, raw bool) {
	d := &it.d
	d.shape, d.dtype = t.Shape, t.DType
	n := t.Len()
	if !raw && n > 0 {
		if syms := integers(t); syms != nil {
			d.form = formSymbols
			it.block = block(t.Shape, syms)
			return
		}
		if t.DType == tensor.Float32 && n >= 16 {
			if c, ok := weight.CodebookOf(t, min(256, n/4)); ok {
				d.form, d.n = formPalette, len(c.Centroids)
				it.floats(c.Centroids)
				it.block = shifted(t.Shape, n, func(i int) int32 { return int32(c.Index(i)) }, &d.base)
				return
			}
		}
	}
	if !raw && n >= 64 && !t.DType.Packed() && it.masked(t) {
		return
	}
	d.form = formElements
	cols := 1
	if len(t.Shape) > 1 && n > 0 {
		cols = n / t.Shape[0]
	}
	it.elements(t.Bytes()[:t.NumBytes()], t.DType, cols)
}

// masked makes the streams of a tensor at least a quarter of whose elements are zero;
// false: it is another.
func (it *item) masked(t *tensor.Tensor) bool {
	size := t.DType.Bits() / 8
	b := t.Bytes()[:t.NumBytes()]
	syms := make([]int32, t.Len())
	rest := make([]byte, 0, len(b))
	for i := range syms {
		x := b[i*size : (i+1)*size]
		for _, v := range x {
			if v != 0 {
				syms[i] = 1
				rest = append(rest, x...)
				break
			}
		}
	}
	if 4*len(rest) > 3*len(b) {
		return false
	}
	it.d.form, it.d.n = formMasked, len(rest)/size
	it.block = block(t.Shape, syms)
	it.elements(rest, t.DType, 1)
	return true
}

// integers are the elements of a bool or integer tensor; nil where one does not fit
// an int32, where many need more than 16 bits (bytes are coded better then), or where
// the type is another.
func integers(t *tensor.Tensor) []int32 {
	d := t.DType
	if d != tensor.Bool && !d.IsInt() || d.Packed() {
		return nil
	}
	b, size := t.Bytes(), d.Bits()/8
	syms := make([]int32, t.Len())
	wide := 0
	for i := range syms {
		var u uint64
		for k := size - 1; k >= 0; k-- {
			u = u<<8 | uint64(b[i*size+k])
		}
		v := int64(u)
		if d.IsSigned() {
			v = int64(u<<(64-8*size)) >> (64 - 8*size)
		}
		if v != int64(int32(v)) || size == 8 && !d.IsSigned() && v < 0 {
			return nil
		}
		if v >= 1<<15 || v < -1<<15 {
			wide++
		}
		syms[i] = int32(v)
	}
	if wide > len(syms)/8 {
		return nil
	}
	return syms
}

// fromIntegers is its inverse; false where a value does not fit the type.
func fromIntegers(t *tensor.Tensor, syms []int32) bool {
	d := t.DType
	b, size := t.Bytes(), d.Bits()/8
	lo, hi := int64(0), int64(1)<<min(32, 8*size)-1
	if d == tensor.Bool {
		hi = 1
	}
	if d.IsSigned() {
		lo, hi = -1<<(min(32, 8*size)-1), 1<<(min(32, 8*size)-1)-1
	}
	if size == 1 {
		bad := int32(0)
		b = b[:len(syms)]
		for i, s := range syms {
			bad |= (s - int32(lo)) | (int32(hi) - s)
			b[i] = byte(s)
		}
		return bad >= 0
	}
	if size == 2 {
		bad := int32(0)
		b = b[:2*len(syms)]
		for i, s := range syms {
			bad |= (s - int32(lo)) | (int32(hi) - s)
			binary.LittleEndian.PutUint16(b[2*i:], uint16(s))
		}
		return bad >= 0
	}
	for i, s := range syms {
		if int64(s) < lo || int64(s) > hi {
			return false
		}
		u := uint64(int64(s))
		for k := range size {
			b[i*size+k] = byte(u >> (8 * k))
		}
	}
	return true
}

func (it *item) int8(w weight.Int8) {
	it.d.form, it.d.axis, it.d.group = formInt8, w.Axis, w.Group
	for f, t := range levelTypes {
		if t == w.Q.DType {
			it.d.flags |= f
		}
	}
	if w.Group != 0 {
		it.d.flags |= flagGroup
	}
	it.floats(w.Scale)
	if w.Zero != nil {
		it.d.flags |= flagZero
		b := make([]byte, 0, 4*len(w.Zero))
		for _, z := range w.Zero {
			b = binary.LittleEndian.AppendUint32(b, uint32(z))
		}
		it.elems = append(it.elems, entropy.Elements{Size: 4, Cols: 1, N: len(w.Zero), Data: b})
	}
}

func (it *item) codebook(w weight.Codebook) {
	if w.Indices.DType == tensor.Uint16 {
		it.d.flags |= flagWide
	}
	it.floats(w.Centroids)
}

func (it *item) floats(f []float32) {
	b := make([]byte, 0, 4*len(f))
	for _, x := range f {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	it.elems = append(it.elems, entropy.Elements{Size: 4, Float: true, Cols: 1, N: len(f), Data: b})
}

func (it *item) elements(b []byte, d tensor.DType, cols int) {
	size := max(1, d.Bits()/8)
	it.elems = append(it.elems, entropy.Elements{Size: size, Float: isWideFloat(d), Cols: cols, N: len(b) / size, Data: b})
}

func isWideFloat(d tensor.DType) bool { return d.IsFloat() && d.Bits() >= 16 }

// maybeWeight: the first byte's bitWeight says whether the form stands for a
// weight.Dense; isWeight: it always stands for a weight.
func maybeWeight(form byte) bool {
	return form == formElements || form == formPalette || form == formMasked
}
func isWeight(form byte) bool { return form >= formInt8 && form <= formSparse }

// write appends the description; want is the shape that a reader expects, or nil.
func (d *desc) write(w *wbuf, want []int) {
	first := d.form
	if d.weight && maybeWeight(d.form) {
		first |= bitWeight
	}
	switch d.kind {
	case graph.Param:
		first |= 1 << kindShift
	case graph.State:
		first |= 2 << kindShift
	}
	w.byte(first)
	w.shapeLike(d.shape, want)
	switch d.form {
	case formElements, formSymbols:
		w.byte(byte(d.dtype))
	case formMasked:
		w.byte(byte(d.dtype))
		w.uint(uint64(d.n))
	case formPalette:
		w.uint(uint64(d.n))
		w.uint(uint64(d.base))
	case formInt8:
		w.byte(d.flags)
		w.uint(uint64(d.axis + 1))
		if d.flags&flagGroup != 0 {
			w.uint(uint64(d.group))
		}
		w.int(int64(d.base))
	case formCodebook:
		w.byte(d.flags)
		w.uint(uint64(d.n))
		if d.flags&flagHalf == 0 {
			w.uint(uint64(d.base))
		}
	case formSparse:
		w.byte(d.inner)
		switch d.inner {
		case formElements:
			w.byte(byte(d.dtype))
			w.uint(uint64(d.n))
		case formInt8:
			w.byte(d.flags)
			w.uint(uint64(d.axis + 1))
			w.int(int64(d.base))
			if d.axis >= 0 {
				w.uint(uint64(d.n))
			}
		case formCodebook:
			w.byte(d.flags)
			w.uint(uint64(d.n))
		}
	}
}

// readDesc reads a description where the shape want, or none if it is nil, is expected.
// Nothing of the sizes that it names is allocated here.
func readDesc(r *rbuf, want []int) *desc {
	first := r.byte()
	d := &desc{form: first & 7, weight: first&bitWeight != 0, axis: -1}
	if kinds := [...]graph.Kind{graph.Const, graph.Param, graph.State}; first>>kindShift < 3 {
		d.kind = kinds[first>>kindShift]
	} else {
		r.fail("constant of kind %d", first>>kindShift)
	}
	if d.form >= numForms || d.weight && !maybeWeight(d.form) || d.kind != graph.Const && (d.weight || isWeight(d.form) || d.form == formProduct) {
		r.fail("constant of form %#x", first)
	}
	d.weight = d.weight || isWeight(d.form)
	d.shape = r.shapeLike(want)
	elements := d.shape.NumElements()
	dtype := func() {
		d.dtype = tensor.DType(r.byte())
		if d.dtype.Bits() == 0 {
			r.fail("element type %d", d.dtype)
		}
	}
	int8Fields := func() {
		d.flags = r.byte()
		d.axis = r.below(tensor.MaxRank+1, "axis") - 1
		if d.flags&flagGroup != 0 {
			if d.group = r.below(1<<31, "groups of"); d.group == 0 || d.axis < 0 {
				r.fail("groups of %d along axis %d", d.group, d.axis)
			}
		}
		if b := r.int(); b < -128 || b > 255 {
			r.fail("base %d", b)
		} else {
			d.base = int32(b)
		}
		unfit := byte(flagBoth)
		if d.form == formSparse {
			unfit = flagGroup | flagPath
		}
		if levelTypes[d.flags&levelFlags] == tensor.Invalid || d.flags&^(levelFlags|flagZero|flagBoth|flagGroup|flagPath) != 0 || d.flags&unfit != 0 {
			r.fail("flags %#x", d.flags)
		}
		if d.flags&flagPath != 0 && (d.flags&flagWide != 0 || d.base != 0) {
			r.fail("a dependent quantiser of flags %#x and base %d", d.flags, d.base)
		}
	}
	switch d.form {
	case formElements:
		dtype()
		if d.weight && !d.dtype.IsFloat() {
			r.fail("weight of type %v", d.dtype)
		}
	case formSymbols:
		dtype()
		if d.dtype != tensor.Bool && (!d.dtype.IsInt() || d.dtype.Packed()) {
			r.fail("symbols of type %v", d.dtype)
		}
	case formMasked:
		dtype()
		if d.dtype.Packed() || d.weight && !d.dtype.IsFloat() {
			r.fail("masked of type %v", d.dtype)
		}
		d.n = r.below(uint64(elements)+1, "stored elements")
	case formPalette:
		d.n = r.below(257, "palette of")
		d.base = int32(r.below(256, "base"))
	case formInt8:
		int8Fields()
		if d.axis >= len(d.shape) {
			r.fail("axis %d of shape %v", d.axis, d.shape)
		}
	case formCodebook, formSparse:
		form := byte(formCodebook)
		if d.form == formSparse {
			form = r.byte()
			d.inner = form
		}
		switch form {
		case formElements:
			dtype()
			if !d.dtype.IsFloat() || d.dtype.Packed() {
				r.fail("sparse of type %v", d.dtype)
			}
			d.n = r.below(uint64(elements)+1, "stored elements")
		case formInt8:
			int8Fields()
			if d.axis > 0 {
				r.fail("axis %d of sparse values", d.axis)
			}
			if d.axis == 0 {
				d.n = r.below(uint64(elements)+1, "stored elements")
			}
		case formCodebook:
			d.flags = r.byte()
			d.n = r.below(1<<16+1, "codebook of")
			allowed := byte(flagWide)
			if d.form == formCodebook {
				allowed |= flagHalf
			}
			if d.flags&^allowed != 0 {
				r.fail("flags %#x", d.flags)
			}
			switch {
			case d.flags&flagHalf != 0:
				d.base = int32(d.n / 2)
			case d.form == formCodebook:
				d.base = int32(r.below(1<<16, "base"))
			}
		default:
			r.fail("sparse of form %d", form)
		}
	}
	return d
}

// streams says what a coded data chunk holds of the constant: the block's Dims, nil
// where there is none, and the arrays without their Data.
func (d *desc) streams() (b *entropy.Block, elems []entropy.Elements) {
	f32 := func(n int) { elems = append(elems, entropy.Elements{Size: 4, Float: true, Cols: 1, N: n}) }
	scales := func(n int) {
		f32(n)
		if d.flags&flagZero != 0 {
			elems = append(elems, entropy.Elements{Size: 4, Cols: 1, N: n})
		}
	}
	n := d.shape.NumElements()
	plain := func(n, cols int) {
		size := max(1, d.dtype.Bits()/8)
		elems = append(elems, entropy.Elements{Size: size, Float: isWideFloat(d.dtype), Cols: cols,
			N: tensor.Type{DType: d.dtype, Shape: tensor.Shape{n}}.NumBytes() / size})
	}
	if d.form == formProduct {
		return nil, nil
	}
	if d.form != formElements {
		b = &entropy.Block{Dims: entropy.DimsOf(d.shape), Dependent: d.form == formInt8 && d.flags&flagPath != 0}
	}
	switch d.form {
	case formElements:
		cols := 1
		if len(d.shape) > 1 && n > 0 {
			cols = n / d.shape[0]
		}
		plain(n, cols)
	case formMasked:
		plain(d.n, 1)
	case formPalette, formCodebook:
		f32(d.n)
	case formInt8:
		q := &tensor.Tensor{Type: tensor.Type{Shape: d.shape}}
		scales(weight.Int8{Q: q, Axis: d.axis, Group: d.group}.ScaleShape().NumElements())
	case formSparse:
		switch d.inner {
		case formElements:
			plain(d.n, 1)
		case formInt8:
			if d.axis >= 0 {
				scales(d.n)
			} else {
				scales(1)
			}
		case formCodebook:
			f32(d.n)
		}
	}
	return b, elems
}

// coder is what codes the elements of a constant without symbols.
func (d *desc) coder() string {
	if d.form == formProduct {
		return "product"
	}
	return "elements"
}

// memory bounds the bytes that building the constant takes beside its streams.
func (d *desc) memory() int64 {
	n := int64(d.shape.NumElements())
	return n*int64(max(8, d.dtype.Bits()))/8 + 8*n
}

// build makes the constant from its decoded streams; neither for a formProduct.
func (d *desc) build(b *entropy.Block, elems []entropy.Elements) (weight.Weight, *tensor.Tensor, error) {
	n := d.shape.NumElements()
	switch d.form {
	case formProduct:
		return nil, nil, nil
	case formElements:
		t, err := tensor.View(tensor.Type{DType: d.dtype, Shape: d.shape}, aligned(elems[0].Data))
		if err != nil {
			return nil, nil, corrupt("%v", err)
		}
		return d.plain(t)
	case formSymbols:
		t := tensor.New(d.dtype, d.shape...)
		if !fromIntegers(t, b.Syms) {
			return nil, nil, corrupt("value outside %v", d.dtype)
		}
		return nil, t, nil
	case formMasked:
		t := tensor.New(d.dtype, d.shape...)
		out, rest, size := t.Bytes(), elems[0].Data, d.dtype.Bits()/8
		for i, s := range b.Syms {
			if s&^1 != 0 || s == 1 && len(rest) == 0 {
				return nil, nil, corrupt("mask symbol %d of %d stored elements", s, d.n)
			}
			if s == 1 {
				copy(out[i*size:(i+1)*size], rest)
				rest = rest[size:]
			}
		}
		if len(rest) > 0 {
			return nil, nil, corrupt("more elements stored than named")
		}
		return d.plain(t)
	case formPalette:
		c := floats(elems[0])
		t := tensor.New(tensor.Float32, d.shape...)
		out := tensor.Of[float32](t)
		for i, s := range b.Syms {
			k := int64(s) + int64(d.base)
			if k < 0 || k >= int64(len(c)) {
				return nil, nil, corrupt("palette index %d of %d", k, len(c))
			}
			out[i] = c[k]
		}
		return d.plain(t)
	case formInt8:
		syms := b.Syms
		if b.Dependent {
			var ok bool
			if syms, ok = independent(b); !ok {
				return nil, nil, corrupt("level of a dependent quantiser outside any type")
			}
		}
		q, err := d.levels(n, syms, func(s int32) int64 { return int64(s) + int64(d.base) })
		if err != nil {
			return nil, nil, err
		}
		return checked(d.int8(q.Reshape(d.shape...), elems), nil)
	case formCodebook:
		q, err := d.indices(n, b.Syms, func(s int32) int64 { return int64(s) + int64(d.base) })
		if err != nil {
			return nil, nil, err
		}
		return checked(weight.Codebook{Indices: q.Reshape(d.shape...), Centroids: floats(elems[0])}, nil)
	}
	mask := make([]uint64, weight.MaskWords(n))
	nnz := 0
	for i, s := range b.Syms {
		if s != 0 {
			mask[i/64] |= 1 << (i % 64)
			nnz++
		}
	}
	some := make([]int32, 0, nnz)
	for _, s := range b.Syms {
		if s != 0 {
			some = append(some, s)
		}
	}
	w := weight.Sparse{Shape: d.shape, Mask: mask}
	switch d.inner {
	case formElements:
		for _, s := range some {
			if s != 1 {
				return nil, nil, corrupt("mask symbol %d", s)
			}
		}
		if nnz != d.n {
			return nil, nil, corrupt("%d stored elements, want %d", nnz, d.n)
		}
		t, err := tensor.View(tensor.Type{DType: d.dtype, Shape: tensor.Shape{nnz}}, aligned(elems[0].Data))
		if err != nil {
			return nil, nil, corrupt("%v", err)
		}
		w.Values = weight.Dense{T: t}
	case formInt8:
		q, err := d.levels(nnz, some, func(s int32) int64 { return int64(unstored(s, d.flags)) + int64(d.base) })
		if err != nil {
			return nil, nil, err
		}
		w.Values = d.int8(q, elems)
	case formCodebook:
		c := floats(elems[0])
		neg := int64(negatives(c))
		q, err := d.indices(nnz, some, func(s int32) int64 {
			if s < 0 {
				return neg + int64(s)
			}
			return neg + int64(s) - 1
		})
		if err != nil {
			return nil, nil, err
		}
		w.Values = weight.Codebook{Indices: q, Centroids: c}
	}
	return checked(w, nil)
}

// plain is a tensor as the weight or the data that it is.
func (d *desc) plain(t *tensor.Tensor) (weight.Weight, *tensor.Tensor, error) {
	if t.DType == tensor.Bool {
		for _, x := range t.Bytes() {
			if x > 1 {
				return nil, nil, corrupt("bool of value %d", x)
			}
		}
	}
	if d.weight {
		return checked(weight.Dense{T: t}, nil)
	}
	return nil, t, nil
}

func checked(w weight.Weight, err error) (weight.Weight, *tensor.Tensor, error) {
	if err == nil {
		err = weight.Check(w)
	}
	if err != nil {
		return nil, nil, corrupt("%v", err)
	}
	return w, nil, nil
}

// aligned is a copy of b that is aligned as tensors are.
func aligned(b []byte) []byte {
	c := tensor.AlignedBytes(len(b))
	copy(c, b)
	return c
}

func (d *desc) levels(n int, syms []int32, level func(int32) int64) (*tensor.Tensor, error) {
	t := levelTypes[d.flags&levelFlags]
	size := t.Bits()
	lo, hi := int64(0), int64(1)<<size-1
	if t.IsSigned() {
		lo, hi = -1<<(size-1), 1<<(size-1)-1
	}
	q := tensor.New(t, n)
	b, per, mask := q.Bytes(), 8/size, byte(1<<size-1)
	for i, s := range syms {
		v := level(s)
		if v < lo || v > hi {
			return nil, corrupt("level %d outside %v", v, t)
		}
		b[i/per] |= byte(v) & mask << (i % per * size)
	}
	return q, nil
}

func (d *desc) indices(n int, syms []int32, index func(int32) int64) (*tensor.Tensor, error) {
	t := tensor.Uint8
	if d.flags&flagWide != 0 {
		t = tensor.Uint16
	}
	q := tensor.New(t, n)
	b := q.Bytes()
	for i, s := range syms {
		v := index(s)
		if v < 0 || v >= int64(d.n) || v > 255 && t == tensor.Uint8 {
			return nil, corrupt("index %d of %d centroids", v, d.n)
		}
		if t == tensor.Uint8 {
			b[i] = byte(v)
		} else {
			b[2*i], b[2*i+1] = byte(v), byte(v>>8)
		}
	}
	return q, nil
}

func (d *desc) int8(q *tensor.Tensor, elems []entropy.Elements) weight.Int8 {
	w := weight.Int8{Q: q, Axis: d.axis, Group: d.group, Scale: floats(elems[0])}
	if d.flags&flagZero != 0 {
		w.Zero = make([]int32, elems[1].N)
		for i := range w.Zero {
			w.Zero[i] = int32(binary.LittleEndian.Uint32(elems[1].Data[4*i:]))
		}
	}
	return w
}

func floats(e entropy.Elements) []float32 {
	f := make([]float32, e.N)
	for i := range f {
		f[i] = math.Float32frombits(binary.LittleEndian.Uint32(e.Data[4*i:]))
	}
	return f
}

// raw lists what a raw data chunk holds of the constant, each part to stand at a
// multiple of 64 bytes.
func (it *item) raw() [][]byte {
	words := func(m []uint64) []byte {
		b := make([]byte, 0, 8*len(m))
		for _, x := range m {
			b = binary.LittleEndian.AppendUint64(b, x)
		}
		return b
	}
	var parts [][]byte
	elems := func() {
		for _, e := range it.elems {
			parts = append(parts, e.Data)
		}
	}
	values := func(w weight.Weight) {
		switch w := w.(type) {
		case weight.Int8:
			parts = append(parts, w.Q.Bytes())
		case weight.Codebook:
			parts = append(parts, w.Indices.Bytes())
		}
		elems()
	}
	if s, ok := it.w.(weight.Sparse); ok {
		parts = append(parts, words(s.Mask))
		values(s.Values)
		return parts
	}
	values(it.w)
	return parts
}

// rawReader takes parts from a raw data chunk.
type rawReader struct {
	b   []byte
	at  int64 // offset in the file of b's first byte
	err error
}

func (r *rawReader) take(n int64) []byte {
	pad := -r.at & (tensor.Align - 1)
	if r.err != nil || n < 0 || n > int64(len(r.b))-pad {
		if r.err == nil {
			r.err = corrupt("raw data end early")
		}
		return nil
	}
	for _, x := range r.b[:pad] {
		if x != 0 {
			r.err = corrupt("padding is not zero")
			return nil
		}
	}
	x := r.b[pad : pad+n : pad+n]
	r.b, r.at = r.b[pad+n:], r.at+pad+n
	return x
}

// buildRaw makes the constant from a raw data chunk; big parts alias it.
func (d *desc) buildRaw(r *rawReader) (weight.Weight, *tensor.Tensor, error) {
	n := d.shape.NumElements()
	view := func(t tensor.DType, shape ...int) *tensor.Tensor {
		typ := tensor.Type{DType: t, Shape: shape}
		b := r.take(int64(typ.NumBytes()))
		if r.err != nil {
			return nil
		}
		x, err := tensor.View(typ, b)
		if err != nil {
			r.err = corrupt("%v", err)
		}
		return x
	}
	take := func(e entropy.Elements) entropy.Elements {
		e.Data = r.take(int64(e.N) * int64(e.Size))
		return e
	}
	_, elems := d.streams()
	values := func(form byte, shape ...int) weight.Weight {
		switch form {
		case formInt8:
			q := view(levelTypes[d.flags&levelFlags], shape...)
			for i := range elems {
				elems[i] = take(elems[i])
			}
			if r.err != nil {
				return nil
			}
			return d.int8(q, elems)
		case formCodebook:
			t := tensor.Uint8
			if d.flags&flagWide != 0 {
				t = tensor.Uint16
			}
			q := view(t, shape...)
			e := take(elems[0])
			if r.err != nil {
				return nil
			}
			return weight.Codebook{Indices: q, Centroids: floats(e)}
		}
		t := view(d.dtype, shape...)
		if r.err != nil {
			return nil
		}
		return weight.Dense{T: t}
	}
	switch d.form {
	case formElements:
		t := view(d.dtype, d.shape...)
		if r.err != nil {
			return nil, nil, r.err
		}
		return d.plain(t)
	case formInt8, formCodebook:
		w := values(d.form, d.shape...)
		return checked(w, r.err)
	case formSparse:
		b := r.take(8 * int64(weight.MaskWords(n)))
		if r.err != nil {
			return nil, nil, r.err
		}
		mask, nnz := make([]uint64, weight.MaskWords(n)), 0
		for i := range mask {
			mask[i] = binary.LittleEndian.Uint64(b[8*i:])
			nnz += bits.OnesCount64(mask[i])
		}
		v := values(d.inner, nnz)
		return checked(weight.Sparse{Shape: d.shape, Mask: mask, Values: v}, r.err)
	}
	return nil, nil, corrupt("form %d in a raw chunk", d.form)
}
