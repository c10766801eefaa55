//go:build !amd64 || noasm

package kern

func (u *Micro) peak(n int) (flops int) { return 0 }
