package lean

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// program is where the program's code and tables are.
var program = sync.OnceValue(func() []mapping {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return nil
	}
	return clean(string(maps), exe)
})

// releaseProgram unmaps the resident pages of the program's code and tables. The system may
// refuse; nothing depends on it.
func releaseProgram() {
	for _, m := range program() {
		// Pages that equal the file: touched again, they come from it.
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// clean are the mappings of the file in the text of /proc/self/smaps that nobody may write, and of
// which no page is the process's own: a loader that moves code leaves such pages.
func clean(smaps, file string) []mapping {
	var out []mapping
	var m mapping
	mine := false
	for line := range strings.SplitSeq(smaps, "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if from, to, is := strings.Cut(f[0], "-"); is && !strings.HasSuffix(f[0], ":") {
			a, err1 := strconv.ParseUint(from, 16, 64)
			b, err2 := strconv.ParseUint(to, 16, 64)
			m = mapping{uintptr(a), uintptr(b)}
			mine = err1 == nil && err2 == nil && a < b && len(f) >= 6 && len(f[1]) == 4 && f[1][1] == '-' && f[1][3] == 'p' && strings.HasSuffix(line, " "+file)
			continue
		}
		if mine && f[0] == "Anonymous:" && f[1] == "0" {
			out = append(out, m)
		}
	}
	return out
}
