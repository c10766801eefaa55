package kern

import "unsafe"

// Products of bytes on tiles of 16 rows of 64 bytes (Intel AMX). A tile is read with one step
// from row to row, which the rows of an image's line have. Tiles are full: those of a line have
// one size, 16 rows or a few fewer, and the last begins earlier where they do not fill it; what
// is computed twice is the same. Where lines are short, tiles run over their ends instead and
// compute what lies between two lines, too; its place in C is that of the row that comes next.

const (
	tileRows  = 16
	tileBytes = 64  // of a row: numbers of k
	workTiles = 128 // of a call of the micro-kernel
	mostJoin  = 48  // steps from line to line, at most, of lines that tiles join
	fewRows   = 4   // fewer are not worth tiles
)

// dotWork is what a call of i8Dot32x32AMX works with.
type dotWork struct {
	sums   [32 * 32]int32
	config [64]byte
	step   int                      // bytes from row to row of A
	m      int                      // rows of a tile
	n      int                      // tiles
	next   int                      // of the plan's
	add    int16                    // what makes results unsigned bytes,
	low    uint8                    // the least of these,
	flip   uint8                    // and what makes them what they should be
	adv    [mostJoin + tileRows]int // bytes from row to row of C
	tiles  [workTiles]dotTile
}

// dotTile says where the first row of a tile lies, from A and C on, and the bytes to its part of adv.
type dotTile struct{ a, c, adv int }

// dotTmp is the bytes of I8Dot.Tmp: a dotWork may begin at any multiple of 64.
const dotTmp = int(unsafe.Sizeof(dotWork{})) + 63

// dotPlan is how rows are divided into tiles: runs of size rows that follow each other in one
// step, each of count tiles of m rows. Lines have line rows; where runs join them, they are jump
// steps apart.
type dotPlan struct {
	runs, size, count, m int
	line, jump           int
	joined               bool
}

// plan chooses the tiles; false: the rows are not such as they need.
func (t *I8Dot) plan() (p dotPlan, ok bool) {
	rows, line := len(t.Rows), t.Line
	if rows < fewRows || line < 1 || rows%line != 0 || t.K%tileBytes != 0 || t.Panels > 2 || len(t.Tmp) < dotTmp {
		return p, false
	}
	lines, jump := rows/line, 0
	if line == 1 {
		line, lines = rows, 1 // in one step, too
	}
	if lines > 1 {
		if step, far := t.Rows[1]-t.Rows[0], t.Rows[line]-t.Rows[0]; step > 0 && far%step == 0 {
			jump = far / step
		}
		if jump == line {
			line, lines = rows, 1
		}
	}
	p = planOf(lines, line)
	p.line = line
	if lines > 1 && jump > line && jump <= mostJoin {
		q := planOf(1, (lines-1)*jump+line)
		if q.line, q.jump, q.joined = line, jump, true; q.cost() < p.cost() {
			p = q
		}
	}
	return p, true
}

func planOf(runs, size int) dotPlan {
	n := (size + tileRows - 1) / tileRows
	return dotPlan{runs: runs, size: size, count: n, m: (size + n - 1) / n}
}

// cost is the cycles of a step of k: four products of m cycles each for two tiles, or what
// short tiles take all the same, as measured on a Sapphire Rapids.
func (p dotPlan) cost() int { return (p.runs*p.count + 1) / 2 * max(4*p.m, 54) }

// work begins a call of plan p.
func (t *I8Dot) work(p dotPlan) *dotWork {
	at := -uintptr(unsafe.Pointer(unsafe.SliceData(t.Tmp))) & 63
	w := (*dotWork)(unsafe.Pointer(&t.Tmp[at])) // at+sizeof(dotWork) ≤ len(Tmp), and any bytes are a dotWork
	w.config = [64]byte{0: 1}                   // palette 1
	for i := range 8 {
		w.config[16+2*i], w.config[48+i] = tileBytes, byte(p.m)
		if i >= 6 {
			w.config[48+i] = tileBytes / 4
		}
	}
	w.step, w.m, w.next = 0, p.m, 0
	if p.size > 1 {
		w.step = t.Rows[1] - t.Rows[0]
	}
	adv := w.adv[:p.m]
	if p.joined {
		adv = w.adv[:p.m+p.jump]
	}
	for i := range adv {
		adv[i] = t.LDC
		if p.joined && i%p.jump >= p.line {
			adv[i] = 0
		}
	}
	low := int32(t.Lo) + t.Zero
	w.add, w.flip = int16(t.Zero), 0
	if low < 0 {
		w.add, w.flip, low = w.add+128, 0x80, low+128
	}
	w.low = uint8(low)
	return w
}

// tiles fills in what the next call of the micro-kernel computes; false: nothing is left.
func (t *I8Dot) tiles(w *dotWork, p dotPlan) bool {
	for w.n = 0; w.n < workTiles && w.next < p.runs*p.count; w.n++ {
		run := w.next / p.count * p.line
		first := min(w.next%p.count*p.m, p.size-p.m)
		d := dotTile{a: t.Rows[run] + first*w.step, c: (run + first) * t.LDC}
		if p.joined {
			x := first % p.jump
			d.c, d.adv = (first/p.jump*p.line+min(x, p.line))*t.LDC, 8*x
		}
		w.tiles[w.n] = d
		w.next++
	}
	return w.n > 0
}
