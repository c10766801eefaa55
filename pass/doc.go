// Package pass holds verified rewrites of a graph: dead code, constant folding,
// binding to shapes, BatchNormalization folding and fusion.
//
// Unstable: the package may change between releases.
//
// Passes that need no shapes ([Simplify], [FoldBatchNorm], [Fuse]) run once on a
// program's clone of the model graph; [Bind] runs for every binding of input
// shapes. Every pass leaves a graph that verifies.
//
//	model graph ──clone──▶ Simplify ▶ FoldBatchNorm ▶ Fuse ──▶ program ──Bind(shapes)──▶ plan
package pass
