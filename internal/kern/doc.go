// Package kern holds the micro-kernels: plain slices in and out, portable Go
// beside assembly (written by _gen, a module of its own), chosen by
// [whit/internal/cpu.Features]. The build tag noasm leaves the portable ones only.
//
// # Numbers
//
// Every output has one float32 accumulator, k ascends, each step is one FMA; the
// epilogue (scale, bias, clamp) rounds each of its operations. Where k is split
// into blocks, C is stored and reloaded, which changes no bit. AVX2, AVX-512
// and NEON therefore agree bit for bit, whatever the tiles; portable Go rounds products
// and sums separately and agrees within γ_k Σ|a||b|.
//
// # Products
//
// A [Micro] computes one [Tile] of at most MR x NR outputs. A is read in place
// through two strides (row-major, transposed or packed alike), in segments of k
// that begin anywhere: a direct convolution is a product whose segments are the
// rows of the window. B is read NR columns at a time, from row-major memory or from
// panels:
//
//	panel p:  [K][NR] floats, columns p*NR ... p*NR+NR-1, zeros beyond N
//
// [Micro.PackB] makes panels of a constant. Code that produces B itself, as im2col does,
// writes such panels directly and calls [Micro.Run] on them, or hands them to a
// [GEMM] with PackedB.
//
// A [GEMM] is a whole product with fixed shapes: it divides C into disjoint tiles
// that workers may run in any order, packs B in scratch where that pays, and
// allocates nothing.
//
//	g := &kern.GEMM{M: 128, N: 300, K: 784, Flags: kern.FlagCol}
//	g.Init(kern.F32(features))
//	for i := range g.Tiles() { // on any worker
//		g.Run(i, x, w, y, bias, nil, scratch) // scratch: g.Scratch() floats of the worker's own
//	}
//
// The weights of a dense layer that change at every step are not packed ahead: B
// is read in place or packed panel by panel. In training the three products of a dense layer Y[N,O] = X[N,I]·W[I,O] are
//
//	Y  = X·W    GEMM{M: N, N: O, K: I}
//	dW = Xᵀ·dY  GEMM{M: I, N: O, K: N, TransA: true}
//	dX = dY·Wᵀ  GEMM{M: N, N: I, K: O, TransB: true}
//
// # The rest
//
// [DWMicro] is the depthwise convolution, one row of pixels of one vector of
// channels a call. [Flat] is elementwise work on contiguous floats; it, [Exp],
// [Sigmoid] and [Tanh] give the same bits in assembly and in portable Go.
//
// Unstable: the package may change between releases.
package kern
