//go:build !amd64 || noasm

package kern

func (v Ints) columns([]byte, []byte, int, int, int, byte) bool { return false }

func (v Ints) zipRows([]byte, []byte, int, int) bool { return false }

func (v Ints) zipQuads([]byte, []byte, int, int, int) bool { return false }

func (v Ints) winoFilters([]int16, int, []byte, int, int) bool { return false }
