package main

import (
	"os"
	"runtime/debug"
)

// calm lets the heap grow to 16 MB, or five times what is in use, before garbage is collected, until done is
// called: most of what loading a model makes stays, and looking for the rest takes a third of the time. GOGC, where
// it is set, has its way.
func calm() (done func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	old := debug.SetGCPercent(400)
	return func() { debug.SetGCPercent(old) }
}
