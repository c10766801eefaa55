// Package prune removes weights and channels: by magnitude with retraining, after a scan of how
// sensitive each layer is (Han, Pool, Tran, Dally: Learning both Weights and
// Connections for Efficient Neural Networks, 2015), by Fisher information within training, and without training by surgery on the graph:
// what is coupled goes together, and layers that read it are fitted to what they gave.
//
// Unstable: the package may change between releases.
//
//	mask = |W| among the largest (1 - sparsity) of its layer    W' = W * mask
//
//	conv1 ─▶ BatchNormalization ─▶ Relu ─▶ conv2      channel 3 of conv1 is an [Atom]:
//	[64,3,3,3]  scale, bias,       (no     [32,64,3,3]     conv1 [3,:,:,:], scale [3], bias [3], mean [3], var [3],
//	            mean, var [64]     state)                  conv2 [:,3,:,:]
package prune
