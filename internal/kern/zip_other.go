//go:build !amd64 || noasm

package kern

func zip([]uint32, []uint32, []uint32) { panic("kern: no assembly") }

func zip3([]uint32, []uint32, []uint32, []uint32) { panic("kern: no assembly") }
