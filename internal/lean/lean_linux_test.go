package lean

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	const smaps = `00400000-00c13000 r-xp 00000000 fe:00 11371331                           /bin/whit
Size:               8268 kB
Rss:                6728 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00c13000-01313000 r--p 00813000 fe:00 11371331                           /bin/whit
Rss:                5248 kB
Anonymous:             4 kB
01313000-01399000 rw-p 00f13000 fe:00 11371331                           /bin/whit
Anonymous:             0 kB
01400000-01500000 r--s 00f13000 fe:00 11371331                           /bin/whit
Anonymous:             0 kB
01500000-01600000 r--p 00000000 fe:00 11371332                           /bin/not whit
Anonymous:             0 kB
01700000-01600000 r--p 00000000 fe:00 11371331                           /bin/whit
Anonymous:             0 kB
01800000-01900000 r--p 00000000 fe:00 11371331                           /bin/whit
Anonymous:             0 kB
7fd0f6c06000-7fd0f6d0c000 r--p 00000000 00:00 0
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0xc13000}, {0x1800000, 0x1900000}}
	if got := clean(smaps, "/bin/whit"); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	for i := range smaps {
		clean(smaps[:i], "/bin/whit") // must not panic
	}
}

// TestReleases: pages of the program's file leave memory.
func TestReleases(t *testing.T) {
	resident := func() (kb int) {
		b, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Skip(err)
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "RssFile:" {
				kb, _ = strconv.Atoi(f[1])
			}
		}
		return kb
	}
	before := resident()
	releaseProgram()
	if after := resident(); before == 0 || after >= before {
		t.Errorf("%d kB of files in memory before, %d kB after", before, after)
	}
}
