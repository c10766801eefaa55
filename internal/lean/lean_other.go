//go:build !linux

package lean

func releaseProgram() {}
