package format

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"whit/entropy"
)

// A delta is what turns one .whit file, the base, into another, byte for byte. Of two
// models it holds the texts, coded by a model that has seen the base's, and of each
// constant what differs from one of the base: nothing, new symbols given the old ones,
// or all of it. The new file is then written again as it was written: with the same
// options, and a hash tells whether it is the same. Files that cannot be written again
// are copied chunk by chunk.

// ErrBase means that a delta belongs to another base.
var ErrBase = errors.New("the delta belongs to another base")

// fileDelta stands where a file has the type of its first chunk.
const fileDelta = 0x08

// hashSize is how many bytes of SHA-256 tell files apart.
const hashSize = 8

// Kinds of deltas.
const (
	deltaChunks = iota // ranges of the base, and bytes
	deltaModels
)

// How a delta holds the symbols, or the elements, of a constant.
const (
	partSame   = iota // as in the base
	partPlain         // without regard to the base
	partChange        // given those of the base
)

// maxDeltaText bounds the texts of a delta between models.
const maxDeltaText = 1 << 20

func hashOf(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:hashSize]
}

// EncodeDelta returns what DecodeDelta makes next of, given base: both are whole .whit
// files. threads is as Options.Threads.
func EncodeDelta(base, next []byte, threads int) ([]byte, error) {
	for _, f := range [][]byte{base, next} {
		if _, err := readChunks(bytes.NewReader(f), int64(len(f))); err != nil {
			return nil, err
		}
	}
	body, err := chunksDelta(base, next)
	if err != nil {
		return nil, err
	}
	if m := modelsDelta(base, next, threads); m != nil && len(m) < len(body) {
		body = m
	}
	out := binary.AppendUvarint([]byte(magic), Version)
	out = append(out, fileDelta)
	out = append(append(out, hashOf(base)...), hashOf(next)...)
	out = append(out, body...)
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(out, castagnoli))
	back, err := DecodeDelta(base, out, ReadOptions{MaxBytes: 1 << 62, Threads: threads})
	if err != nil || !bytes.Equal(back, next) {
		return nil, fmt.Errorf("the delta does not restore the file: %w", err)
	}
	return out, nil
}

// DecodeDelta restores a file from its base and a delta. A base that is another file is
// ErrBase; errors about the delta's bytes are as Read's.
func DecodeDelta(base, delta []byte, o ...ReadOptions) ([]byte, error) {
	opt := readOptions(o)
	if !IsDelta(delta) || len(delta) < deltaHead+1+sumSize {
		return nil, corrupt("it is no delta")
	}
	end := len(delta) - sumSize
	if binary.LittleEndian.Uint32(delta[end:]) != crc32.Checksum(delta[:end], castagnoli) {
		return nil, corrupt("wrong checksum of the delta")
	}
	b := delta[deltaHead-2*hashSize : end]
	if !bytes.Equal(b[:hashSize], hashOf(base)) {
		return nil, fmt.Errorf("%w: it wants the file whose SHA-256 begins with %x, that of this one with %x", ErrBase, b[:hashSize], hashOf(base))
	}
	want, kind, body := b[hashSize:2*hashSize], b[2*hashSize], b[2*hashSize+1:]
	var next []byte
	var err error
	switch kind {
	case deltaChunks:
		next, err = applyChunks(base, body, opt)
	case deltaModels:
		next, err = applyModels(base, body, opt)
	default:
		err = corrupt("delta of kind %d", kind)
	}
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(hashOf(next), want) {
		return nil, corrupt("the restored file is another; the delta may be of another version of whit")
	}
	return next, nil
}

// deltaHead is the size of what stands before a delta's kind.
var deltaHead = len(binary.AppendUvarint([]byte(magic), Version)) + 1 + 2*hashSize

// IsDelta reports whether a file that begins with b claims to be a delta.
func IsDelta(b []byte) bool {
	head := append(binary.AppendUvarint([]byte(magic), Version), fileDelta)
	return bytes.HasPrefix(b, head)
}

// chunksDelta holds the new file as ranges of the base and bytes: a range for each
// chunk that the base has too.
func chunksDelta(base, next []byte) ([]byte, error) {
	cuts := func(b []byte) ([]int, error) {
		c, err := openContainer(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return nil, err
		}
		at := []int{0}
		if !c.small {
			for _, k := range c.chunks {
				at = append(at, int(k.head))
			}
		}
		return append(at, len(b)), nil
	}
	old, err := cuts(base)
	if err != nil {
		return nil, err
	}
	where := map[string]int{}
	for i := range old[1:] {
		where[string(base[old[i]:old[i+1]])] = old[i]
	}
	at, err := cuts(next)
	if err != nil {
		return nil, err
	}
	w := wbuf{}
	w.byte(deltaChunks)
	w.uint(uint64(len(next)))
	var rest []byte
	for i := range at[1:] {
		part := next[at[i]:at[i+1]]
		w.uint(uint64(len(part)))
		if from, ok := where[string(part)]; ok {
			w.uint(uint64(from) + 1)
		} else {
			w.uint(0)
			rest = append(rest, part...)
		}
	}
	return append(w.b, rest...), nil
}

func applyChunks(base, body []byte, opt ReadOptions) ([]byte, error) {
	r := rbuf{b: body}
	size := r.uint()
	if size > uint64(opt.MaxBytes) {
		return nil, fmt.Errorf("%w: %d, the limit is %d", ErrTooLarge, size, opt.MaxBytes)
	}
	type part struct{ n, from int }
	var parts []part
	total := uint64(0)
	for r.err == nil && total < size {
		n, from := r.below(size-total+1, "part of"), r.below(uint64(len(base))+1, "offset")
		if n == 0 || from > 0 && n > len(base)-(from-1) {
			r.fail("part of %d bytes", n)
		}
		total += uint64(n)
		parts = append(parts, part{n, from})
	}
	var next []byte
	for _, p := range parts {
		if r.err != nil {
			break
		}
		if p.from > 0 {
			next = append(next, base[p.from-1:p.from-1+p.n]...)
		} else {
			next = append(next, r.take(p.n)...)
		}
	}
	return next, r.end("the delta")
}

// textModes is the kind of the text that says how constants are held.
const textModes = 6

// deltaTexts are the texts of a delta between models.
var deltaTexts = []byte{chunkGraph, chunkNames, chunkCard, chunkMeta, chunkReceipt}

// described is a model as the compact profile describes it.
type described struct {
	f     *File
	texts [][]byte // as deltaTexts
	items []*item
}

func describeFile(f *File) (*described, error) {
	g := graphWriter{}
	if err := g.graph(f.Graph, false); err != nil {
		return nil, err
	}
	d := &described{f: f, items: g.items}
	var meta []byte
	if len(f.Graph.Meta) > 0 {
		meta = metaText(f.Graph.Meta)
	}
	d.texts = [][]byte{g.w.b, namesOf(f.Graph), f.Card, meta, f.Receipt}
	return d, nil
}

// basePrior is what the texts of a delta's model are coded with: the samples, then the
// base's texts.
func (d *described) basePrior() *entropy.TextPrior {
	all := slices.Clone(samples)
	for i, t := range d.texts {
		s := entropy.TextSample{Kind: textKind(deltaTexts[i])}
		if len(t) <= maxSmallText {
			s.Text = string(t)
		}
		all = append(all, s)
	}
	return priorOf(all)
}

// partners are the constants of a base.
type partners struct {
	items  []*item
	byName map[string]int
}

func partnersOf(items []*item) partners {
	p := partners{items, map[string]int{}}
	for i, it := range items {
		p.byName[it.name] = i
	}
	return p
}

// of is the item of the base that a constant is compared with, or nil: that with its
// name, else that at its place.
func (p partners) of(i int, name string) *item {
	if k, ok := p.byName[name]; ok {
		return p.items[k]
	}
	if i < len(p.items) {
		return p.items[i]
	}
	return nil
}

// sameDims reports whether the symbols of a and b may be compared one by one.
func sameDims(a, b *entropy.Block) bool { return a != nil && b != nil && a.Dims == b.Dims }

// sameLayout reports whether arrays of elements may be.
func sameLayout(a, b []entropy.Elements) bool {
	return slices.EqualFunc(a, b, func(x, y entropy.Elements) bool {
		return x.Size == y.Size && x.Float == y.Float && x.N == y.N
	})
}

func columns(b *entropy.Block) int { return b.C * b.H * b.W }

// differ is the elements of a as their differences from those of b, zigzag; the bits of
// floats are rotated left by one before, so that near values are near numbers.
func differ(a, b []entropy.Elements) []entropy.Elements {
	out := slices.Clone(a)
	for k, e := range a {
		n := uint(8 * e.Size)
		out[k].Float, out[k].Cols = false, 1
		out[k].Data = make([]byte, len(e.Data))
		for i := 0; i < len(e.Data); i += e.Size {
			d := number(e, e.Data[i:]) - number(b[k], b[k].Data[i:])
			d = uint64(int64(d<<(64-n)) >> (64 - n))
			put(out[k].Data[i:], e.Size, d<<1^uint64(int64(d)>>63))
		}
	}
	return out
}

// undiffer is its inverse: d are differences from b.
func undiffer(d, b []entropy.Elements) []entropy.Elements {
	out := slices.Clone(d)
	for k, e := range b {
		n := uint(8 * e.Size)
		out[k].Float, out[k].Cols = e.Float, e.Cols
		out[k].Data = make([]byte, len(e.Data))
		for i := 0; i < len(e.Data); i += e.Size {
			z := number(d[k], d[k].Data[i:])
			x := number(e, e.Data[i:]) + (z>>1 ^ -(z & 1))
			if e.Float {
				x = x<<(64-n)>>(64-n)>>1 | x<<(n-1)
			}
			put(out[k].Data[i:], e.Size, x)
		}
	}
	return out
}

// number is the element that b begins with, the bits of a float rotated.
func number(e entropy.Elements, b []byte) (x uint64) {
	for i := e.Size - 1; i >= 0; i-- {
		x = x<<8 | uint64(b[i])
	}
	if n := uint(8 * e.Size); e.Float {
		x = (x<<1 | x>>(n-1)) & (1<<(n-1)<<1 - 1)
	}
	return x
}

func put(b []byte, size int, x uint64) {
	for i := range size {
		b[i] = byte(x >> (8 * i))
	}
}

// rewrite is how a file is to be written so that its bytes are those of next, and
// whether there is a way.
func rewrite(f *File, next []byte, threads int) (Options, bool) {
	c, err := openContainer(bytes.NewReader(next), int64(len(next)))
	if err != nil {
		return Options{}, false
	}
	o := Options{Threads: threads, Chunks: !c.small}
	for _, k := range c.chunks {
		switch {
		case k.typ == chunkBlob:
			o.Profile = Fast
		case k.typ == chunkGraph:
			if err := k.peek(c.r); err != nil || len(k.payload) == 0 {
				return o, false
			}
			o.Strip = k.payload[0]&graphDecls == 0
		}
	}
	coders := map[string]bool{}
	for _, w := range f.Sizes.Weights {
		if coderNumber(w.Coder) >= 0 {
			coders[w.Coder] = true
		}
	}
	guesses := []string{""}
	if len(coders) == 1 {
		for name := range coders {
			guesses = []string{name, ""} // one alone is found faster than the best of all
		}
	}
	for _, o.Coder = range guesses {
		var b bytes.Buffer
		if _, err := Write(&b, f, o); err == nil && bytes.Equal(b.Bytes(), next) {
			return o, true
		}
	}
	return o, false
}

// The options of a file in a delta, a byte: the coder's number plus one, and flags.
const (
	optionFast   = 0x10
	optionStrip  = 0x20
	optionChunks = 0x40
)

func packOptions(o Options) byte {
	b := byte(coderNumber(o.Coder) + 1)
	for _, f := range []struct {
		on  bool
		bit byte
	}{{o.Profile == Fast, optionFast}, {o.Strip, optionStrip}, {o.Chunks, optionChunks}} {
		if f.on {
			b |= f.bit
		}
	}
	return b
}

func unpackOptions(b byte) (o Options, ok bool) {
	if k := int(b & 0x0f); k > len(entropy.Coders()) || b&0x80 != 0 {
		return o, false
	} else if k > 0 {
		o.Coder = entropy.Coders()[k-1].Name()
	}
	if b&optionFast != 0 {
		o.Profile = Fast
	}
	o.Strip, o.Chunks = b&optionStrip != 0, b&optionChunks != 0
	return o, true
}

// modelsDelta is the delta of two models; nil: one is none, or cannot be written again.
func modelsDelta(base, next []byte, threads int) []byte {
	var d [2]*described
	for i, b := range [][]byte{base, next} {
		f, err := Read(bytes.NewReader(b), int64(len(b)), ReadOptions{MaxBytes: 1 << 62, Threads: threads})
		if err != nil {
			return nil
		}
		if d[i], err = describeFile(f); err != nil {
			return nil
		}
	}
	o, ok := rewrite(d[1].f, next, threads)
	if !ok || d[1].f.Choices != nil { // which the texts do not have
		return nil
	}
	if o.Strip {
		d[1].texts[1] = nil // the names are made up
	}
	total := len(d[1].items)
	for _, t := range d[1].texts {
		total += len(t)
	}
	if total > maxDeltaText {
		return nil
	}
	old := partnersOf(d[0].items)
	modes := make([]byte, len(d[1].items))
	changes := make([][]byte, len(modes))
	arrays := make([][]entropy.Elements, len(modes))
	err := newWorkers(threads).each(len(modes), func(i int) (err error) {
		modes[i], changes[i], arrays[i], err = compareItems(d[1].items[i], old.of(i, d[1].items[i].name))
		return err
	})
	if err != nil {
		return nil
	}
	w := wbuf{}
	w.byte(deltaModels)
	w.byte(packOptions(o))
	tw := entropy.NewTextWriter(d[0].basePrior())
	for i, k := range deltaTexts {
		tw.Begin(textKind(k))
		tw.Write(smallText(d[1].texts[i], d[1].texts[i] == nil))
	}
	tw.Begin(textModes)
	tw.Write(modes)
	head := tw.Finish()
	w.uint(uint64(len(head)))
	w.b = append(w.b, head...)
	var plain []entropy.Block
	var elems []entropy.Elements
	var codes [][]byte
	for i, it := range d[1].items {
		switch modes[i] & 3 {
		case partPlain:
			plain = append(plain, *it.block)
		case partChange:
			codes = append(codes, changes[i])
		}
		elems = append(elems, arrays[i]...)
	}
	streams := entropy.Streams(plain)
	first := len(codes)
	codes = append(codes, make([][]byte, len(streams))...)
	err = newWorkers(threads).each(len(streams), func(i int) (err error) {
		codes[first+i], err = entropy.Context{}.Append(nil, streams[i])
		return err
	})
	if err != nil {
		return nil
	}
	for _, c := range codes {
		w.uint(uint64(len(c)))
	}
	for _, c := range codes {
		w.b = append(w.b, c...)
	}
	e, err := encodeElements(elems, false, newWorkers(threads))
	if err != nil {
		return nil
	}
	return append(w.b, e...)
}

// compareItems chooses how a delta holds a constant, given one of the base (nil: none):
// its mode, the code of its changed symbols, and the elements to be coded.
func compareItems(it, old *item) (mode byte, change []byte, elems []entropy.Elements, err error) {
	mode = partPlain | partPlain<<2
	switch {
	case it.block == nil:
		mode &^= 3 // partSame
	case old == nil || !sameDims(it.block, old.block):
	case slices.Equal(it.block.Syms, old.block.Syms):
		mode &^= 3 // partSame
	default:
		change = entropy.AppendDelta(nil, old.block.Syms, it.block.Syms, columns(it.block))
		plain, err := entropy.Context{}.Append(nil, []entropy.Block{*it.block})
		if err != nil {
			return 0, nil, nil, err
		}
		if len(change) < len(plain) {
			mode = mode&^3 | partChange
		}
	}
	elems = it.elems
	switch {
	case len(elems) == 0:
		mode &= 3
	case old == nil || !sameLayout(elems, old.elems):
	default:
		x := differ(elems, old.elems)
		if slices.IndexFunc(x, func(e entropy.Elements) bool { return len(bytes.Trim(e.Data, "\x00")) > 0 }) < 0 {
			return mode & 3, change, nil, nil
		}
		a, err := entropy.AppendElements(nil, x, false)
		if err != nil {
			return 0, nil, nil, err
		}
		b, err := entropy.AppendElements(nil, elems, false)
		if err != nil {
			return 0, nil, nil, err
		}
		if len(a) < len(b) {
			return mode&3 | partChange<<2, change, x, nil
		}
	}
	return mode, change, elems, nil
}

// applyModels restores a model's file.
func applyModels(base, body []byte, opt ReadOptions) ([]byte, error) {
	r := rbuf{b: body}
	o, ok := unpackOptions(r.byte())
	if !ok {
		return nil, corrupt("options of the file")
	}
	o.Threads = opt.Threads
	head := r.take(r.count(1))
	if r.err != nil {
		return nil, r.err
	}
	f, err := Read(bytes.NewReader(base), int64(len(base)), opt)
	if err != nil {
		return nil, fmt.Errorf("the base: %w", err)
	}
	b, err := describeFile(f)
	if err != nil {
		return nil, fmt.Errorf("the base: %w", err)
	}
	tr := entropy.NewTextReader(b.basePrior(), head)
	c := &container{small: true}
	left := maxDeltaText
	for _, k := range deltaTexts {
		tr.Begin(textKind(k))
		text, err := readText(tr, &left)
		if err != nil {
			return nil, err
		}
		if text != nil {
			c.chunks = append(c.chunks, chunk{typ: k, payload: text, small: true})
		}
	}
	c.chunks = append(c.chunks, chunk{typ: chunkData, small: true})
	m, err := readModel(c)
	if err != nil {
		return nil, err
	}
	places := m.g.places
	tr.Begin(textModes)
	modes := make([]byte, 0, 64)
	for range places {
		x, err := tr.Byte()
		if err != nil {
			return nil, corrupt("%v", err)
		}
		if x&3 > partChange || x>>2 > partChange {
			return nil, corrupt("part of mode %d", x)
		}
		modes = append(modes, x)
	}
	items, err := deltaItems(places, modes, partnersOf(b.items), &r, opt)
	if err != nil {
		return nil, err
	}
	if f, err = m.finish(items); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if _, err := Write(&out, f, o); err != nil {
		return nil, corrupt("%v", err)
	}
	return out.Bytes(), nil
}

// deltaItems makes the constants of a delta from its codes, which are all that is left
// in r, and those of the base.
func deltaItems(places []place, modes []byte, base partners, r *rbuf, opt ReadOptions) ([]*item, error) {
	budget := opt.MaxBytes
	for _, p := range places {
		if budget -= p.d.memory(); budget < 0 {
			return nil, fmt.Errorf("%w: the limit is %d", ErrTooLarge, opt.MaxBytes)
		}
	}
	type parts struct {
		block  *entropy.Block
		elems  []entropy.Elements
		old    *item
		change int // number of its code
	}
	all := make([]parts, len(places))
	changes, total, coded := 0, 0, len(r.b)
	var plain []entropy.Block
	var elems []entropy.Elements
	for i, p := range places {
		x := &all[i]
		x.block, x.elems = p.d.streams()
		x.old = base.of(i, p.name())
		symbols, arrays := modes[i]&3, modes[i]>>2
		like := x.old != nil && sameDims(x.block, x.old.block)
		switch {
		case x.block == nil && symbols != partSame, x.block != nil && symbols != partPlain && !like:
			return nil, corrupt("symbols of %q are not as in the base", p.name())
		case x.block == nil:
		case symbols == partPlain:
			if n := x.block.Len(); n < 0 || total+n < 0 {
				return nil, corrupt("too many symbols")
			}
			total += x.block.Len()
			plain = append(plain, entropy.Block{Dims: x.block.Dims, Dependent: x.block.Dependent})
		case symbols == partChange:
			x.change = changes
			changes++
		}
		like = x.old != nil && sameLayout(x.elems, x.old.elems)
		if len(x.elems) == 0 && arrays != partSame || len(x.elems) > 0 && arrays != partPlain && !like {
			return nil, corrupt("elements of %q are not as in the base", p.name())
		}
		if arrays != partSame {
			at := len(elems)
			elems = append(elems, x.elems...)
			for k := at; k < len(elems) && arrays == partChange; k++ {
				elems[k].Float, elems[k].Cols = false, 1
			}
		}
	}
	if total > entropy.MaxSymbols(coded+8*(total/entropy.StreamLen)) {
		return nil, corrupt("%d bytes cannot hold %d symbols", coded, total)
	}
	for i := range plain {
		plain[i].Syms = make([]int32, plain[i].Len())
	}
	streams := entropy.Streams(plain)
	codes := r.codes(changes + len(streams))
	if r.err != nil {
		return nil, r.err
	}
	w := newWorkers(opt.Threads)
	err := w.each(len(streams), func(i int) error { return entropy.Context{}.Decode(streams[i], codes[changes+i]) })
	if err != nil {
		return nil, corrupt("%v", err)
	}
	if err := decodeElements(elems, r, false, w); err != nil {
		return nil, err
	}
	for i := range all {
		x := &all[i]
		if x.block != nil && modes[i]&3 == partPlain {
			x.block.Syms = plain[0].Syms
			plain = plain[1:]
		}
		switch modes[i] >> 2 {
		case partSame:
			if x.old != nil && len(x.elems) > 0 {
				x.elems = x.old.elems
			}
		default:
			n := len(x.elems)
			copy(x.elems, elems[:n])
			if elems = elems[n:]; modes[i]>>2 == partChange {
				x.elems = undiffer(x.elems, x.old.elems)
			}
		}
	}
	items := make([]*item, len(places))
	err = w.each(len(places), func(i int) error {
		x := &all[i]
		if x.block != nil {
			switch modes[i] & 3 {
			case partSame:
				x.block.Syms = x.old.block.Syms
			case partChange:
				x.block.Syms = make([]int32, len(x.old.block.Syms))
				if err := entropy.DecodeDelta(x.block.Syms, x.old.block.Syms, columns(x.block), codes[x.change]); err != nil {
					return corrupt("%v", err)
				}
			}
		}
		w, t, err := places[i].d.build(x.block, x.elems)
		items[i] = &item{w: w, t: t}
		return err
	})
	return items, err
}
