package main

import (
	"os"
	"runtime/debug"

	"whit/internal/lean"
)

// calm lets the heap grow to 64 MB, or 17 times what is in use, before garbage is collected, until done is
// called: most of what loading a model makes stays, and looking for the rest takes a third of the time. With little
// memory it begins by giving some back instead, see lean.Release. GOGC, where it is set, has its way.
func calm(low bool) (done func()) {
	if low {
		lean.Release()
		return lean.Done
	}
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	old := debug.SetGCPercent(1600)
	return func() { debug.SetGCPercent(old) }
}
