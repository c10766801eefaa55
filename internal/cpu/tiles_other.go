//go:build !linux || !amd64

package cpu

func tilesAllowed() bool { return false }
