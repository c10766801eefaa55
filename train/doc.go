// Package train trains model graphs.
//
// Unstable: the package may change between releases.
//
// Forward pass, loss, backward pass and the optimiser's updates are one graph,
// made from the operators' own gradients and run by the same plans as inference:
//
//	input, labels ──forward──> logits ──SoftmaxXent──> loss
//	params <──AdamW | SGD── gradients <──VJPs in reverse──┘
//
// What is trained are the values of kind Param; [Promote] makes them of a model's
// constants and [Demote] makes constants of them again. Compression during
// training is ordinary graph operations between a Param and its reader: a Mul with
// a constant mask, a Gather from trained centroids.
//
// [Run] trains a model in one call. A [Trainer] gives control over single steps
// and epochs, snapshots and the live variables. The same seed, data and options
// give the same bytes for any number of workers: batches are drawn by
// counter-based generators, float sums have a fixed order, and a run that was
// interrupted and resumed from its checkpoint ends as an undisturbed one.
package train
