package kern

import (
	"slices"
	"testing"
	"unsafe"
)

func TestSparseOffsets(t *testing.T) {
	var x Sparse
	var p Planes
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.X), 0}, {unsafe.Offsetof(x.Idx), 24}, {unsafe.Offsetof(x.W), 48}, {unsafe.Offsetof(x.Cnt), 72},
		{unsafe.Offsetof(x.Y), 96}, {unsafe.Offsetof(x.LDY), 120}, {unsafe.Offsetof(x.Bias), 128}, {unsafe.Offsetof(x.Flags), 152},
		{unsafe.Offsetof(x.Lo), 160}, {unsafe.Offsetof(x.Hi), 164}, {unsafe.Offsetof(x.Rows), 168}, {unsafe.Offsetof(x.Vecs), 176},
		{unsafe.Offsetof(x.Strips), 184}, {unsafe.Offsetof(x.R), 192}, {unsafe.Offsetof(x.LDR), 216}, {unsafe.Offsetof(x.Slope), 224},
		{unsafe.Offsetof(p.Pixels), 0}, {unsafe.Offsetof(p.Off), 24}, {unsafe.Offsetof(p.Planes), 48}, {unsafe.Offsetof(p.LD), 72},
		{unsafe.Offsetof(p.C), 80}, {unsafe.Offsetof(p.Dummy), 88},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
}

// TestSparse compares every form, width and epilogue of the assembly with portable Go
// on small integers, whose sums are exact.
func TestSparse(t *testing.T) {
	if !canRun(micros[isaAVX2]) {
		t.Skip("NOT RUN: this CPU or build lacks it")
	}
	ints := func(seed uint64, n int) []float32 {
		x := random(seed, n)
		for i := range x {
			x[i] = float32(int(4 * x[i]))
		}
		return x
	}
	cnt := []int32{3, 0, 1, 7, 2, 2, 0, 0}
	idx := []int32{0, 40, 400, 8, 4, 12, 100, 204, 208, 212, 300, 0, 4, 396, 16}
	for _, asm := range []*SparseMicro{sparseAVX2, sparseAVX512} {
		if asm == sparseAVX512 && !canRun(micros[isaAVX512]) {
			t.Logf("NOT RUN: %s", asm.ISA)
			continue
		}
		// Portable Go, as wide as the assembly.
		portable := &SparseMicro{ISA: "go", vecs: asm.vecs}
		for rows := 1; rows <= SparseRows; rows++ {
			for vecs := 1; vecs <= asm.Vecs(rows); vecs++ {
				for flags := range 12 {
					strips := 1 + flags%3
					d := Sparse{X: ints(1, 600), Idx: idx, W: ints(2, rows*len(idx)), Cnt: cnt, LDY: 8*vecs*strips + 3, Bias: ints(3, rows*len(cnt)),
						Flags: []int{0, FlagCol, FlagClamp, FlagCol | FlagClamp, FlagAdd | FlagCol | FlagPRelu, FlagAdd | FlagClamp}[flags/2], Lo: -3, Hi: 9,
						Rows: rows, Vecs: vecs, Strips: strips, LDR: 8*vecs*strips + 1, R: ints(5, rows*len(cnt)*(8*vecs*strips+1)), Slope: ints(6, rows*len(cnt))}
					start := random(4, rows*len(cnt)*d.LDY)
					var got [2][]float32
					for i, u := range []*SparseMicro{portable, asm} {
						c := d
						c.Y = slices.Clone(start)
						u.Run(&c)
						got[i] = c.Y
					}
					if !slices.Equal(got[0], got[1]) {
						t.Fatalf("%s: %d rows, %d registers, flags %d: assembly differs from Go", asm.ISA, rows, vecs, d.Flags)
					}
				}
			}
			if rows == 3 {
				continue
			}
			var got [2][]float32
			for i, u := range []*SparseMicro{portable, asm} {
				c := Sparse{X: ints(1, 200), Idx: idx, W: ints(2, rows*len(idx)), Cnt: cnt, Y: make([]float32, rows*len(cnt)+1), Rows: rows}
				u.Vector(&c)
				got[i] = c.Y
			}
			if !slices.Equal(got[0], got[1]) {
				t.Fatalf("%s: vector, %d rows: assembly differs from Go: %v %v", asm.ISA, rows, got[1], got[0])
			}
		}
	}
}

// TestPlanes brings pixels into planes and back.
func TestPlanes(t *testing.T) {
	for _, u := range []*SparseMicro{sparseGo, sparseAVX2} {
		if u.asm && !canRun(micros[isaAVX2]) {
			continue
		}
		for c := 1; c <= 35; c++ {
			off := []int{0, 40, 80, 120, 120, 40, 300, 340, 400, 440, 480, 520, 560, 600, 640, 680}
			pix := random(1, 800)
			p := Planes{Pixels: pix, Off: off, Planes: make([]float32, c*19), LD: 19, C: c, Dummy: make([]float32, c)}
			u.To(&p)
			for i, o := range off {
				for k := range c {
					if p.Planes[k*19+i] != pix[o+k] {
						t.Fatalf("%s: channel %d of %d, pixel %d", u.ISA, k, c, i)
					}
				}
			}
			p.Pixels, p.Off = make([]float32, 800), []int{0, -1, 80, 120, -1, -1, 300, 340, 400, 440, 480, -1, 560, 600, 640, -1}
			u.From(&p)
			want := make([]float32, 800)
			for i, o := range p.Off {
				for k := range c {
					if o >= 0 {
						want[o+k] = p.Planes[k*19+i]
					}
				}
			}
			if !slices.Equal(want, p.Pixels) {
				t.Fatalf("%s: %d channels back", u.ISA, c)
			}
		}
	}
}
