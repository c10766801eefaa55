// Package quant shares weights among few values: k-means codebooks with trained
// centroids (Han, Mao, Dally: Deep Compression, 2016, section 3), and uniform levels that
// are chosen by their bytes and their effect on the decisions.
//
// Unstable: the package may change between releases.
//
//	codebook:  w[i] = centroids[index[i]]    d loss / d centroid[k] = sum of d loss / d w[i] over index[i] = k
//	rdo:       w[i] = step level[i]          level[i] = argmin divergence + lambda bits
package quant
