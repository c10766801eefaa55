package cpu

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// physicalCores counts the distinct (package, core) pairs of the CPUs in the
// process's affinity mask; 0 where the system does not say.
func physicalCores() int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0
	}
	return countCores("/sys/devices/system/cpu", set.IsSet, len(set)*64)
}

func countCores(dir string, has func(cpu int) bool, limit int) int {
	cores := map[string]bool{}
	for i := range limit {
		if !has(i) {
			continue
		}
		var id string
		for _, f := range []string{"physical_package_id", "core_id"} {
			b, err := os.ReadFile(fmt.Sprintf("%s/cpu%d/topology/%s", dir, i, f))
			if err != nil {
				return 0
			}
			id += strings.TrimSpace(string(b)) + "/"
		}
		cores[id] = true
	}
	return len(cores)
}
