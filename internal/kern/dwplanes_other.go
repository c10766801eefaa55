//go:build !amd64 || noasm

package kern

func dwPlanes(*DWPlanes) { panic("kern: no assembly") }
