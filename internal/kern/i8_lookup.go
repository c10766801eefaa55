package kern

// Lookup is a function of a byte.
type Lookup struct {
	table [256]byte
	// steps are sixteen rows of the table, each but the first of a half as what it differs by, bit by bit, from the
	// one before: the rows up to that of a byte come to its row.
	steps [256]byte
}

// LookupOf is the function with a table of 256 entries.
func LookupOf(table []byte) *Lookup {
	l := &Lookup{table: [256]byte(table)}
	for i, b := range l.table {
		if l.steps[i] = b; i%128 >= 16 {
			l.steps[i] ^= l.table[i-16]
		}
	}
	return l
}

// LookupName is what the names of kernels end in that are Lookup.
func (v Ints) LookupName() string {
	if v.vbmi {
		return "vbmi"
	}
	return v.Name()
}

// Lookup is dst[p*dstStride+c] = l(src[p*srcStride+c]) for p < pixels and c < channels; dst may be src, with its stride. It panics
// where a slice is too short.
func (v Ints) Lookup(dst, src []byte, l *Lookup, pixels, dstStride, srcStride, channels int) {
	if pixels <= 0 || channels <= 0 {
		return
	}
	_, _ = dst[(pixels-1)*dstStride+channels-1], src[(pixels-1)*srcStride+channels-1]
	k := v.lookup(dst, src, l, pixels, dstStride, srcStride, channels)
	if k == channels {
		return
	}
	for p := range pixels {
		d := dst[p*dstStride:][:channels]
		for c, x := range src[p*srcStride+k:][:channels-k] {
			d[k+c] = l.table[x]
		}
	}
}
