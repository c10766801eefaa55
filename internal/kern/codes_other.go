//go:build !amd64 || noasm

package kern

func codes(*Codes) { panic("kern: no assembly") }
