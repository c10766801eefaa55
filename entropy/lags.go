package entropy

import "math/bits"

// minLagCols is the width from which a matrix has distances in its code.
const minLagCols = 16

// lags codes, or decodes, the two distances of a matrix's further neighbours: one
// bit whether there is a first one, and 8 bits of it; the same for the second, which
// is 2 where it is absent. The bits have probability 1/2.
func lags(rc *rangeCoder, b Block, cols int) (first, second int) {
	if cols < minLagCols {
		return 0, 2
	}
	if rc.dec == 0 {
		first, second = findLags(b, cols)
	}
	half := func(lag int) int {
		y := 0
		if lag != 0 {
			y = 1
		}
		if rc.bit(y, 1<<15) == 0 {
			return 0
		}
		v := 0
		for k := 7; k >= 0; k-- {
			v = v<<1 | rc.bit(lag>>k&1, 1<<15)
		}
		return v
	}
	first, second = half(first), half(second)
	if first == 1 { // its neighbour on the right would not be known yet
		first = 0
	}
	if second == 0 {
		second = 2
	}
	return first, second
}

// findLags looks for the distances at which large symbols of a row (above the mean
// magnitude) meet most often beyond what their density lets expect; 0 where none
// stands out by five standard deviations.
func findLags(b Block, cols int) (first, second int) {
	const maxRows = 256 // a sample of rows is enough
	if len(b.Syms) == 0 || cols > 1<<20 {
		return 0, 0
	}
	step := (b.Rows + maxRows - 1) / maxRows
	limit := min(maxLag, cols/2)
	words := (cols + 63) / 64
	row := make([]uint64, words+1)
	met := make([]int, limit+1)
	var sum uint64
	for _, s := range b.Syms {
		sum += uint64(clampAbs(s))
	}
	mean := int32(sum / uint64(len(b.Syms)))
	ones, rows := 0, 0
	for r := 0; r < b.Rows; r += step {
		clear(row)
		n := 0
		for c, s := range b.Syms[r*cols : (r+1)*cols] {
			if clampAbs(s) > mean {
				row[c/64] |= 1 << (c % 64)
				n++
			}
		}
		ones += n
		rows++
		if n < 2 {
			continue
		}
		for lag := 2; lag <= limit; lag++ {
			w, k := lag/64, uint(lag%64)
			for i := 0; i+w < words; i++ {
				met[lag] += bits.OnesCount64(row[i] & (row[i+w]>>k | row[i+w+1]<<(64-k)))
			}
		}
	}
	expect := func(lag int) int64 {
		return int64(ones) * int64(ones) / int64(cols) * int64(cols-lag) / int64(max(1, rows)) / int64(cols)
	}
	// score is what was met over what was to be expected, in 1/65536. The common
	// density of columns lifts all of it, hence the comparison with the mean.
	score := make([]int64, limit+1)
	var mid int64
	for lag := 2; lag <= limit; lag++ {
		score[lag] = int64(met[lag]) << 16 / max(1, expect(lag))
		mid += score[lag]
	}
	mid /= int64(max(1, limit-1))
	best := func(not int) int {
		lag := 0
		for l := 2; l <= limit; l++ {
			over := int64(met[l]) - expect(l)*mid>>16
			if (l < not-2 || l > not+2) && over > 0 && over*over > 25*int64(met[l]) && (lag == 0 || score[l] > score[lag]) {
				lag = l
			}
		}
		return lag
	}
	first = best(-9)
	if first != 0 {
		second = best(first)
	}
	if second == 2 {
		second = 0
	}
	return first, second
}

func clampAbs(s int32) int32 { return min(abs(max(s, -maxMag)), maxMag) }
