package cpu

import (
	"sync"

	"golang.org/x/sys/unix"
)

// tilesAllowed asks Linux, once, to let this process use the tiles of AMX: their 8 KB are not
// saved for processes that have not asked. It fails where the system knows no tiles (before
// Linux 5.16, or where XCR0 lacks their bits), and where a thread's stack for signals is too
// small for them; Go's have 32 KB, of which a signal's frame with tiles takes 11.
var tilesAllowed = sync.OnceValue(func() bool {
	const request, data = 0x1023, 18 // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
	_, _, err := unix.RawSyscall(unix.SYS_ARCH_PRCTL, request, data, 0)
	return err == 0
})
