// Package method says what a compression method is, and holds what methods
// share: the state that they change, recipes, the accounting of bytes.
//
// Unstable: the package may change between releases.
//
// A [Method] has a name, parameters with defaults and ranges, and Apply, which
// changes a [State]: the model graph, and for each layer a mask and a codebook.
// [State.Train] trains the state as it stands: during training compression is
// ordinary graph operations on a dense master,
//
//	W' = Mul(W, mask)                       pruned layers
//	W' = Mul(Gather(centroids, idx), mask)  weights shared by a codebook
//
// and [State.Freeze] folds them into a weight.Weight. A state holds the training
// and the choice split, never the test set: no method can open it.
//
// To add a method: one file in compress/prune, quant, factor or distill, and one
// line in compress's table.
package method
