// Package fit fits layers in closed form: it collects what a layer's inputs and the float
// model's outputs are on calibration images, as Gram matrices, and solves the least
// squares that pruning, quantising and repair come to.
//
// Unstable: no promise of its API is made.
//
//	error of a row w' instead of w:  (w - w')ᵀ H (w - w'),  H = Σ x xᵀ over the layer's inputs x
//	best row for targets y:          H w' = Σ y x
//
// Matrices are float64 and row-major. All sums have one order: results do not depend on the
// number of workers.
package fit
