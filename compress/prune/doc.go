// Package prune removes weights: by magnitude with retraining, and a scan of how
// sensitive each layer is (Han, Pool, Tran, Dally: Learning both Weights and
// Connections for Efficient Neural Networks, 2015).
//
// Unstable: the package may change between releases.
//
//	mask = |W| among the largest (1 - sparsity) of its layer    W' = W * mask
package prune
