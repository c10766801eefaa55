// Package weight says how a float constant is held: dense, as integers of 2 to 8
// bits, sparse, by a codebook, and nests of these.
//
// Unstable: the package may change between releases.
//
// A [Weight] is what a network's constant is; how it is coded on disk (an
// entropy coder) and how a kernel wants it packed are other matters. Deep
// Compression (Han, Mao, Dally: Deep Compression, 2016) is
//
//	Sparse{positions, Values: Codebook{indices, centroids}}
//
// under an entropy coder.
package weight
