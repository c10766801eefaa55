package entropy

import "math/bits"

// Context is a context-modelled adaptive binary arithmetic coder. Each symbol is a
// decision "not zero", a sign, and the magnitude as its length in bits (unary) and
// the bits below the leading one. Each decision's probability is mixed from
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
)

// model is the state that all blocks of one code share.
type model struct {
	nonzero, negative, length, mantissa site

	zFar    []counter // not zero: by neighbours at both distances, left and upper
	zDiag   []counter // by the three neighbours at the first distance, and left
	zKernel []counter // by the place in the kernel and what it holds so far
	zUpper  []counter // in matrices: by densities, and two upper neighbours
	zKin    []counter // by the density here and how much kin rows expect

	sKin, sKinNear, sBoth, sLinear, sCross       []counter // negative
	lPlain, lDensity, lEst, lNear, lFar, lLinear []counter // length
	mPlain, mRow, mNear, mLinear                 []counter // mantissa
}

func newModel() *model {
	return &model{
		nonzero:  newSite(6, 16, 121),
		negative: newSite(6, 1, 1),
		length:   newSite(6, 16, 16),
		mantissa: newSite(4, 256, 1),

		zFar: newCounters(256), zDiag: newCounters(256), zKernel: newCounters(16 * 32),
		zUpper: newCounters(22 * 22 * 16), zKin: newCounters(22 * 16 * 2),
		sKin: newCounters(25 * 3), sKinNear: newCounters(25 * 9), sBoth: newCounters(25 * 25), sLinear: newCounters(25), sCross: newCounters(81),
		lPlain: newCounters(16 * 2), lDensity: newCounters(16 * 121), lEst: newCounters(16 * 64),
		lNear: newCounters(16 * 256), lFar: newCounters(16 * 256), lLinear: newCounters(16 * 16 * 25),
		mPlain: newCounters(4096 * 2), mRow: newCounters(4096 * 16), mNear: newCounters(4096 * 16), mLinear: newCounters(4096 * 25),
	}
}

func abs(a int32) int32 {
	if a < 0 {
		return -a
	}
	return a
}

// sgn is 0, 1 or 2: zero, positive, negative.
func sgn(a int32) int { return int(uint32(-a)>>31 | uint32(a)>>31<<1) }

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
		far1, far2 = lags(rc, b, cols)
	}
	if far1 > maxLag {
		far1 = 0
	}
	if far2 > maxLag {
		far2 = 0
	}

	// Rows with margins, so that neighbours need no tests; magnitudes are clamped.
	cur, prev, prev2 := make([]int32, cols+2*margin), make([]int32, cols+2*margin), make([]int32, cols+2*margin)
	// Their magnitudes, at most 3.
	cur3, prev3, prev23 := make([]uint8, cols+2*margin), make([]uint8, cols+2*margin), make([]uint8, cols+2*margin)
	column := newCounters(cols + 2*margin) // not zero, by column
	colSign := newCounters(cols)           // negative, by column
	colMag := make([]int32, cols)          // mean magnitude of the column's non-zeros, in 1/256
	place := newCounters(kernel)           // not zero, by place in the kernel, within a row
	kin := newKin(b.Rows, cols)
	lin := linear{scale: newScale(64)}
	matrix := kernel == 1
	zFar, zDiag := (*[256]counter)(m.zFar), (*[256]counter)(m.zDiag)
	nz, neg, length, mantissa := &m.nonzero, &m.negative, &m.length, &m.mantissa

	for r := range b.Rows {
		row := counterHalf
		resetCounters(place)
		rowMag := int32(256)
		inKernel := 0
		kin.row(r)
		syms := b.Syms[r*cols : (r+1)*cols]
		early := min(r, 3)
		for c, k := 0, 0; c < cols; c, k = c+1, k+1 {
			if k == kernel {
				k = 0
			}
			if k == 0 {
				inKernel = 0
			}
			i := c + margin
			left3, up3 := uint(cur3[i-1]), uint(prev3[i])
			near, diag := left3<<2|up3, left3
			if far1 > 0 {
				n13 := uint(cur3[i-far1])
				near |= n13 << 6
				diag |= n13<<6 | uint(cur3[i-far1+1])<<4 | uint(cur3[i-far1-1])<<2
			}
			if far2 > 0 {
				near |= uint(cur3[i-far2]) << 4
			}
			col := &column[i]
			cl, rl := col.logit()+zeroLogit, row.logit()+zeroLogit
			expect := kin.predict(c)
			kq := kin.scale.steps(expect)

			nz.ctx[0] = col
			nz.ctx[1] = &place[k]
			nz.ctx[2] = &zFar[near&255]
			nz.ctx[3] = &zDiag[diag&255]
			if matrix {
				around := (column[i-1].logit() + column[i+1].logit()) >> 1
				if far1 > 0 {
					around = (2*around + column[i-far1].logit() + column[i+far1].logit()) >> 2
				}
				nz.ctx[4] = &m.zUpper[uint(rl>>8*22+(around+zeroLogit)>>8)<<4|up3<<2|uint(prev23[i])]
			} else {
				nz.ctx[4] = &m.zKernel[min(inKernel, 15)*32+min(k, 31)]
			}
			leftFlag, upFlag := int(left3+3)>>2, int(up3+3)>>2
			nz.ctx[5] = &m.zKin[int(cl+rl)>>9<<5|max(kq, -kq)<<1|leftFlag]
			s := syms[c]
			y := 0
			if s != 0 {
				y = 1
			}
			y = nz.code(rc, y, leftFlag<<3|upFlag<<2|early, int(cl>>9*11+rl>>9))
			row.update(int64(y)<<22, 60)
			if y == 0 {
				cur[i], cur3[i] = 0, 0
				continue
			}
			left, up := cur[i-1], prev[i]
			var n1, n1l, n1r, n2 int32
			if far1 > 0 {
				n1, n1l, n1r = cur[i-far1], cur[i-far1-1], cur[i-far1+1]
			}
			if far2 > 0 {
				n2 = cur[i-far2]
			}
			inKernel++

			left2, up2 := cur[i-2], prev2[i]
			f := &lin.f
			if kernel > 1 {
				*f = features{0, 0, 0, 0, 0, n2, up, up2, 0}
				kx := k % b.W
				if kx > 0 {
					f[1] = left
				}
				if k >= b.W && far1 > 0 {
					f[2] = n1
					if kx > 0 {
						f[3] = n1l
					}
					if kx < b.W-1 {
						f[4] = n1r
					}
				}
				if c >= 2*kernel && 2*kernel <= maxLag {
					f[8] = cur[i-2*kernel]
				}
			} else {
				*f = features{0, left, n1, n1l, n1r, n2, up, left2, up2}
			}
			hat := lin.predict(kin.scale.ratio(expect), rowMag)
			hq := lin.scale.steps(hat)

			neg.ctx[0] = &m.sKin[(kq+12)*3+sgn(left)]
			neg.ctx[1] = &m.sKinNear[((kq+12)*3+sgn(n1))*3+sgn(up)]
			neg.ctx[2] = &m.sBoth[(hq+12)*25+kq+12]
			neg.ctx[3] = &m.sLinear[hq+12]
			neg.ctx[4] = &colSign[c]
			neg.ctx[5] = &m.sCross[((sgn(left)*3+sgn(up))*3+sgn(n1))*3+sgn(n2)]
			sign := neg.code(rc, int(uint32(s)>>31), 0, 0)

			a := uint32(s)
			if s < 0 {
				a = -a
			}
			if sign == 1 {
				hq = -hq
			}
			close := 2*abs(left) + 2*abs(up) + abs(left2) + abs(up2) + 2*abs(n1) + 2*abs(n2)
			rm := octaves(rowMag >> 5)
			est := quarters((2*colMag[c] + 2*rowMag + close*25) / 5 >> 4)
			nearQ, leftQ, upQ, n1Q, n2Q := octaves(close), octaves(abs(left)), octaves(abs(up)), octaves(abs(n1)), octaves(abs(n2))
			density := int(cl>>9*11 + rl>>9)
			last := bits.Len32(a) - 1 // -1 when decoding
			e := 0
			for ; e < 31; e++ {
				y := 0
				if e < last {
					y = 1
				}
				q := min(e, 15)
				length.ctx[0] = &m.lPlain[q*2+sign]
				length.ctx[1] = &m.lDensity[q*121+density]
				length.ctx[2] = &m.lEst[q*64+est]
				length.ctx[3] = &m.lNear[(q*16+leftQ)*16+upQ]
				length.ctx[4] = &m.lFar[(q*16+n1Q)*16+n2Q]
				length.ctx[5] = &m.lLinear[(q*16+rm)*25+hq+12]
				if length.code(rc, y, q, rm) == 0 {
					break
				}
			}
			tree, v := 1, uint32(1) // the bits so far, at most 8 of them as a context
			for bit := e - 1; bit >= 0; bit-- {
				q := min(e, 15)*256 + tree
				mantissa.ctx[0] = &m.mPlain[q*2+sign]
				mantissa.ctx[1] = &m.mRow[q*16+rm]
				mantissa.ctx[2] = &m.mNear[q*16+nearQ]
				mantissa.ctx[3] = &m.mLinear[q*25+hq+12]
				y := mantissa.code(rc, int(a>>bit)&1, min(e, 15)*16+min(bit, 15), 0)
				v = v<<1 | uint32(y)
				tree = min(tree<<1|y, 255)
			}
			if rc.dec {
				if v > 1<<31 || v == 1<<31 && sign == 0 {
					return corrupt("symbol beyond 32 bits")
				}
				if sign == 1 {
					v = -v
				}
				s = int32(v)
				syms[c] = s
			}
			t := min(max(s, -maxMag), maxMag)
			cur[i], cur3[i] = t, uint8(min(abs(t), 3))
			kin.learn(r, c, expect, t)
			lin.learn(hat, t, rowMag)
			rowMag += (abs(t)*256 - rowMag) / 32
			colMag[c] += (abs(t)*256 - colMag[c]) / int32(min(16, r+1))
		}
		cur, prev, prev2 = prev2, cur, prev
		cur3, prev3, prev23 = prev23, cur3, prev3
	}
	return nil
}
