//go:build !noasm

package kern

func (u *SparseMicro) run(t *Sparse) {
	if u.asm {
		f32SparseAVX2(t)
		return
	}
	sparseGoRun(t)
}

func (u *SparseMicro) to(t *Planes)     { f32ToPlanesAVX2(t) }
func (u *SparseMicro) from(t *Planes)   { f32FromPlanesAVX2(t) }
func (u *SparseMicro) vector(t *Sparse) { f32SparseVecAVX2(t) }
