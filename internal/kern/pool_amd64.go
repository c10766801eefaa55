//go:build !noasm

package kern

func maxPool(t *Pool) { f32MaxPool32AVX2(t) }
func avgPool(t *Pool) { f32AvgPool32AVX2(t) }

func sumPixels(sums []float64, x []float32, n, pixels, stride int) {
	f32Sum8AVX2(&sums[0], &x[0], n, pixels, stride)
}
