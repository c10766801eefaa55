//go:build (!amd64 && !arm64) || noasm

package kern

const haveAsm = false

func (u *Micro) run(t *Tile)   { u.blocks(t) }
func (u *Micro) block(t *Tile) { tileGo(t) }
