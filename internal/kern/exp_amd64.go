//go:build !noasm

package kern

const haveExp = true

func vecExp(dst, x []float32, n int)     { f32VecExpAVX2(&dst[0], &x[0], n, &expTable[0]) }
func vecSigmoid(dst, x []float32, n int) { f32VecSigmoidAVX2(&dst[0], &x[0], n, &expTable[0]) }
func vecSwish(dst, x []float32, n int)   { f32VecSwishAVX2(&dst[0], &x[0], n, &expTable[0]) }
func vecTanh(dst, x []float32, n int)    { f32VecTanhAVX2(&dst[0], &x[0], n, &expTable[0]) }
func vecErf(dst, x []float32, n int)     { f32VecErfAVX2(&dst[0], &x[0], n, &erfTable[0]) }

func wideSigmoid(dst, x []float32, n int) { f32VecSigmoidAVX512(&dst[0], &x[0], n, &expTable[0]) }
func wideSwish(dst, x []float32, n int)   { f32VecSwishAVX512(&dst[0], &x[0], n, &expTable[0]) }
