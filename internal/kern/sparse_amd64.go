//go:build !noasm

package kern

func (u *SparseMicro) run(t *Sparse) {
	switch u {
	case sparseAVX512:
		f32SparseAVX512(t)
	case sparseAVX2:
		f32SparseAVX2(t)
	default:
		sparseGoRun(t)
	}
}

func (u *SparseMicro) to(t *Planes)     { f32ToPlanesAVX2(t) }
func (u *SparseMicro) from(t *Planes)   { f32FromPlanesAVX2(t) }
func (u *SparseMicro) vector(t *Sparse) { f32SparseVecAVX2(t) }
