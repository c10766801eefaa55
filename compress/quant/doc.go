// Package quant shares weights among few values: k-means codebooks with trained
// centroids (Han, Mao, Dally: Deep Compression, 2016, section 3).
//
// Unstable: the package may change between releases.
//
//	w[i] = centroids[index[i]]    d loss / d centroid[k] = sum of d loss / d w[i] over index[i] = k
package quant
