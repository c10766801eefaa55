//go:build !noasm

package kern

func codes(t *Codes) {
	switch t.Form {
	case Codes4:
		f32Codes4AVX2(t)
	case CodesI8:
		f32CodesI8AVX2(t)
	case CodesU8:
		f32CodesU8AVX2(t)
	case CodesI4:
		f32CodesI4AVX2(t)
	case CodesU4:
		f32CodesU4AVX2(t)
	}
}
