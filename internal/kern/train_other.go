//go:build !amd64 || noasm

package kern

// The assembly that is not there; haveAsm is false, so nobody calls it.

func f32AddAVX2(_, _ *float32, _ int)                             {}
func f32ReluGradAVX2(_, _, _ *float32, _ int)                     {}
func f32EMAAVX2(_, _ *float32, _ int, _ float32)                  {}
func f32AdamWAVX2(_, _, _, _, _ *float32, _ int)                  {}
func f32Max2x2AVX2(_, _, _ *float32, _, _, _, _ int)              {}
func f32Max2x2GradAVX2(_, _, _, _, _ *float32, _, _, _, _, _ int) {}
