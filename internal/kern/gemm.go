package kern

// GEMM describes C[M,N] = epilogue(A[M,K]·B[K,N]) with fixed shapes and strides:
// what a plan prepares once. A is stored [M,K] with row stride LDA, or [K,M] with
// TransA; B is stored [K,N] with row stride LDB, or [N,K] with TransB, or in
// panels (see PackB) with PackedB. Strides are in elements; 0 means dense.
//
// Set the fields, call Init, then any goroutine may run any tile in any order:
// tiles write disjoint parts of C. The bits of C do not depend on the tiles.
type GEMM struct {
	M, N, K        int
	TransA, TransB bool
	PackedB        bool
	LDA, LDB, LDC  int
	// Flags says what follows the sum; FlagAcc adds to what C holds.
	Flags         int
	Alpha, Lo, Hi float32

	u        *Micro
	tm, tn   int // tiles along M and N
	kb       int // blocks of K
	rsa, csa int
}

const (
	// blockK is the most of k for which a panel of B is used at a time: 256 x 32
	// floats are 32 KiB, which leaves room for A in a first-level cache of 48 KiB.
	blockK = 256
	// tileWork is the most multiply-adds of a tile: 60 µs at 100 GFLOP/s.
	tileWork = 3 << 20
	// splitWork is the least multiply-adds that are worth a tile of their own.
	splitWork = 64 << 10
	// wantTiles is how many tiles there should be for workers to share.
	wantTiles = 8
	// directRows is the number of rows up to which a row-major B is read in place.
	directRows = 24
)

// Init chooses the kernel for features and the tiles. The operands must then
// have the shapes that the fields say.
func (g *GEMM) Init(u *Micro) {
	g.u = u
	if g.LDA == 0 {
		g.LDA = g.K
		if g.TransA {
			g.LDA = g.M
		}
	}
	if g.LDB == 0 {
		g.LDB = g.N
		if g.TransB {
			g.LDB = g.K
		}
	}
	if g.LDC == 0 {
		g.LDC = g.N
	}
	g.rsa, g.csa = g.LDA, 1
	if g.TransA {
		g.rsa, g.csa = 1, g.LDA
	}
	g.kb = max(1, (g.K+blockK-1)/blockK)
	g.tm, g.tn = 1, 1
	pm, pn := (g.M+u.MR-1)/u.MR, g.panels()
	for {
		tiles := g.tm * g.tn
		// Few rows cost what reading B costs, which is as much as a full tile's work.
		work := max(g.M, u.MR) * g.N * max(1, g.K) / tiles
		if work <= tileWork && (tiles >= wantTiles || work <= splitWork) {
			break
		}
		// Splitting N is free where B has to be packed; rows that share a packed
		// panel should stay together.
		byN := g.tn < pn && (!g.PackedB && (g.M/g.tm <= 512 || g.tn < 4) || pn*g.tm*u.NR >= pm*g.tn*u.MR)
		switch {
		case byN:
			g.tn = min(pn, g.tn*2)
		case g.tm < pm:
			g.tm = min(pm, g.tm*2)
		case g.tn < pn:
			g.tn = min(pn, g.tn*2)
		default:
			return
		}
	}
}

func (g *GEMM) panels() int { return (g.N + g.u.NR - 1) / g.u.NR }

// Tiles is the number of tiles, at least 1. It depends on shapes and features only.
func (g *GEMM) Tiles() int { return g.tm * g.tn }

// Scratch is the number of floats of scratch that Run needs.
func (g *GEMM) Scratch() int {
	if g.PackedB {
		return 0
	}
	return min(g.K, blockK) * g.u.NR
}

// part is the i-th of n nearly equal parts of [0, total).
func part(i, n, total int) (from, to int) { return i * total / n, (i + 1) * total / n }

// at is the rows and the panels of a tile. Tiles whose numbers follow each other share the smaller of A and B.
func (g *GEMM) at(tile int) (m0, m1, p0, p1 int) {
	m, p := tile/g.tn, tile%g.tn
	if g.N > g.M {
		m, p = tile%g.tm, tile/g.tm
	}
	m0, m1 = part(m, g.tm, g.M)
	p0, p1 = part(p, g.tn, g.panels())
	return m0, m1, p0, p1
}

// Region is the part of C that a tile writes: rows [m0,m1), columns [n0,n1).
func (g *GEMM) Region(tile int) (m0, m1, n0, n1 int) {
	m0, m1, p0, p1 := g.at(tile)
	return m0, m1, min(g.N, p0*g.u.NR), min(g.N, p1*g.u.NR)
}

// Run computes one tile. col and row are the biases of FlagCol (N of them) and
// FlagRow (M), else nil.
func (g *GEMM) Run(tile int, a, b, c, col, row, scratch []float32) {
	m0, m1, p0, p1 := g.at(tile)
	g.run(m0, m1, p0, p1, a, b, nil, c, col, row, scratch)
}

// RunPanels is Run where B is given panel by panel, in parts of some rows: panel(p, k0, k)
// is rows k0 to k0+k of panel p, as PackB lays them out, until the next call. A panel's
// parts are asked for in ascending order.
func (g *GEMM) RunPanels(tile int, a []float32, panel func(p, k0, k int) []float32, c, col, row []float32) {
	m0, m1, p0, p1 := g.at(tile)
	for p := p0; p < p1; p++ {
		g.run(m0, m1, p, p+1, a, nil, panel, c, col, row, nil)
	}
}

func (g *GEMM) run(m0, m1, p0, p1 int, a, b []float32, panel func(p, k0, k int) []float32, c, col, row, scratch []float32) {
	if m1 == m0 || p1 == p0 {
		return
	}
	if g.K == 0 {
		g.empty(m0, m1, p0*g.u.NR, min(g.N, p1*g.u.NR), c, col, row)
		return
	}
	u := g.u
	t := Tile{Off: Zero, RSA: g.rsa, CSA: g.csa, LDC: g.LDC, Alpha: g.Alpha, Lo: g.Lo, Hi: g.Hi}
	// Rows are spread evenly over the calls: 14 rows are 7+7, not 12+2.
	calls := (m1 - m0 + u.MR - 1) / u.MR
	for kb := range g.kb {
		k0, k1 := part(kb, g.kb, g.K)
		t.K = k1 - k0
		t.Flags = g.Flags
		if kb > 0 {
			t.Flags |= FlagAcc
		}
		if kb < g.kb-1 {
			t.Flags &= FlagAcc
		}
		for p := p0; p < p1; p++ {
			n0 := p * u.NR
			t.N = min(u.NR, g.N-n0)
			switch {
			case panel != nil:
				t.B, t.LDB = panel(p, k0, t.K), u.NR
			case g.PackedB:
				t.B, t.LDB = b[(p*g.K+k0)*u.NR:], u.NR
			case !g.TransB && m1-m0 <= directRows && t.N == u.NR:
				t.B, t.LDB = b[k0*g.LDB+n0:], g.LDB
			default:
				if g.TransB {
					u.packBT(scratch, b[n0*g.LDB+k0:], g.LDB, t.K, t.N)
				} else {
					u.packB(scratch, b[k0*g.LDB+n0:], g.LDB, t.K, t.N)
				}
				t.B, t.LDB = scratch, u.NR
			}
			if t.Flags&FlagCol != 0 {
				t.Col = col[n0:]
			}
			if t.Flags&FlagRow == 0 {
				t.A, t.C = a[m0*g.rsa+k0*g.csa:], c[m0*g.LDC+n0:]
				u.Rows(&t, m1-m0)
				continue
			}
			for i := range calls {
				r0, r1 := part(i, calls, m1-m0)
				r0 += m0
				t.M = m0 + r1 - r0
				t.A = a[r0*g.rsa+k0*g.csa:]
				t.C = c[r0*g.LDC+n0:]
				t.Row = row[r0:]
				u.Run(&t)
			}
		}
	}
}

// empty is the product over no k at all.
func (g *GEMM) empty(m0, m1, n0, n1 int, c, col, row []float32) {
	for i := m0; i < m1; i++ {
		for j := n0; j < n1; j++ {
			v := float32(0)
			if g.Flags&FlagAcc != 0 {
				v = c[i*g.LDC+j]
			}
			if g.Flags&FlagAlpha != 0 {
				v *= g.Alpha
			}
			if g.Flags&FlagCol != 0 {
				v += col[j]
			}
			if g.Flags&FlagRow != 0 {
				v += row[i]
			}
			if g.Flags&FlagClamp != 0 {
				v = clamp(v, g.Lo, g.Hi)
			}
			c[i*g.LDC+j] = v
		}
	}
}

// PackedLen is the number of floats of B[k,n] in panels: ⌈n/NR⌉ panels of k rows
// of NR columns, zeros beyond column n.
func (u *Micro) PackedLen(k, n int) int { return (n + u.NR - 1) / u.NR * k * u.NR }

// PackB brings B[k,n] (trans: stored [n,k]) of row stride ldb into panels:
// dst[(p*k+i)*NR+j] = B[i, p*NR+j]. dst has PackedLen(k, n) floats.
func (u *Micro) PackB(dst, b []float32, trans bool, ldb, k, n int) {
	for n0 := 0; n0 < n; n0 += u.NR {
		w := min(u.NR, n-n0)
		if k == 0 {
			return
		}
		if trans {
			u.packBT(dst, b[n0*ldb:], ldb, k, w)
		} else {
			u.packB(dst, b[n0:], ldb, k, w)
		}
		dst = dst[k*u.NR:]
	}
}

// packB packs one panel of k rows of w columns.
func (u *Micro) packB(dst, b []float32, ldb, k, w int) {
	nr := u.NR
	for i := range k {
		d := dst[i*nr : i*nr+nr]
		copy(d, b[i*ldb:i*ldb+w])
		clear(d[w:])
	}
}

// packBT packs one panel of k rows of w columns from b stored [w,k].
func (u *Micro) packBT(dst, b []float32, ldb, k, w int) {
	nr := u.NR
	if w < nr {
		clear(dst[:k*nr])
	}
	j := 0
	if w >= 8 && haveAsm && (u.isa == isaAVX2 || u.isa == isaAVX512) {
		// Columns are pixels that become planes of one row each.
		var off [32]int
		for i := range w {
			off[i] = i * ldb
		}
		j = w &^ 7
		sparseAVX2.To(&Planes{Pixels: b, Off: off[:j], Planes: dst, LD: nr, C: k})
	}
	for ; j+8 <= w; j += 8 {
		// Eight columns at a time write half a cache line each.
		b0, b1, b2, b3 := b[j*ldb:][:k], b[(j+1)*ldb:][:k], b[(j+2)*ldb:][:k], b[(j+3)*ldb:][:k]
		b4, b5, b6, b7 := b[(j+4)*ldb:][:k], b[(j+5)*ldb:][:k], b[(j+6)*ldb:][:k], b[(j+7)*ldb:][:k]
		for i := range k {
			d := (*[8]float32)(dst[i*nr+j:])
			d[0], d[1], d[2], d[3] = b0[i], b1[i], b2[i], b3[i]
			d[4], d[5], d[6], d[7] = b4[i], b5[i], b6[i], b7[i]
		}
	}
	for ; j < w; j++ {
		for i, v := range b[j*ldb:][:k] {
			dst[i*nr+j] = v
		}
	}
}
