// Package quant shares weights among few values: k-means codebooks with trained
// centroids (Han, Mao, Dally: Deep Compression, 2016, section 3), and uniform levels that
// are chosen by their bytes and their effect on the decisions, or on layers' outputs; and it
// repairs layers in closed form.
//
// Unstable: the package may change between releases.
//
//	codebook:  w[i] = centroids[index[i]]    d loss / d centroid[k] = sum of d loss / d w[i] over index[i] = k
//	rdo:       w[i] = step level[i]          level[i] = argmin divergence + lambda bits
//	obs, gptq: min (w - w')ᵀ H (w - w')      H = Σ x xᵀ of a layer's inputs x; w' sparse, or levels
//	refit:     min Σ |y - w' x - b|²         y of the float model, x behind the compressed layers
package quant
