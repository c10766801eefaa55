package lean

import (
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// init runs before most other packages are initialised, and before what main does.
func init() { Begin() }

// Begin releases what the start of the program has touched, where its command line has --memory low.
func Begin() {
	if asked(os.Args) {
		releaseProgram()
	}
}

// asked reports a command line that has --memory low.
func asked(args []string) bool {
	i := slices.IndexFunc(args, func(a string) bool { return a == "--memory" || strings.HasPrefix(a, "--memory=") })
	if i < 0 {
		return false
	}
	_, v, is := strings.Cut(args[i], "=")
	if !is && i+1 < len(args) {
		v = args[i+1]
	}
	return v == "low"
}

// little is the heap in bytes below which a collection takes more memory, for its own work, than it frees.
const little = 2 << 20

// Release gives back to the system the pages of the program's file that are in memory, and where
// there is a heap worth it collects garbage, now and from then on often, until Done. It takes some milliseconds, and so does
// touching again what is needed. GOGC, where it is set, has its way.
func Release() {
	releaseProgram()
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapAlloc < little {
		return
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25)
	}
	debug.FreeOSMemory()
	releaseProgram()
}

// Done says that no more garbage is made.
func Done() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(100)
	}
}
