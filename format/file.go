package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"sort"
	"sync"

	"whit/card"
	"whit/entropy"
	"whit/graph"
	"whit/internal/safefile"
	"whit/tensor"
	"whit/weight"
)

// File is what a .whit file holds.
type File struct {
	Graph   *graph.Graph // its Meta is the file's metadata
	Card    []byte       // the model card as YAML; nil: none
	Receipt []byte       // how the file came to be, opaque here; nil: none
	Choices []byte       // of kernels, which running replays (kernel.Choices), opaque here; nil: none
	// Sizes is set by Read.
	Sizes Sizes
}

// Profile is what a file is made for.
type Profile uint8

// The profiles.
const (
	Compact Profile = iota // small: everything coded
	Fast                   // loading without decoding: raw payloads, 64-byte aligned
)

// Options are how a file is written. The zero value is the compact profile.
type Options struct {
	Profile Profile
	// Coder names the coder of symbols in the compact profile, as entropy.Coder.Name
	// does; "" takes whichever gives the smallest file.
	Coder string
	// Level weighs the compact profile's size against the time of loading: FastLevel is
	// larger and decoded many times faster. Coder, where it is given, takes precedence for symbols.
	Level Level
	// Strip leaves out all that running does not need: names other than those of
	// inputs and outputs, declared output types, metadata, the receipt, and of the card
	// all but the input and the licence.
	Strip bool
	// Threads is how many groups of weights are coded at once; 0: GOMAXPROCS. The
	// bytes do not depend on it.
	Threads int
	// Chunks keeps the form of large files, whose parts can be read on their own, where
	// the small form would do.
	Chunks bool
}

// ReadOptions bound what reading may do. The zero value is the documented default.
type ReadOptions struct {
	MaxBytes int64 // of memory for constants, ErrTooLarge beyond; 0: 4 GiB
	Threads  int   // groups of weights decoded at once; 0: GOMAXPROCS
	// Stored leaves the elements of large constants in raw data chunks where they are until they are needed
	// (tensor.Stored): the reader must then stay as it is while the graph is in use. The checksum of such a chunk is checked
	// when its tensor's Err is first asked after reading, that of the whole file is not. The others are, as without Stored.
	Stored bool
	least  int64 // chunks of as many bytes may stay; 0: storedBytes
}

func readOptions(o []ReadOptions) (opt ReadOptions) {
	if len(o) > 0 {
		opt = o[0]
	}
	if opt.MaxBytes == 0 {
		opt.MaxBytes = 4 << 30
	}
	if opt.least == 0 {
		opt.least = storedBytes
	}
	return opt
}

// Sizes says where a file's bytes went. All but Weights and the fields of its
// entries include the container's own bytes, so that they add up to File.
type Sizes struct {
	File      int64        `json:"file"`
	Graph     int64        `json:"graph"`   // operators, attributes, interface, how constants are held
	Data      int64        `json:"data"`    // the constants
	Card      int64        `json:"card"`    // the model card
	Names     int64        `json:"names"`   // names of values and nodes
	Meta      int64        `json:"meta"`    // metadata
	Receipt   int64        `json:"receipt"` // the receipt
	Choices   int64        `json:"choices"` // the choices of kernels
	Container int64        `json:"container"`
	Weights   []WeightSize `json:"weights"`
}

// WeightSize is the share of one constant, in the order in which nodes read them.
type WeightSize struct {
	Name     string      `json:"name"`
	Encoding string      `json:"encoding"` // as Weight.Kind; "tensor" where it is none; "sparse(codebook)" where nested
	Coder    string      `json:"coder"`    // of its symbols: "context", ...; "elements"; "raw"
	Type     tensor.Type `json:"-"`
	Dense    int64       `json:"dense"`    // bytes of the elements as the network defines them
	Memory   int64       `json:"memory"`   // bytes that the encoding holds in memory
	Bytes    int64       `json:"bytes"`    // in the file
	Elements int64       `json:"elements"` // of these, what scales, centroids and other elements took, not symbols
}

// IsWhit reports whether a file that begins with b, at least 4 bytes, claims to be a .whit file.
func IsWhit(b []byte) bool { return len(b) >= len(magic) && string(b[:len(magic)]) == magic }

// EncodingName is a weight's Kind with what is nested in it, for example
// "sparse(codebook)"; "tensor" for nil.
func EncodingName(w weight.Weight) string {
	switch w := w.(type) {
	case nil:
		return "tensor"
	case weight.Sparse:
		return "sparse(" + w.Values.Kind() + ")"
	default:
		return w.Kind()
	}
}

func (it *item) size() WeightSize {
	s := WeightSize{Name: it.name, Encoding: EncodingName(it.w), Coder: it.coder, Bytes: it.bytes, Elements: it.elemBytes}
	if it.w != nil {
		s.Type, s.Memory = it.w.Type(), it.w.Bytes()
	} else {
		s.Type, s.Memory = it.t.Type, int64(it.t.NumBytes())
	}
	s.Dense = int64(s.Type.NumBytes())
	return s
}

// groupSize is how many symbols and bytes of elements one data chunk takes at
// least before the next begins: chunks are decoded side by side.
const groupSize = 1 << 20

// groups cuts the list of constants into those of each data chunk. What is large has a
// chunk of its own, so that it can be read alone.
func groups(items []*item) [][]*item {
	var gs [][]*item
	size, from := 0, 0
	cut := func(to int) {
		if to > from {
			gs = append(gs, items[from:to])
		}
		size, from = 0, to
	}
	for i, it := range items {
		n := 0
		if it.block != nil {
			n += len(it.block.Syms)
		}
		for _, e := range it.elems {
			n += len(e.Data)
		}
		if n >= groupSize {
			cut(i)
		}
		if size += n; size >= groupSize {
			cut(i + 1)
		}
	}
	cut(len(items))
	return gs
}

// workers bounds how many goroutines work at once, however calls of each nest.
type workers chan struct{}

func newWorkers(threads int) workers {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return make(workers, threads)
}

// one runs f when a worker is free.
func (w workers) one(f func() error) error {
	w <- struct{}{}
	defer func() { <-w }()
	return f()
}

// each runs f(0..n-1), which must not wait for workers, and returns the first error by index.
func (w workers) each(n int, f func(i int) error) error {
	return parallel(n, cap(w), func(i int) error { return w.one(func() error { return f(i) }) })
}

// parallel runs f(0..n-1) on up to threads goroutines and returns the first error by index.
func parallel(n, threads int, f func(i int) error) error {
	errs := make([]error, n)
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range min(n, threads) {
		wg.Go(func() {
			for i := range next {
				errs[i] = f(i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// coderNumber is the number of a coder in files: its place in entropy.Coders.
func coderNumber(name string) int {
	for i, c := range entropy.Coders() {
		if c.Name() == name {
			return i
		}
	}
	return -1
}

const fastElements = 0x10 // bit beside the coder's number

// smallCoders are those that are tried for the smallest file, fastCoders for one that is
// decoded fast: there the first that suits is taken, but for small groups the smallest.
var (
	smallCoders = []string{"raw", "huffman", "relative", "context"}
	fastCoders  = []string{"rans", "huffman", "relative", "raw"}
)

// encodeGroup makes the payload of a coded data chunk, less its first number, and sets the items' sizes.
func encodeGroup(items []*item, coders []string, fast bool, w workers) ([]byte, error) {
	var blocks []entropy.Block
	var elems []entropy.Elements
	for _, it := range items {
		if it.block != nil {
			blocks = append(blocks, *it.block)
		}
		elems = append(elems, it.elems...)
	}
	var best [][]byte
	var bestStreams [][]entropy.Block
	number, size := 0, math.MaxInt
	all := entropy.Coders()
	for _, name := range coders {
		if fast && size > 1<<12 && size < math.MaxInt {
			break
		}
		k := coderNumber(name)
		streams := entropy.Streams(blocks)
		codes := make([][]byte, len(streams))
		err := w.each(len(streams), func(i int) (err error) {
			codes[i], err = all[k].Append(nil, streams[i])
			return err
		})
		if errors.Is(err, entropy.ErrUnsuited) && len(coders) != 1 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("coder %s: %w", name, err)
		}
		n := 0
		for _, c := range codes {
			n += len(c)
		}
		if n < size {
			best, bestStreams, number, size = codes, streams, k, n
		}
	}
	e, err := encodeElements(elems, fast, w)
	if err != nil {
		return nil, err
	}
	if n := elementBytes(elems); fast && n <= 1<<14 && len(e) > n/2 { // tables of frequencies would be most of it
		fast = false
		if e, err = encodeElements(elems, fast, w); err != nil {
			return nil, err
		}
	}
	out := wbuf{}
	mode := byte(number)
	if fast {
		mode |= fastElements
	}
	out.byte(mode)
	for _, c := range best {
		out.uint(uint64(len(c)))
	}
	out.b = append(slices.Concat(append([][]byte{out.b}, best...)...), e...)
	gather(blocks, bestStreams)
	for _, it := range items {
		it.coder, it.bytes, it.elemBytes = it.d.coder(), 0, 0
		if it.block != nil {
			it.bytes, it.coder = int64(blocks[0].Coded), all[number].Name()
			blocks = blocks[1:]
		}
		for range it.elems {
			it.elemBytes += int64(elems[0].Coded)
			elems = elems[1:]
		}
		it.bytes += it.elemBytes
	}
	return out.b, nil
}

// elementBytes is the size of arrays.
func elementBytes(arrays []entropy.Elements) (n int) {
	for _, e := range arrays {
		n += e.N * e.Size
	}
	return n
}

// encodeElements is the code of arrays: the sizes of all streams but the last, and the
// streams. It sets the arrays' Coded.
func encodeElements(arrays []entropy.Elements, fast bool, w workers) ([]byte, error) {
	streams := entropy.ElementStreams(arrays)
	codes := make([][]byte, len(streams))
	err := w.each(len(streams), func(i int) (err error) {
		codes[i], err = entropy.AppendElements(nil, streams[i], fast)
		return err
	})
	if err != nil {
		return nil, err
	}
	gatherElements(arrays, streams)
	out := wbuf{}
	for _, c := range codes[:len(codes)-1] {
		out.uint(uint64(len(c)))
	}
	return append(out.b, slices.Concat(codes...)...), nil
}

// decodeElements is its inverse: all that is left in r. It sets the arrays' Data.
func decodeElements(arrays []entropy.Elements, r *rbuf, fast bool, w workers) error {
	total := 0
	for _, e := range arrays {
		total += min(e.N, maxElements) * e.Size
		if e.N > maxElements || total > entropy.MaxElementBytes(len(r.b)+8*(total/entropy.ElementStreamLen)) {
			return corrupt("%d bytes cannot hold %d elements of %d", len(r.b), e.N, e.Size)
		}
	}
	for i, e := range arrays {
		arrays[i].Data = make([]byte, e.N*e.Size)
	}
	streams := entropy.ElementStreams(arrays)
	codes := append(r.codes(len(streams)-1), r.b)
	if r.err != nil {
		return r.err
	}
	err := w.each(len(streams), func(i int) error { return entropy.DecodeElements(streams[i], codes[i], fast) })
	if err != nil {
		return corrupt("%v", err)
	}
	gatherElements(arrays, streams)
	return nil
}

// gatherElements sets the arrays' Coded from those of their parts in streams.
func gatherElements(arrays []entropy.Elements, streams [][]entropy.Elements) {
	parts := slices.Concat(streams...)
	for i := range arrays {
		arrays[i].Coded = 0
		for n := 0; ; {
			p := parts[0]
			parts = parts[1:]
			arrays[i].Coded += p.Coded
			if n += p.N; n >= arrays[i].N {
				break
			}
		}
	}
}

// gather sets the blocks' Coded from those of their parts in streams.
func gather(blocks []entropy.Block, streams [][]entropy.Block) {
	parts := slices.Concat(streams...)
	for i := range blocks {
		blocks[i].Coded = 0
		for rows := 0; ; {
			p := parts[0]
			parts = parts[1:]
			blocks[i].Coded += p.Coded
			if rows += p.Rows; rows >= blocks[i].Rows {
				break
			}
		}
	}
}

// Write writes f. The graph must verify and have no layouts or fused bodies: it is
// a model graph. What is written depends on f and o only.
func Write(w io.Writer, f *File, o Options) (Sizes, error) {
	var s Sizes
	coders, fast := smallCoders, o.Level == FastLevel
	if fast {
		coders = fastCoders
	}
	if o.Coder != "" {
		if coders = []string{o.Coder}; coderNumber(o.Coder) < 0 {
			return s, fmt.Errorf("no coder %q", o.Coder)
		}
	}
	if err := f.Graph.Verify(); err != nil {
		return s, err
	}
	g := graphWriter{strip: o.Strip, raw: o.Profile == Fast}
	if err := g.graph(f.Graph, false); err != nil {
		return s, err
	}
	gs := groups(g.items)
	payloads := make([][]byte, len(gs))
	if o.Profile == Compact {
		all := newWorkers(o.Threads)
		err := parallel(len(gs), cap(all), func(i int) (err error) {
			payloads[i], err = encodeGroup(gs[i], coders, fast, all)
			return err
		})
		if err != nil {
			return s, err
		}
	}
	var names, meta, receipt []byte
	cardText := f.Card
	if o.Strip {
		cardText = stripCard(f.Card)
	} else {
		receipt = f.Receipt
		if !usual(f.Graph) {
			names = namesOf(f.Graph)
		}
		if len(f.Graph.Meta) > 0 {
			meta = metaText(f.Graph.Meta)
		}
	}
	for _, it := range g.items {
		s.Weights = append(s.Weights, it.size())
	}
	if o.Profile == Compact && !o.Chunks && len(gs) <= 1 && f.Choices == nil {
		data := slices.Concat(payloads...)
		n, ok, err := writeSmall(w, smallModel, [][]byte{g.w.b, names, cardText, meta, receipt},
			[]*int64{&s.Graph, &s.Names, &s.Card, &s.Meta, &s.Receipt}, data)
		if ok {
			s.File, s.Data = n, int64(len(data))
			s.Container = n - s.Data - s.Graph - s.Names - s.Card - s.Meta - s.Receipt
			return s, err
		}
	}
	cw := &chunkWriter{w: w}
	cw.start()
	s.Container = cw.n
	s.Graph = cw.chunk(chunkGraph, g.w.b)
	for _, x := range []struct {
		typ  byte
		text []byte
		size *int64
	}{{chunkNames, names, &s.Names}, {chunkCard, cardText, &s.Card}, {chunkMeta, meta, &s.Meta}, {chunkReceipt, receipt, &s.Receipt}, {chunkChoices, f.Choices, &s.Choices}} {
		if x.text != nil {
			*x.size = cw.chunk(x.typ, packText(x.text))
		}
	}
	for i, items := range gs {
		if o.Profile == Compact {
			s.Data += cw.chunk(chunkData, countText(len(items)), payloads[i])
		} else {
			s.Data += writeBlob(cw, items)
		}
	}
	before := cw.n
	err := cw.end()
	s.Container += cw.n - before
	s.File = cw.n
	s.Weights = s.Weights[:0] // raw parts have got their sizes now
	for _, it := range g.items {
		s.Weights = append(s.Weights, it.size())
	}
	return s, err
}

// stripCard is a card with its input and licence only; what is no card stays as it is.
func stripCard(b []byte) []byte {
	c, err := card.Parse(b, nil)
	if err != nil {
		return b
	}
	out, err := card.Card{Input: c.Input, Licence: c.Licence}.YAML()
	if err != nil {
		return b
	}
	return out
}

// countText is the number that a data chunk begins with.
func countText(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// writeBlob writes a raw data chunk.
func writeBlob(cw *chunkWriter, items []*item) int64 {
	count := countText(len(items))
	size := func(at int64) (n int64) { // of the payload, if it begins at byte at of the file
		n = int64(len(count))
		for _, it := range items {
			for _, p := range it.raw() {
				n += -(at+n)&(tensor.Align-1) + int64(len(p))
			}
		}
		return n
	}
	// The size of the chunk's header depends on that of the payload, and the padding on the header's.
	var at, n int64
	for h := int64(2); ; h++ {
		at = cw.n + h
		n = size(at)
		if int64(len(header(chunkBlob, int(n)))) == h {
			break
		}
	}
	parts := [][]byte{count}
	at += int64(len(count))
	zero := make([]byte, tensor.Align)
	for _, it := range items {
		it.coder, it.bytes = "raw", 0
		for _, p := range it.raw() {
			pad := -at & (tensor.Align - 1)
			parts = append(parts, zero[:pad], p)
			at += pad + int64(len(p))
			it.bytes += pad + int64(len(p))
		}
	}
	return cw.chunk(chunkBlob, parts...)
}

// WriteFile writes f to a file, whole or not at all: into a temporary file in the same
// folder, which is read back and compared with f before it takes the name.
func WriteFile(path string, f *File, o Options) (Sizes, error) {
	var s Sizes
	err := safefile.WriteChecked(path, func(w io.Writer) (err error) {
		s, err = Write(w, f, o)
		return err
	}, func(tmp string) error {
		back, err := ReadFile(tmp, ReadOptions{MaxBytes: math.MaxInt64, Threads: o.Threads})
		if err != nil {
			return err
		}
		return compare(f, back, o.Strip)
	})
	return s, err
}

// ReadFile reads a file.
func ReadFile(path string, o ...ReadOptions) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	out, err := Read(f, st.Size(), o...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// group is a data chunk with the constants that it holds.
type group struct {
	c      chunk
	places []place
	t      *tensor.Tensor // its constant, where that stays in the file
	bytes  int64          // and what it takes there
}

// Read reads a file of size bytes whole, checks every checksum and returns a graph
// that verifies. At most one ReadOptions is heeded. Errors about the bytes are
// ErrCorrupt, ErrVersion or ErrTooLarge. Memory is bounded by MaxBytes for
// constants and what decoding them takes at a time, and by 1100 times the file's size for the rest. Constants of a file in
// the fast profile alias one block of memory that holds the file.
func Read(r io.ReaderAt, size int64, o ...ReadOptions) (*File, error) {
	opt := readOptions(o)
	file, err := openContainer(r, size)
	if err != nil {
		return nil, err
	}
	read := file.readAll
	if opt.Stored {
		read = func() error { return file.readStored(opt.least) }
	}
	if err := read(); err != nil {
		return nil, err
	}
	m, err := readModel(file)
	if err != nil {
		return nil, err
	}
	if err := file.loadStored(m.gs); err != nil {
		return nil, err
	}
	items, err := decodeAll(m.g.places, m.gs, opt)
	if err != nil {
		return nil, err
	}
	return m.finish(items)
}

// model is one that is read: all but its constants.
type model struct {
	f           *File
	g           graphReader
	gs          []group
	names, meta []byte
}

// readModel reads what a file says of a model. Payloads of data need not be loaded.
func readModel(file *container) (*model, error) {
	f := &File{}
	m := &model{f: f, g: graphReader{names: map[string]bool{}}}
	g := &m.g
	seen := map[byte]bool{}
	left := -1
	var err error
	f.Sizes.File, f.Sizes.Container = file.size, file.size
	for _, c := range file.sections() {
		n := c.size()
		f.Sizes.Container -= n
		if c.typ != chunkData && c.typ != chunkBlob {
			if seen[c.typ] {
				return nil, corrupt("two chunks of type %#x", c.typ)
			}
			seen[c.typ] = true
		}
		switch c.typ {
		case chunkGraph:
			f.Sizes.Graph = n
			g.r.b = c.payload
			f.Graph = g.graph(0)
			if err := g.r.end("the graph"); err != nil {
				return nil, err
			}
			left = len(g.places)
		case chunkData, chunkBlob:
			f.Sizes.Data += n
			if left < 0 {
				return nil, corrupt("data before the graph")
			}
			var next group
			if next, err = file.dataChunk(c, g.places[len(g.places)-left:]); err == nil {
				left -= len(next.places)
				m.gs = append(m.gs, next)
			}
		case chunkCard:
			f.Sizes.Card = n
			f.Card, err = c.text()
		case chunkNames:
			f.Sizes.Names = n
			m.names, err = c.text()
		case chunkMeta:
			f.Sizes.Meta = n
			m.meta, err = c.text()
		case chunkReceipt:
			f.Sizes.Receipt = n
			f.Receipt, err = c.text()
		case chunkChoices:
			f.Sizes.Choices = n
			f.Choices, err = c.text()
		case chunkArrays:
			err = corrupt("it holds arrays, not a model; 'whit decode' restores them")
		default:
			err = corrupt("chunk of type %#x in a model", c.typ)
		}
		if err != nil {
			return nil, err
		}
	}
	if f.Graph == nil {
		return nil, corrupt("no graph")
	}
	if left > 0 {
		return nil, corrupt("%d constants without data", left)
	}
	if m.meta != nil {
		if f.Graph.Meta, err = readMeta(m.meta); err != nil {
			return nil, err
		}
	}
	if m.names == nil {
		g.call(f.Graph, f.Graph.Meta)
	} else if err := g.readNames(f.Graph, m.names); err != nil {
		return nil, err
	}
	g.finish()
	return m, nil
}

// finish puts the constants into the graph.
func (m *model) finish(items []*item) (*File, error) {
	f, g := m.f, &m.g
	left := map[*graph.Value]*item{}
	for i, p := range g.places {
		it := items[i]
		switch {
		case p.d.form == formProduct:
			it.d, left[p.value] = *p.d, it
		case p.value == nil:
			p.node.Attrs[p.attr] = it.t
		case it.w != nil:
			p.value.Weight, p.value.Type = it.w, it.w.Type()
		default:
			p.value.Data, p.value.Type = it.t, it.t.Type
		}
	}
	multiply(f.Graph, left)
	for v, it := range left {
		if it.t == nil {
			return nil, corrupt("no product for the scales of a bias")
		}
		v.Data, v.Type = it.t, it.t.Type
	}
	if err := f.Graph.Verify(); err != nil {
		return nil, corrupt("%v", err)
	}
	for _, v := range g.values {
		f.Graph.Reserve(v.Name)
	}
	for i, p := range g.places {
		items[i].name = p.name()
		f.Sizes.Weights = append(f.Sizes.Weights, items[i].size())
	}
	return f, nil
}

// name is that of the constant: of its value, or NODE.ATTRIBUTE.
func (p place) name() string {
	if p.value != nil {
		return p.value.Name
	}
	return p.node.Name + "." + p.attr
}

// dataChunk is a data chunk with the constants, the first of places, that it says it
// holds; where its payload is loaded the group's is what follows that number.
func (file *container) dataChunk(c chunk, places []place) (group, error) {
	if c.small {
		return group{c: c, places: places}, nil
	}
	b := c.payload
	if b == nil {
		b = make([]byte, min(c.n, binary.MaxVarintLen64))
		if err := readAt(file.r, b, c.at); err != nil {
			return group{}, err
		}
	}
	k, n := countOf(b)
	if n == 0 || k > uint64(len(places)) || k == 0 {
		return group{}, corrupt("chunk at byte %d: data of %d constants, %d expected", c.at, k, len(places))
	}
	if c.payload != nil {
		c.at, c.payload = c.at+int64(n), c.payload[n:]
	}
	return group{c: c, places: places[:k]}, nil
}

// decodeAll makes all constants, in order, within the limit on memory.
func decodeAll(places []place, gs []group, opt ReadOptions) ([]*item, error) {
	budget := opt.MaxBytes
	for _, p := range places {
		if budget -= p.d.memory(); budget < 0 {
			return nil, fmt.Errorf("%w: the limit is %d", ErrTooLarge, opt.MaxBytes)
		}
	}
	items := make([][]*item, len(gs))
	all, spare := newWorkers(opt.Threads), new(sync.Pool)
	err := parallel(len(gs), cap(all), func(i int) (err error) {
		items[i], err = gs[i].decode(all, spare)
		return err
	})
	return slices.Concat(items...), err
}

// countOf reads the number that a data chunk begins with, and its size; 0: corrupt.
func countOf(b []byte) (uint64, int) {
	r := rbuf{b: b}
	k := r.uint()
	if r.err != nil {
		return 0, 0
	}
	return k, len(b) - len(r.b)
}

// decode makes the constants of a data chunk.
func (g group) decode(w workers, spare *sync.Pool) ([]*item, error) {
	items := make([]*item, len(g.places))
	if g.t != nil {
		items[0] = &item{t: g.t, coder: "raw", bytes: g.bytes}
		return items, nil
	}
	if g.c.typ == chunkBlob {
		r := &rawReader{b: g.c.payload, at: g.c.at}
		for i, p := range g.places {
			size := len(r.b)
			w, t, err := p.d.buildRaw(r)
			if err != nil {
				return nil, err
			}
			items[i] = &item{w: w, t: t, coder: "raw", bytes: int64(size - len(r.b))}
		}
		if len(r.b) > 0 {
			return nil, corrupt("%d bytes after raw data", len(r.b))
		}
		return items, nil
	}
	r := rbuf{b: g.c.payload}
	mode := r.byte()
	coders := entropy.Coders()
	number := int(mode &^ fastElements)
	if r.err == nil && number >= len(coders) {
		return nil, corrupt("coder %d", number)
	}
	var blocks []entropy.Block
	var elems []entropy.Elements
	for _, p := range g.places {
		b, e := p.d.streams()
		if b != nil {
			blocks = append(blocks, *b)
		}
		elems = append(elems, e...)
	}
	total := 0
	for _, b := range blocks {
		if total += max(0, b.Len()); b.Len() < 0 || total < 0 || total > entropy.MaxSymbols(len(r.b)+8*(total/entropy.StreamLen)) {
			return nil, corrupt("%d bytes cannot hold a constant of %+v", len(r.b), b.Dims)
		}
	}
	syms := symbols(spare, total)
	defer spare.Put(syms) // the constants have been made
	rest := *syms
	for i := range blocks {
		n := blocks[i].Len()
		blocks[i].Syms, rest = rest[:n:n], rest[n:]
	}
	streams := entropy.Streams(blocks)
	codes := r.codes(len(streams))
	if r.err != nil {
		return nil, r.err
	}
	if err := w.each(len(streams), func(i int) error { return coders[number].Decode(streams[i], codes[i]) }); err != nil {
		return nil, corrupt("%v", err)
	}
	gather(blocks, streams)
	if err := decodeElements(elems, &r, mode&fastElements != 0, w); err != nil {
		return nil, err
	}
	for i, p := range g.places {
		it := &item{coder: p.d.coder()}
		b, e := p.d.streams()
		if b != nil {
			*b = blocks[0]
			blocks = blocks[1:]
			it.coder, it.bytes = coders[number].Name(), int64(b.Coded)
		}
		copy(e, elems)
		elems = elems[len(e):]
		for _, x := range e {
			it.elemBytes += int64(x.Coded)
		}
		it.bytes += it.elemBytes
		var err error
		if it.w, it.t, err = p.d.build(b, e); err != nil {
			return nil, err
		}
		items[i] = it
	}
	return items, nil
}

// symbols is room for n symbols, from spare if there is some: to touch new memory takes longer than to decode into old.
func symbols(spare *sync.Pool, n int) *[]int32 {
	s, _ := spare.Get().(*[]int32)
	if s == nil || cap(*s) < n {
		s = new([]int32)
		*s = make([]int32, n)
	}
	*s = (*s)[:n]
	return s
}

// metaText is the text of a metadata chunk: pairs of strings, sorted.
func metaText(m map[string]string) []byte {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var w wbuf
	for _, k := range keys {
		w.str(k)
		w.str(m[k])
	}
	return w.b
}

func readMeta(b []byte) (map[string]string, error) {
	m := map[string]string{}
	r := rbuf{b: b}
	for len(r.b) > 0 {
		k, v := r.str(), r.str()
		if _, twice := m[k]; twice {
			r.fail("metadata %q stands twice", k)
		}
		m[k] = v
	}
	return m, r.err
}

// named walks a graph in the order in which graphReader lists values and nodes.
func named(g *graph.Graph, depth int, value func(v *graph.Value, inFile bool), node func(n *graph.Node)) {
	seen := map[*graph.Value]bool{}
	isOut := map[*graph.Value]bool{}
	if depth == 0 {
		for _, v := range g.Outputs {
			isOut[v] = v.Kind == graph.Computed
		}
	}
	see := func(v *graph.Value) {
		if v != nil && !seen[v] {
			seen[v] = true
			value(v, isOut[v] || depth == 0 && v.Kind == graph.Input)
		}
	}
	for _, v := range g.Inputs {
		see(v)
	}
	for _, n := range g.Nodes {
		names := make([]string, 0, len(n.Attrs))
		for name := range n.Attrs {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			switch a := n.Attrs[name].(type) {
			case *graph.Graph:
				named(a, depth+1, value, node)
			case []*graph.Graph:
				for _, s := range a {
					named(s, depth+1, value, node)
				}
			}
		}
		for _, v := range n.In {
			see(v)
		}
		for _, v := range n.Out {
			see(v)
		}
		node(n)
	}
	for _, v := range g.Outputs {
		see(v)
	}
}

// namesOf is the text of the names chunk: the graph's name and documentation, the
// names of values that the graph chunk does not hold, and those of nodes. Those that levelNames gives are empty.
func namesOf(g *graph.Graph) []byte {
	usual, own := map[*graph.Value]string{}, map[*graph.Node]string{}
	named(g, 0, func(*graph.Value, bool) {}, func(n *graph.Node) {
		if r := levelled(n); r != nil {
			own[n] = levelNames(n, r.Name, func(v *graph.Value, name string) {
				if _, twice := usual[v]; !twice {
					usual[v] = name
				}
			})
		}
	})
	var w, nodes wbuf
	w.str(g.Name)
	w.str(g.Doc)
	named(g, 0, func(v *graph.Value, inFile bool) {
		switch {
		case inFile:
		case usual[v] == v.Name:
			w.str("")
		default:
			w.str(v.Name)
		}
	}, func(n *graph.Node) {
		if own[n] == n.Name {
			nodes.str("")
			return
		}
		nodes.str(n.Name)
	})
	return append(w.b, nodes.b...)
}

func (g *graphReader) readNames(out *graph.Graph, b []byte) error {
	r := rbuf{b: b}
	out.Name, out.Doc = r.str(), r.str()
	for _, v := range g.values {
		if v.Name == "" {
			v.Name = r.str()
			g.names[v.Name] = true
		}
	}
	for _, n := range g.nodes {
		n.Name = r.str()
	}
	for _, n := range g.nodes {
		r := levelled(n)
		if r == nil || r.Name == "" {
			continue
		}
		own := levelNames(n, r.Name, func(v *graph.Value, name string) {
			if v.Name == "" {
				v.Name, g.names[name] = name, true
			}
		})
		if n.Name == "" {
			n.Name = own
		}
	}
	return r.end("names")
}
