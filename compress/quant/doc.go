// Package quant holds weights in few bits, and makes models run on integers, with training (k-means
// codebooks: Han, Mao, Dally, Deep Compression, 2016, section 3) and without; and it repairs layers in
// closed form.
//
// Unstable: the package may change between releases.
//
//	codebook:     w[i] = centroids[index[i]]     d loss / d centroid[k] = sum of d loss / d w[i] over index[i] = k
//	rdo:          w[i] = step level[i]           level[i] = argmin divergence + lambda bits
//	trained:      w[i] = step level[i]           zero where ½ h value² < lambda bits; the rest is rounded little by little
//	equalise:     w1[c] / s, w2[c] s             s = sqrt(r1 / r2): the model stays what it is
//	round:        w[i] = (level[i] - zero) scale level[i] next to what it was
//	adaround:     the same                       levels = argmin |y - w x|² over the layer's inputs
//	obs, gptq:    min (w - w')ᵀ H (w - w')       H = Σ x xᵀ of a layer's inputs x; w' sparse, or levels
//	refit:        min Σ |y - w' x - b|²          y of the float model, x behind the compressed layers
//	correct:      b + E[y] - E[y']               the means of the float and of the rounded model
//	activations:  x = (q - zero) scale           products, sums and pools on integers of 8 bits
package quant
