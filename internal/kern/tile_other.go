//go:build !amd64 || noasm

package kern

const haveAsm = false

func (u *Micro) run(t *Tile) { blocksGo(t) }
