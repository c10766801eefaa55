package entropy

import (
	"encoding/binary"
	"math/bits"
)

// Context is a context-modelled adaptive binary arithmetic coder. Each symbol is a
// decision "not zero", a sign, and the magnitude as its length in bits (up or down from
// what is usual in the block) and the bits below the leading one. The probability of each
// decision, but those of the lower bits, is mixed from
// counters under contexts: the column so far, the row so far, neighbours along the
// row, the column, the kernel and, in matrices, two distances that the encoder finds
// (images flattened into rows), and two predictions of the value: one from the rows
// before that resemble this one so far (see kin), and one that is linear in the
// neighbours and learned (see linear). All models begin neutral and learn as they go.
//
// It owes its structure to M. Mahoney's lpaq (2007: counters, integer logistic mixing,
// a final correction by adaptive maps) and to context-adaptive binary arithmetic coding
// of quantised weights (Wiedemann et al.: DeepCABAC, 2020: significance, sign and
// magnitude decisions).
type Context struct{}

// Name implements Coder.
func (Context) Name() string { return "context" }

// Append implements Coder.
func (Context) Append(dst []byte, blocks []Block) ([]byte, error) {
	n, err := check(blocks)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	rc := newEncoder(dst)
	m := newModel()
	ends := make([]int, len(blocks))
	for i, b := range blocks {
		if err := m.block(&rc, b); err != nil {
			return nil, err
		}
		ends[i] = rc.done() - start
	}
	dst = pad(rc.finish(start), start, n)
	if len(ends) > 0 {
		ends[len(ends)-1] = len(dst) - start
	}
	shares(blocks, ends)
	return dst, nil
}

// Decode implements Coder.
func (Context) Decode(blocks []Block, src []byte) error {
	if err := alloc(blocks, len(src)); err != nil {
		return err
	}
	rc := newDecoder(src)
	m := newModel()
	ends := make([]int, len(blocks))
	for i, b := range blocks {
		if err := m.block(&rc, b); err != nil {
			return err
		}
		if rc.over() {
			return corrupt("code ends within block %d", i)
		}
		ends[i] = rc.done()
	}
	if len(ends) > 0 {
		ends[len(ends)-1] = len(src)
	}
	shares(blocks, ends)
	return nil
}

// Largest values of what contexts are made of.
const (
	maxLag    = 255     // the distances that an encoder may choose
	margin    = 256     // zeros on both sides of a row
	lookGroup = 16      // the columns that look takes at a time
	maxMag    = 1 << 15 // magnitudes are clamped to it in contexts
)

const (
	maxStart     = 15 // the longest length, less 1, that a walk begins at
	minStart     = 64 // the symbols from which a block says at which
	densityCount = 3  // the count of counters made of a row's density

	// Decisions about a length: longer than 0..15; the first one where it is not about 0; shorter.
	lengthSteps = 3 * 16
	lengthFirst = 1 * 16
	lengthDown  = 2 * 16

	mixedBits     = 2 // the bits of a magnitude below its highest that are mixed
	mantissaSteps = 16 << mixedBits
	lowCount      = 16 // the count at which counters of the others begin: they hardly differ from even
)

// model is the state that all blocks of one code share.
type model struct {
	nonzero, negative, length, mantissa site

	zeros   [2]zeroTables // on the first and on the second scale of a dependent quantiser
	signs   signTables
	lengths lengthTables
	// Mantissa, and its bits below the second:
	mPlain      [mantissaSteps * 2]counter
	mRow, mNear [mantissaSteps * 16]counter
	mLinear     [mantissaSteps * 25]counter
	low         [16 * 256 * 2]counter

	starts     []counter // of the blocks' starts, see walk.start
	rowDensity []counter // of the rows of the latest matrix, how many are not zero
}

// zeroTables are the counters of the decision "not zero". Assembly knows their places.
type zeroTables struct {
	far     [256]counter     // by neighbours at both distances, left and upper
	diag    [256]counter     // by the three neighbours at the first distance, and left
	kernel  [16 * 32]counter // by the place in the kernel and what it holds so far
	upper   [1 << 14]counter // in matrices: by densities, and two upper neighbours
	kin     [1 << 10]counter // by the density here and how much kin rows expect
	near    [512]counter     // by the density here and around, left and upper neighbour
	density [1 << 10]counter // by densities of column and row
}

// signTables are the counters of the decision "negative". Assembly knows their places.
type signTables struct {
	kin     [25 * 3]counter
	kinNear [25 * 9]counter
	both    [25 * 25]counter // what kin and linear expect
	linear  [25]counter
	cross   [81]counter // by the neighbours next and at the distances
	upper   [27]counter
	row     [81]counter
}

// lengthTables are the counters of decisions about lengths, by their number. Assembly knows their places.
type lengthTables struct {
	plain       [2 * lengthSteps * 2]counter
	density     [2 * lengthSteps * 176]counter
	est         [2 * lengthSteps * 64]counter
	near, far   [lengthSteps * 256]counter
	column      [lengthSteps * 256]counter
	linear, kin [lengthSteps * 16 * 25]counter
}

func newModel() *model {
	m := &model{
		nonzero:  newSite(8, 2*16, 176),
		negative: newSite(8, 1, 1),
		length:   newSite(8, 2*lengthSteps, 16),
		mantissa: newSite(4, 16*mixedBits, 1),

		starts: newCounters(maxStart),
	}
	for _, c := range [][]counter{
		m.signs.kin[:], m.signs.kinNear[:], m.signs.both[:], m.signs.linear[:], m.signs.cross[:], m.signs.upper[:], m.signs.row[:],
		m.lengths.plain[:], m.lengths.density[:], m.lengths.est[:], m.lengths.near[:], m.lengths.far[:], m.lengths.column[:], m.lengths.linear[:], m.lengths.kin[:],
		m.mPlain[:], m.mRow[:], m.mNear[:], m.mLinear[:], m.low[:],
	} {
		resetCounters(c)
	}
	for i := range m.low {
		m.low[i] |= lowCount
	}
	for i := range m.zeros {
		z := &m.zeros[i]
		for _, c := range [][]counter{z.far[:], z.diag[:], z.kernel[:], z.upper[:], z.kin[:], z.near[:], z.density[:]} {
			resetCounters(c)
		}
	}
	return m
}

// abs has no branch: signs are not foreseen.
func abs(a int32) int32 { return a ^ a>>31 - a>>31 }

// sgn is 0, 1 or 2: zero, positive, negative.
func sgn(a int32) int { return int(uint32(-a)>>31 | uint32(a)>>31<<1) }

// octaves is a logarithm of a >= 0 with two steps an octave: 0..3, then 4 for 4 and
// 5, 5 for 6 and 7, 6 for 8..11; at most 15, from 192 on.
func octaves(a int32) int { return int(octaveTab[uint8(min(a, 255))]) }

// quarters is one with four steps an octave: 0..7, then 8 for 8 and 9; at most 63.
func quarters(a int32) int {
	if a < int32(len(quarterTab)) {
		return int(quarterTab[a])
	}
	e := bits.Len32(uint32(a))
	return min(4*e-8+int(a>>(e-3)&3), 63)
}

var (
	octaveTab  [256]uint8
	quarterTab [256]uint8
)

func init() {
	for a := range octaveTab {
		octaveTab[a], quarterTab[a] = uint8(a), uint8(a)
		e := bits.Len(uint(a))
		if a >= 4 {
			octaveTab[a] = uint8(min(2*e-2+a>>(e-2)&1, 15))
		}
		if a >= 8 {
			quarterTab[a] = uint8(4*e - 8 + a>>(e-3)&3)
		}
	}
}

// walk is the model on its way through a block: what it knows of it so far.
type walk struct {
	*model
	front
	rc         *rangeCoder
	cols       int
	width      int // of the kernel
	far1, far2 int // distances of further neighbours, 0: none
	start      int // the length in bits, less 1, that the first decision about a length asks for
	// The row and those before, with margins, so that neighbours need no tests; symbols
	// are clamped to maxMag.
	cur, prev, prev2   []cell
	mags, mags1, mags2 []uint8   // their magnitudes, at most 3
	edges              []edges   // by place in the kernel
	column, place      []counter // not zero: by column; by place in the kernel, within a row
	colSign            []counter // negative, by column
	colMag             []int32   // mean magnitude of the column's non-zeros, in 1/256
	above              []above   // what the row knows of its columns as it begins
	logits             []int16   // scratch of look
	dependent          bool
	state              int // of a dependent quantiser, else 0
	r                  int // the row
	inRow              int // non-zeros so far
}

// front is what the decision "not zero" reads of a walk, and what it leaves. Assembly knows
// its layout. Pointers are to what stands for the row's first column.
type front struct {
	z            *zeroTables // of the scale in force
	sets0, sets1 *mixing
	atAbove      *above
	atColumn     *counter
	atPlace      *counter
	atCur        *cell
	atMags       *uint8
	atFar1       *uint8 // the neighbour at the first distance, less 1
	atFar2       *uint8
	kin          *kin
	c, k         int   // the position: column, and place in its kernel
	stop         int   // the column that it ends before
	kernel       int   // symbols of one channel
	inKernel     int   // non-zeros so far
	left         int   // the left neighbour's magnitude, at most 3
	density      int   // of the column and the row
	expect       int64 // what kin expects
	kq           int   // its steps
	row          counter
	besideFar1   uint32 // of the neighbours at and beside the first distance, those that are known
	besideFar2   uint32
	early        uint32 // the row's number, at most 3

	// And the decision "negative":
	rowMag              int32 // of the row's non-zeros, in 1/256
	atPrev, atPrev2     *cell
	atNear1, atNear2    *cell // the neighbours at both distances, else this symbol
	atSeventh, atEighth *cell // the last features of linear
	atEdges             *edges
	atColSign           *counter
	atColMag            *int32
	lin                 *linear
	signs               *signTables
	signSet0, signSet1  *mixing
	value               value

	// And those about a length:
	lengths                  *lengthTables
	lengthSets0, lengthSets1 *mixing
	lengthScale              int // the first number of the scale in force
}

// edges masks the features of linear by whether they lie in the kernel: all bits or none.
type edges [8]int32

// newEdges is that of place k in a kernel.
func newEdges(k, width, kernel, far1 int) (e edges) {
	for i := range e {
		e[i] = -1
	}
	left, right, upper := k%width > 0, k%width < width-1, k >= width && far1 > 0
	if kernel == 1 {
		left, right, upper = true, true, far1 > 0
	}
	for i, in := range []bool{left, upper, left && upper, right && upper} {
		if !in {
			e[i] = 0
		}
	}
	return e
}

// value is what a symbol's sign and magnitude are coded by, beside their own first bits.
type value struct {
	hat                    int64 // what lin expects, in 1/64
	hq                     int   // its steps
	rm, cm, est            int   // mean magnitudes of the row and the column, and both with neighbours
	nearQ, pairUp, pairFar int   // magnitudes of neighbours
}

// newWalk is a walk that has coded the distances and the start, or decoded them.
func (m *model) newWalk(rc *rangeCoder, b Block) *walk {
	kernel := b.H * b.W
	cols := b.C * kernel
	// The distances of further neighbours: a line and a channel of a kernel, or in
	// a matrix what the encoder finds.
	far1, far2 := 0, kernel
	if b.H > 1 {
		far1 = b.W
	}
	if kernel == 1 {
		far1, far2 = lags(rc, b, cols)
	}
	if far1 > maxLag {
		far1 = 0
	}
	if far2 > maxLag {
		far2 = 0
	}
	beside1, beside2 := uint32(0x030303), uint32(3)
	switch far1 {
	case 0:
		beside1 = 0
	case 1: // the symbol after the neighbour is this one
		beside1 = 0x0303
	}
	if far2 == 0 {
		beside2 = 0
	}
	const wide = 2 * margin
	w := &walk{
		model: m, rc: rc, cols: cols, width: b.W, far1: far1, far2: far2, dependent: b.Dependent,
		cur: make([]cell, cols+wide), prev: make([]cell, cols+wide), prev2: make([]cell, cols+wide),
		mags: make([]uint8, cols+wide), mags1: make([]uint8, cols+wide), mags2: make([]uint8, cols+wide),
		edges: make([]edges, kernel), column: newCounters(cols), place: newCounters(kernel), colSign: newCounters(cols), colMag: make([]int32, cols),
		above: make([]above, (cols+lookGroup-1)/lookGroup*lookGroup), logits: make([]int16, cols+wide+lookGroup),
	}
	w.front = front{
		kin: newKin(b.Rows, cols), kernel: kernel, besideFar1: beside1, besideFar2: beside2,
		atAbove: &w.above[0], atColumn: &w.column[0], atPlace: &w.place[0], sets1: &m.nonzero.sets[1][0],
		atEdges: &w.edges[0], atColSign: &w.colSign[0], atColMag: &w.colMag[0], lin: &linear{scale: newScale(64)}, signs: &m.signs,
		signSet0: &m.negative.sets[0][0], signSet1: &m.negative.sets[1][0],
		lengths: &m.lengths, lengthSets0: &m.length.sets[0][0], lengthSets1: &m.length.sets[1][0],
	}
	for i := range w.logits {
		w.logits[i] = zeroLogit
	}
	for k := range w.edges {
		w.edges[k] = newEdges(k, b.W, kernel, far1)
	}
	if b.Len() >= minStart {
		w.start = m.codeStart(rc, b.Syms)
	}
	// The columns that read what a row of the matrix before made are as dense as it, at first.
	if rows := len(m.rowDensity); rows > 1 && cols >= rows && cols%rows == 0 {
		for c := range w.column {
			w.column[c] = m.rowDensity[c/(cols/rows)]
		}
	}
	if cols > 1 {
		m.rowDensity = m.rowDensity[:0]
	}
	return w
}

// codeStart codes a walk's start, or decodes it: unary. An encoder takes the median of the
// lengths, so that about two decisions find one.
func (m *model) codeStart(rc *rangeCoder, syms []int32) int {
	median := 0
	if rc.dec == 0 {
		var count [33]int
		all := 0
		for _, s := range syms {
			if s != 0 {
				count[bits.Len32(uint32(abs(s)))]++
				all++
			}
		}
		for n := count[1]; 2*n < all && median < maxStart; median++ {
			n += count[median+2]
		}
	}
	for k := range m.starts {
		y := 0
		if k < median {
			y = 1
		}
		if once(rc, &m.starts[k], y) == 0 {
			return k
		}
	}
	return maxStart
}

// block codes one block, or decodes it into b.Syms.
func (m *model) block(rc *rangeCoder, b Block) error {
	if len(b.Syms) == 0 {
		return nil
	}
	w := m.newWalk(rc, b)
	for r := range b.Rows {
		w.begin(r)
		syms := b.Syms[r*w.cols:][:w.cols]
		for w.c < w.cols {
			if err := w.next(syms, w.cols); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin begins row r.
func (w *walk) begin(r int) {
	w.cur, w.prev, w.prev2 = w.prev2, w.cur, w.prev
	w.mags, w.mags1, w.mags2 = w.mags2, w.mags, w.mags1
	look(w.above, w.column, w.logits, w.mags1[margin:], w.mags2[margin:], w.far1)
	resetCounters(w.place)
	w.atCur, w.atMags, w.atFar1, w.atFar2 = &w.cur[margin], &w.mags[margin], &w.mags[margin-1-w.far1], &w.mags[margin-w.far2]
	w.atPrev, w.atPrev2, w.atNear1, w.atNear2 = &w.prev[margin], &w.prev2[margin], &w.cur[margin-w.far1], &w.cur[margin-w.far2]
	w.atSeventh, w.atEighth = w.atPrev2, w.atCur
	if w.kernel == 1 {
		w.atSeventh, w.atEighth = &w.cur[margin-2], w.atPrev2
	} else if 2*w.kernel <= maxLag {
		w.atEighth = &w.cur[margin-2*w.kernel]
	}
	w.r, w.c, w.k, w.early = r, 0, 0, uint32(min(r, 3))
	w.row, w.rowMag, w.inKernel, w.inRow, w.left = counterHalf, 256, 0, 0, 0
	w.inState(0)
	w.kin.row(r)
}

// inState lets a dependent quantiser be in a state.
func (w *walk) inState(state int) {
	w.state = state
	w.z, w.sets0, w.lengthScale = &w.zeros[state&1], &w.nonzero.sets[0][state&1<<4], state&1*lengthSteps
}

// next codes symbols of the row from the position on, or decodes them into syms: zeros, and the
// first that is not zero, or up to column stop.
func (w *walk) next(syms []int32, stop int) error {
	if w.dependent {
		stop = w.c + 1 // the next one may be on another scale
	}
	var in [maxInputs]*counter
	if w.skip(&in, syms, stop) {
		w.inKernel++
		w.inRow++
		s, err := w.code(&in, syms[w.c])
		if err != nil {
			return err
		}
		w.left = int(min(uint32(abs(s)), 3))
		w.mags[w.c+margin] = uint8(w.left)
		syms[w.c] = s
		w.pass()
	}
	if w.dependent {
		w.inState(NextState(w.state, syms[w.c-1]))
	}
	if w.c == w.cols && w.cols > 1 {
		w.rowDensity = append(w.rowDensity, counter((2*uint64(w.inRow)+1)<<22/(2*uint64(w.cols)+2)<<10|densityCount))
	}
	return nil
}

// skip codes or decodes zeros up to stop, or to a symbol that is not, and reports whether one was met.
func (w *walk) skip(in *[maxInputs]*counter, syms []int32, stop int) bool {
	if simd {
		w.stop = stop
		for w.c < stop {
			met := nonzeroAVX2(&w.front, w.rc, &syms[0])
			if met&2 != 0 {
				w.rc.carry()
			}
			if w.rc.rng < 1<<32 {
				w.rc.shift()
			}
			if met&1 != 0 {
				w.cur[w.c+margin] = cell{}
				return true
			}
		}
		return false
	}
	for w.c < stop {
		near := w.nonzeroInputs(in)
		y := 0
		if syms[w.c] != 0 {
			y = 1
		}
		y = w.nonzero.code(w.rc, in, y, w.state&1<<4|near, w.density)
		w.row.update(int32(y)<<22, 60)
		i := w.c + margin
		w.cur[i] = cell{}
		if y != 0 {
			return true
		}
		w.left, w.mags[i], syms[w.c] = 0, 0, 0
		w.pass()
	}
	return false
}

// pass moves the position to the next column.
func (w *walk) pass() {
	w.c++
	if w.k++; w.k == w.kernel {
		w.k, w.inKernel = 0, 0
	}
}

// nonzeroInputs sets the inputs of the decision "not zero", and returns its first set.
func (w *walk) nonzeroInputs(in *[maxInputs]*counter) (near int) {
	z, c, k := w.z, w.c, w.k
	over, left, rl := w.above[c], uint(w.left), uint(w.row.logit()+zeroLogit)
	n1 := uint(binary.LittleEndian.Uint32(w.mags[c+margin-1-w.far1:]) & w.besideFar1)
	n2 := uint(w.mags[c+margin-w.far2]) & uint(w.besideFar2)
	leftFlag, upFlag := (left+3)>>2, uint(over.mags&3+3)>>2
	expect, kq := int64(0), 0
	if w.kin.energy != 0 { // else this row is like none so far
		expect = int64(w.kin.predict(c))
		kq = w.kin.scale.steps(expect)
	}
	w.expect, w.kq = expect, kq
	w.density = int(uint(over.density)>>1<<4 | rl>>9)

	in[0] = &w.column[c]
	in[1] = &w.place[k]
	in[2] = &z.far[(n1>>2|n2<<4|left<<2|uint(over.mags&3))&255]
	in[3] = &z.diag[(n1>>2|n1>>12|n1<<2|left)&255]
	if w.kernel == 1 {
		in[4] = &z.upper[(rl>>8<<9|uint(over.mags))&(1<<14-1)]
	} else {
		in[4] = &z.kernel[min(w.inKernel, 15)<<5|min(k, 31)]
	}
	in[5] = &z.kin[((uint(over.density)+rl>>8)>>1<<5|uint(max(kq, -kq))<<1|leftFlag)&1023]
	in[6] = &z.near[(uint(over.around)<<2|leftFlag<<1|upFlag)&511]
	in[7] = &z.density[(uint(over.density)<<5|rl>>8)&1023]
	return int(leftFlag<<3|upFlag<<2) | int(w.early)
}

// cell is a symbol as its neighbours see it.
type cell struct {
	value int32  // clamped to maxMag
	mark  uint32 // its magnitude << 6 | octaves of it << 2 | sgn
}

func newCell(s int32) cell {
	t := min(max(s, -maxMag), maxMag)
	a := abs(t)
	return cell{t, uint32(a<<6) | uint32(octaves(a)<<2|sgn(t))}
}

func (c cell) sgn() int     { return int(c.mark & 3) }
func (c cell) octaves() int { return int(c.mark >> 2 & 15) }
func (c cell) abs() int32   { return int32(c.mark >> 6) }

// above is what a row knows of a column as it begins.
type above struct {
	mags    uint16 // density around << 4 | the second upper neighbour << 2 | the upper one
	density uint8  // logit of the column, by 256
	around  uint8  // that and the density around, by 128
}

// look fills in above, groups of lookGroup columns; logits is scratch with margins, that hold zeroLogit.
func look(to []above, column []counter, logits []int16, prev, prev2 []uint8, far int) {
	at := logits[margin:][:len(column)]
	for c := range column {
		at[c] = int16(column[c].logit() + zeroLogit)
	}
	if simd {
		lookAVX2(&to[0], &at[0], &prev[0], &prev2[0], far, len(to)/lookGroup)
		return
	}
	before, after := logits[margin-1:][:len(at)], logits[margin+1:][:len(at)]
	before1, after1 := logits[margin-far:][:len(at)], logits[margin+far:][:len(at)]
	prev, prev2, to = prev[:len(at)], prev2[:len(at)], to[:len(at)]
	for c, l := range at {
		around := uint(before[c]) + uint(after[c])
		if far > 0 {
			around = (around + uint(before1[c]) + uint(after1[c])) >> 1
		}
		to[c] = above{
			mags:    uint16(around>>9<<4) | uint16(prev2[c]<<2|prev[c]),
			density: uint8(l >> 8),
			around:  uint8((uint(l) + around>>1) >> 7),
		}
	}
}

// code codes the sign and magnitude of symbol s, which is not zero, or decodes and
// returns it.
func (w *walk) code(in *[maxInputs]*counter, s int32) (int32, error) {
	m, rc := w.model, w.rc
	sign := int(uint32(s) >> 31)
	if simd {
		before := rc.at
		sign = negativeAVX2(&w.front, rc, sign)
		rc.settle(before)
	} else {
		w.negativeInputs(in)
		sign = m.negative.code(rc, in, sign, 0, 0)
	}
	a := uint32(s)
	if s < 0 {
		a = -a
	}
	e := w.codeLength(in, sign, bits.Len32(a)-1) // -1 when decoding
	tree, v := 1, uint32(1)                      // the bits so far, at most 8 of them as a context
	for bit := e - 1; bit >= 0; bit-- {
		y := int(a>>bit) & 1
		if bit >= e-mixedBits {
			w.mantissaInputs(in, sign, e, tree)
			y = m.mantissa.code(rc, in, y, mantissaSet(e, bit), 0)
		} else {
			y = alone(rc, m.lowCounter(sign, e, tree), y)
		}
		v = v<<1 | uint32(y)
		tree = min(tree<<1|y, 255)
	}
	if rc.dec != 0 {
		if v > 1<<31-1+uint32(sign) {
			return 0, corrupt("symbol beyond 32 bits")
		}
		s = int32(v^-uint32(sign)) + int32(sign)
	}
	c, cell := w.c, newCell(s)
	t := cell.value
	w.cur[c+margin] = cell
	w.kin.learn(w.r, c, w.expect, t)
	w.lin.learn(w.value.hat, t, w.rowMag)
	w.rowMag += (abs(t)*256 - w.rowMag) / 32
	w.colMag[c] += (abs(t)*256 - w.colMag[c]) / int32(min(16, w.r+1))
	return s, nil
}

// codeLength codes e, a length in bits less 1, or decodes and returns it: a step up or down
// from where the block begins, and further ones as far as it goes.
func (w *walk) codeLength(in *[maxInputs]*counter, sign, e int) int {
	k := w.start
	if w.step(in, sign, firstStep(k), k < e) {
		for k++; k < 31 && w.step(in, sign, min(k, 15), k < e); k++ {
		}
		return k
	}
	for k > 0 && w.step(in, sign, lengthDown+k, e < k) {
		k--
	}
	return k
}

// firstStep is the decision about a length that the walk begins with.
func firstStep(start int) int {
	if start == 0 {
		return 0
	}
	return lengthFirst + start
}

// step codes a decision about a length, or decodes and returns it.
func (w *walk) step(in *[maxInputs]*counter, sign, q int, yes bool) bool {
	y := 0
	if yes {
		y = 1
	}
	if simd {
		before := w.rc.at
		y = lengthAVX2(&w.front, w.rc, sign, q, y)
		w.rc.settle(before)
		return y != 0
	}
	w.lengthInputs(in, sign, q)
	return w.model.length.code(w.rc, in, y, w.lengthSet(q), w.value.rm) != 0
}

// lengthSet is the number of decision q about a length on the scale in force.
func (w *walk) lengthSet(q int) int { return w.lengthScale + q }

// alone codes y, or decodes and returns it, by one counter, that forgets as those of a site.
func alone(rc *rangeCoder, c *counter, y int) int {
	y = rc.bit(y, c.chance())
	c.update(int32(y)<<22, counterLimit)
	return y
}

// negativeInputs sets the inputs of the decision "negative", and value.
func (w *walk) negativeInputs(in *[maxInputs]*counter) {
	g, cur, prev, prev2, c := w.front.signs, w.cur, w.prev, w.prev2, w.c
	i := c + margin
	left, left2, up, up2, n1, n2 := cur[i-1], cur[i-2], prev[i], prev2[i], cell{}, cell{}
	e, x := &w.edges[w.k], &w.lin.x
	if w.far1 > 0 {
		n1 = cur[i-w.far1]
	}
	if w.far2 > 0 {
		n2 = cur[i-w.far2]
	}
	x[0], x[1], x[2], x[3] = left.value<<6&e[0], n1.value<<6&e[1], cur[i-w.far1-1].value<<6&e[2], cur[i-w.far1+1].value<<6&e[3]
	x[4], x[5] = n2.value<<6, up.value<<6
	if w.kernel > 1 {
		x[6], x[7] = up2.value<<6, 0
		if 2*w.kernel <= maxLag {
			x[7] = cur[i-2*w.kernel].value << 6
		}
	} else {
		x[6], x[7] = left2.value<<6, up2.value<<6
	}
	rowMag, colMag := w.rowMag, w.colMag[c]
	hat := w.lin.predict(w.kin.scale.ratio(w.expect) * int64(rowMag) >> 8)
	hq, kq := w.lin.scale.steps(hat), w.kq
	near := 2*(left.abs()+up.abs()+n1.abs()+n2.abs()) + left2.abs() + up2.abs()
	v := &w.value
	v.hat, v.hq, v.rm, v.cm = hat, hq, octaves(rowMag>>5), octaves(colMag>>5)
	v.est = quarters((2*colMag + 2*rowMag + near*25) / 5 >> 4)
	v.nearQ, v.pairUp, v.pairFar = octaves(near), left.octaves()<<4|up.octaves(), n1.octaves()<<4|n2.octaves()

	in[0] = &g.kin[(kq+12)*3+left.sgn()]
	in[1] = &g.kinNear[((kq+12)*3+n1.sgn())*3+up.sgn()]
	in[2] = &g.both[(hq+12)*25+kq+12]
	in[3] = &g.linear[hq+12]
	in[4] = &w.colSign[c]
	in[5] = &g.cross[((left.sgn()*3+up.sgn())*3+n1.sgn())*3+n2.sgn()]
	in[6] = &g.upper[(up.sgn()*3+up2.sgn())*3+left2.sgn()]
	in[7] = &g.row[((left.sgn()*3+left2.sgn())*3+prev[i-1].sgn())*3+prev[i+1].sgn()]
}

// lengthInputs sets the inputs of the decision q about the length of a symbol of the given
// sign.
func (w *walk) lengthInputs(in *[maxInputs]*counter, sign, q int) {
	t, v := w.front.lengths, &w.value
	s := w.lengthSet(q)
	in[0] = &t.plain[s<<1|sign]
	in[1] = &t.density[s*176+w.density]
	in[2] = &t.est[s<<6|v.est]
	in[3] = &t.near[q<<8|v.pairUp]
	in[4] = &t.far[q<<8|v.pairFar]
	in[5] = &t.linear[(q<<4|v.rm)*25+(v.hq^-sign)+sign+12]
	in[6] = &t.kin[(q<<4|v.rm)*25+(w.kq^-sign)+sign+12]
	in[7] = &t.column[(q<<4|v.cm)<<4|v.rm]
}

// mantissaInputs sets the inputs of the next bit below the leading one, of e; tree are
// those so far.
func (w *walk) mantissaInputs(in *[maxInputs]*counter, sign, e, tree int) {
	m, v, q := w.model, &w.value, min(e, 15)<<mixedBits|tree
	in[0] = &m.mPlain[q<<1|sign]
	in[1] = &m.mRow[q<<4|v.rm]
	in[2] = &m.mNear[q<<4|v.nearQ]
	in[3] = &m.mLinear[q*25+(v.hq^-sign)+sign+12]
}

// mantissaSet is the set of weights of bit number bit of those e.
func mantissaSet(e, bit int) int { return min(e, 15)*mixedBits + e - 1 - bit }

// lowCounter is the counter of a bit that is not mixed.
func (m *model) lowCounter(sign, e, tree int) *counter {
	return &m.low[min(e, 15)<<9|tree<<1|sign]
}
