package kern

import (
	"unsafe"

	"whit/internal/cpu"
)

// DWPlanes is one call of the kernel for planes of a 3x3 depthwise convolution of
// stride 1 or 2:
//
//	Y[p*DPlane+oy*DRow+ox] = epilogue(Σ_ij X[At+p*SPlane+iy*Width+ix] * W[p*9+i*3+j])
//
// with iy = oy*Stride-PH+i and ix = ox*Stride-PW+j, zero outside of H x Width: one
// accumulator an output, taps ascending, one FMA a step. No window begins more than one
// row or column before the image or ends more than one behind it. The kernel reads, and does not use, up
// to [DWPlanesSlack] floats before and behind the planes, and of Y it writes 8 floats of a row even if
// Cols is less. Flags are FlagCol (Bias, one for each plane), FlagPRelu (Slope) and FlagClamp.
type DWPlanes struct {
	X            []float32
	At           int
	SPlane       int
	W            []float32
	Y            []float32
	DPlane, DRow int
	Planes       int
	H, Width     int
	Rows, Cols   int // Rows is at least DWPlanesRows
	PH, PW       int
	zero         unsafe.Pointer // of a row of zeros, after DWPlanesSlack more
	masks        unsafe.Pointer // of 8 floats each: the left, none, the right
	Flags        int
	Lo, Hi       float32
	Bias, Slope  []float32
	Stride       int
	width        int // that Init has seen
}

const (
	// DWPlanesSlack is what the kernel may read beyond the planes.
	DWPlanesSlack = 24
	// DWPlanesRows is the least number of rows of a call.
	DWPlanesRows = 4
)

// HaveDWPlanes reports whether there is such a kernel for a processor with features f; there
// is no portable form, which [Sparse] is.
func HaveDWPlanes(f cpu.Features) bool { return haveAsm && f.AVX2FMA }

// Init sets what depends on the geometry alone; the call may be copied then.
func (t *DWPlanes) Init() {
	zeros := make([]float32, t.Width+2*DWPlanesSlack)
	masks := make([]uint32, 24)
	for i := range masks {
		masks[i] = ^uint32(0)
	}
	if t.PW > 0 {
		masks[0] = 0
	}
	if (t.Cols-1)*t.Stride-t.PW+2 >= t.Width {
		k := min(t.Cols, 8) - 1
		if t.Stride == 2 { // as the kernel holds them
			k = [8]int{0, 1, 4, 5, 2, 3, 6, 7}[k]
		}
		masks[16+k] = 0
	}
	t.zero, t.masks, t.width = unsafe.Pointer(&zeros[DWPlanesSlack]), unsafe.Pointer(&masks[0]), t.Width
}

// Run computes the planes. It panics where a slice is too short.
func (t *DWPlanes) Run() {
	if t.Planes < 1 {
		return
	}
	if t.Rows < DWPlanesRows || t.Cols < 1 || t.At < DWPlanesSlack || t.Stride != 1 && t.Stride != 2 || t.width != t.Width ||
		t.PH > 1 || t.PW > 1 || (t.Rows-1)*t.Stride-t.PH+2 > t.H || (t.Cols-1)*t.Stride-t.PW+2 > t.Width {
		panic("kern: depthwise planes out of range")
	}
	_ = t.X[t.At+(t.Planes-1)*t.SPlane+t.H*t.Width+DWPlanesSlack-1]
	_ = t.W[9*t.Planes-1]
	_ = t.Y[(t.Planes-1)*t.DPlane+(t.Rows-1)*t.DRow+max(8, t.Cols)-1]
	if t.Flags&FlagCol != 0 {
		_ = t.Bias[t.Planes-1]
	}
	if t.Flags&FlagPRelu != 0 {
		_ = t.Slope[t.Planes-1]
	}
	dwPlanes(t)
}
