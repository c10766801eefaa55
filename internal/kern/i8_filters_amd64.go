//go:build !noasm

package kern

// some16 has, from 16-n on, a mask of the first n of 16 bytes.
var some16 = [32]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}

func (v Ints) columns(dst, src []byte, rows, ld, n int, flip byte) bool {
	if !v.asm || n < 16 {
		return false
	}
	var at [16]int // of rows that are not there: the last one's, masked
	for r := range at {
		at[r] = min(r, rows-1) * ld
	}
	i8Columns16AVX2(&dst[0], &src[0], &at, n, uint64(flip), &some16[16-rows])
	return true
}

func (v Ints) zipRows(dst, src []byte, pairs, stride int) bool {
	if v.asm {
		i8ZipRowsAVX2(&dst[0], &src[0], pairs, stride)
	}
	return v.asm
}

func (v Ints) winoFilters(dst []int16, ld int, src []byte, pairs, m int) bool {
	if !v.asm {
		return false
	}
	if v.wide && m == 4 {
		i8WinoFilters4x16AVX512(&dst[0], ld, &src[0], pairs, &zipLanes)
		return true
	}
	var tmp [36 * 16]int16
	if m == 2 {
		i8WinoFilters2AVX2(&dst[0], ld, &src[0], pairs, &tmp)
	} else {
		i8WinoFilters4AVX2(&dst[0], ld, &src[0], pairs, &tmp)
	}
	return true
}

// zipLanes puts 16 columns of two channels side by side, in the order of I8Lanes.
var zipLanes = func() (z [32]int16) {
	for i := range z {
		z[i] = int16(16*(i%2) + I8Lanes[i/2])
	}
	return z
}()
