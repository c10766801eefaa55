//go:build !linux

package cpu

func physicalCores() int { return 0 }
