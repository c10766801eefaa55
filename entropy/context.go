package entropy

import "math/bits"

// Context is a context-modelled adaptive binary arithmetic coder. Each symbol is a
// decision "not zero", a sign, and the magnitude as its length in bits (unary) and
// the bits below the leading one. Each decision's probability is mixed from
// counters under contexts: the column so far, the row so far, neighbours along the
// row, the column, the kernel and, in matrices, two distances that the encoder finds
// (images flattened into rows), and how dense the rows of earlier blocks were that
// feed these columns. All models begin neutral and learn as they go.
//
// It owes its structure to M. Mahoney's lpaq (2007: counters, integer logistic mixing)
// and to context-adaptive binary arithmetic coding of quantised weights
// (Wiedemann et al.: DeepCABAC, 2020: significance, sign and magnitude decisions).
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
		ends[i] = len(rc.out) + rc.pend - start
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
		ends[i] = min(max(rc.pos-3, 0), len(src))
	}
	if len(ends) > 0 {
		ends[len(ends)-1] = len(src)
	}
	shares(blocks, ends)
	return nil
}

// Largest values of what contexts are made of.
const (
	maxLag = 255     // the distances that an encoder may choose
	margin = 256     // zeros on both sides of a row
	maxMag = 1 << 15 // magnitudes are clamped to it in contexts
	// maxPriors is how many blocks back related rows are looked for: enough for the
	// layers around, and it bounds the time that many small blocks take.
	maxPriors = 64
)

// model is the state that all blocks of one code share.
type model struct {
	nonzero, negative, length, mantissa site

	zDensity                                  []counter // by densities of column and row
	zNear                                     []counter // by density around the column, left and upper neighbour
	zFar                                      []counter // by neighbours at both distances, left and upper
	zDiag                                     []counter // by the three neighbours at the first distance, and left
	zPrior                                    []counter // by the densities of related rows of earlier blocks
	zKernel                                   []counter // by the place in the kernel and what it holds so far
	zUpper                                    []counter // by densities, and two upper neighbours
	sCross, sRow, sPlace, sUpper              []counter
	lPlain, lScale, lEst, lNear, lFar, lPlace []counter
	mPlain, mColumn, mRow, mNear              []counter

	priors []prior
}

// prior is what a later block may know of an earlier one: how dense its rows were.
type prior struct{ density []uint8 }

func newModel() *model {
	return &model{
		nonzero:  newSite(9, 16, 64),
		negative: newSite(5, 1, 1),
		length:   newSite(6, 16, 16),
		mantissa: newSite(4, 256, 1),

		zDensity: newCounters(24 * 24), zNear: newCounters(64 * 4), zFar: newCounters(81),
		zDiag: newCounters(256), zPrior: newCounters(32 * 32), zKernel: newCounters(16 * 32), zUpper: newCounters(16 * 16 * 9),
		sCross: newCounters(81), sRow: newCounters(81), sPlace: newCounters(32), sUpper: newCounters(27),
		lPlain: newCounters(16 * 2), lScale: newCounters(16 * 256), lEst: newCounters(16 * 64),
		lNear: newCounters(16 * 256), lFar: newCounters(16 * 256), lPlace: newCounters(16 * 64),
		mPlain: newCounters(4096 * 2), mColumn: newCounters(4096 * 16), mRow: newCounters(4096 * 16), mNear: newCounters(4096 * 16),
	}
}

func abs(a int32) int32 {
	if a < 0 {
		return -a
	}
	return a
}

// mag is the magnitude, at most limit; a is clamped to maxMag.
func mag(a, limit int32) int { return int(min(abs(a), limit)) }

// flag is 1 where a is not zero.
func flag(a int32) int { return mag(a, 1) }

// sgn is 0, 1 or 2: zero, positive, negative.
func sgn(a int32) int {
	if a > 0 {
		return 1
	}
	if a < 0 {
		return 2
	}
	return 0
}

// octaves is a logarithm of a >= 0 with two steps an octave: 0..3, then 4 for 4 and
// 5, 5 for 6 and 7, 6 for 8..11; at most 15.
func octaves(a int32) int {
	if a < 4 {
		return int(a)
	}
	e := bits.Len32(uint32(a))
	return min(2*e-2+int(a>>(e-2)&1), 15)
}

// quarters is one with four steps an octave: 0..7, then 8 for 8 and 9; at most 63.
func quarters(a int32) int {
	if a < 8 {
		return int(a)
	}
	e := bits.Len32(uint32(a))
	return min(4*e-8+int(a>>(e-3)&3), 63)
}

// block codes one block, or decodes it into b.Syms.
func (m *model) block(rc *rangeCoder, b Block) error {
	if len(b.Syms) == 0 {
		m.priors = append(m.priors, prior{})
		return nil
	}
	kernel := b.H * b.W
	cols := b.C * kernel
	// The distances of further neighbours: a line and a channel of a kernel, or in
	// a matrix what the encoder finds.
	far1, far2 := 0, kernel
	if b.H > 1 {
		far1 = b.W
	}
	if kernel == 1 {
		far1, far2 = m.lags(rc, b, cols)
	}
	if far1 > maxLag {
		far1 = 0
	}
	if far2 > maxLag {
		far2 = 0
	}

	var rowPrior, colPrior []uint8
	share := 1 // columns that share an entry of colPrior
	for i := len(m.priors) - 1; i >= max(0, len(m.priors)-maxPriors) && (rowPrior == nil || colPrior == nil); i-- {
		d := m.priors[i].density
		if rowPrior == nil && len(d) == b.Rows {
			rowPrior = d
		}
		if colPrior == nil && len(d) > 1 && cols%len(d) == 0 {
			colPrior, share = d, cols/len(d)
		}
	}

	// Rows with margins, so that neighbours need no tests; magnitudes are clamped.
	cur, prev, prev2 := make([]int32, cols+2*margin), make([]int32, cols+2*margin), make([]int32, cols+2*margin)
	column := newCounters(cols + 2*margin) // not zero, by column
	colSign := newCounters(cols)           // negative, by column
	colMag := make([]int32, cols)          // mean magnitude of the column's non-zeros, in 1/256
	place := newCounters(kernel)           // not zero, by place in the kernel, within a row
	density := make([]uint8, b.Rows)
	var buf [maxInputs]*counter

	for r := range b.Rows {
		row := counterHalf
		resetCounters(place)
		rowMag := int32(256)
		nonzeros, inKernel := 0, 0
		rp := 0
		if rowPrior != nil {
			rp = 1 + int(rowPrior[r])
		}
		syms := b.Syms[r*cols : (r+1)*cols]
		for c, k := 0, 0; c < cols; c, k = c+1, k+1 {
			if k == kernel {
				k = 0
			}
			if k == 0 {
				inKernel = 0
			}
			i := c + margin
			left, left2, up, up2 := cur[i-1], cur[i-2], prev[i], prev2[i]
			upLeft, upRight := prev[i-1], prev[i+1]
			var n1, n1l, n1r, n2 int32
			colLogit, rowLogit := column[i].logit(), row.logit()
			around := (column[i-1].logit() + column[i+1].logit()) >> 1
			if far1 > 0 {
				n1, n1l, n1r = cur[i-far1], cur[i-far1-1], cur[i-far1+1]
				around = (2*around + column[i-far1].logit() + column[i+far1].logit()) >> 2
			}
			if far2 > 0 {
				n2 = cur[i-far2]
			}
			cp := 0
			if colPrior != nil {
				cp = 1 + int(colPrior[c/share])
			}

			ctx := append(buf[:0],
				&column[i],
				&place[k],
				&m.zDensity[bin(colLogit, 24)*24+bin(rowLogit, 24)],
				&m.zNear[bin((colLogit+around)>>1, 64)*4+flag(left)*2+flag(up)],
				&m.zFar[((mag(n1, 2)*3+mag(n2, 2))*3+mag(left, 2))*3+mag(up, 2)],
				&m.zDiag[((mag(n1, 3)*4+mag(n1r, 3))*4+mag(n1l, 3))*4+mag(left, 3)],
				&m.zPrior[min(rp, 31)*32+min(cp, 31)],
				&m.zKernel[min(inKernel, 15)*32+min(k, 31)],
				&m.zUpper[(bin(rowLogit, 16)*16+bin(around, 16))*9+mag(up, 2)*3+mag(up2, 2)],
			)
			s := syms[c]
			y := 0
			if s != 0 {
				y = 1
			}
			y = m.nonzero.code(rc, y, ctx, (flag(left)*2+flag(up))*4+min(r, 3), bin(colLogit, 8)*8+bin(rowLogit, 8))
			row.update(y, 60)
			if y == 0 {
				cur[i] = 0
				continue
			}
			inKernel++
			nonzeros++

			ctx = append(buf[:0],
				&colSign[c],
				&m.sCross[((sgn(left)*3+sgn(up))*3+sgn(n1))*3+sgn(n2)],
				&m.sRow[((sgn(left)*3+sgn(left2))*3+sgn(upLeft))*3+sgn(upRight)],
				&m.sPlace[min(k, 31)],
				&m.sUpper[(sgn(up)*3+sgn(up2))*3+sgn(n1)],
			)
			neg := m.negative.code(rc, int(uint32(s)>>31), ctx, 0, 0)

			a := uint32(s)
			if s < 0 {
				a = -a
			}
			near := 2*abs(left) + 2*abs(up) + abs(left2) + abs(up2) + 2*abs(n1) + 2*abs(n2)
			cm, rm := octaves(colMag[c]>>5), octaves(rowMag>>5)
			est := quarters((2*colMag[c] + 2*rowMag + near*25) / 5 >> 4)
			nearQ, leftQ, upQ, n1Q, n2Q := octaves(near), octaves(abs(left)), octaves(abs(up)), octaves(abs(n1)), octaves(abs(n2))
			length := bits.Len32(a) - 1 // -1 when decoding
			e := 0
			for ; e < 31; e++ {
				y := 0
				if e < length {
					y = 1
				}
				q := min(e, 15)
				ctx = append(buf[:0],
					&m.lPlain[q*2+neg],
					&m.lScale[(q*16+cm)*16+rm],
					&m.lEst[q*64+est],
					&m.lNear[(q*16+leftQ)*16+upQ],
					&m.lFar[(q*16+n1Q)*16+n2Q],
					&m.lPlace[q*64+min(k, 63)],
				)
				if m.length.code(rc, y, ctx, q, rm) == 0 {
					break
				}
			}
			tree, v := 1, uint32(1) // the bits so far, at most 8 of them as a context
			for bit := e - 1; bit >= 0; bit-- {
				q := min(e, 15)*256 + tree
				ctx = append(buf[:0],
					&m.mPlain[q*2+neg],
					&m.mColumn[q*16+cm],
					&m.mRow[q*16+rm],
					&m.mNear[q*16+nearQ],
				)
				y := m.mantissa.code(rc, int(a>>bit)&1, ctx, min(e, 15)*16+min(bit, 15), 0)
				v = v<<1 | uint32(y)
				tree = min(tree<<1|y, 255)
			}
			if rc.dec {
				if v > 1<<31 || v == 1<<31 && neg == 0 {
					return corrupt("symbol beyond 32 bits")
				}
				if neg == 1 {
					v = -v
				}
				s = int32(v)
				syms[c] = s
			}
			t := min(max(s, -maxMag), maxMag)
			cur[i] = t
			rowMag += (abs(t)*256 - rowMag) / 32
			colMag[c] += (abs(t)*256 - colMag[c]) / int32(min(16, r+1))
		}
		density[r] = densityStep(nonzeros, cols)
		cur, prev, prev2 = prev2, cur, prev
	}
	m.priors = append(m.priors, prior{density})
	return nil
}

// densityStep is 0 where n is 0, else 1 + octaves(4096 n/of).
func densityStep(n, of int) uint8 {
	if n == 0 {
		return 0
	}
	return uint8(1 + octaves(int32(uint64(n)*4096/uint64(of))))
}
