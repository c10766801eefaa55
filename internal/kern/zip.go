package kern

import "whit/internal/cpu"

// Zipper interleaves words, in assembly where the processor has it.
type Zipper struct{ asm bool }

// ZipperOf is the one for a processor with features f.
func ZipperOf(f cpu.Features) Zipper { return Zipper{haveAsm && f.AVX2FMA} }

// Zip is dst[2i] = a[i], dst[2i+1] = b[i] for i < len(a). dst overlaps neither.
func (z Zipper) Zip(dst, a, b []uint32) {
	b, dst = b[:len(a)], dst[:2*len(a)]
	if z.asm && len(a) >= 8 {
		zip(dst, a, b)
		return
	}
	for i, v := range a {
		dst[2*i], dst[2*i+1] = v, b[i]
	}
}

// Zip3 is dst[3i] = a[i], dst[3i+1] = b[i], dst[3i+2] = c[i] for i < len(a). dst overlaps none.
func (z Zipper) Zip3(dst, a, b, c []uint32) {
	b, c, dst = b[:len(a)], c[:len(a)], dst[:3*len(a)]
	if z.asm && len(a) >= 8 {
		zip3(dst, a, b, c)
		return
	}
	for i, v := range a {
		d := (*[3]uint32)(dst[3*i:])
		d[0], d[1], d[2] = v, b[i], c[i]
	}
}
