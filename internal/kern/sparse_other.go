//go:build !amd64 || noasm

package kern

func (u *SparseMicro) run(t *Sparse)    { sparseGoRun(t) }
func (u *SparseMicro) to(t *Planes)     {}
func (u *SparseMicro) from(t *Planes)   {}
func (u *SparseMicro) vector(t *Sparse) {}
