// Package stat looks at a network's values on data: one calibration run for many
// observers, each in fixed memory.
//
// Unstable: the package may change between releases.
//
//	dataset ──batches──> session ──values──> histograms, Gram matrices
//
// An [Observer] sees a value of every batch; [Run] feeds them all in one pass.
// Observers' results depend on the data only, not on the batch size or the number
// of workers, up to the rounding of float64 sums.
package stat
