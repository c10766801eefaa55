package main

import (
	"os"
	"runtime/debug"
)

// calm lets the heap grow to 64 MB, or 17 times what is in use, before garbage is collected, until done is
// called: most of what loading a model makes stays, and looking for the rest takes a third of the time. With little
// memory it is 16 MB and five times. GOGC, where it is set, has its way.
func calm(low bool) (done func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	percent := 1600
	if low {
		percent = 400
	}
	old := debug.SetGCPercent(percent)
	return func() { debug.SetGCPercent(old) }
}
