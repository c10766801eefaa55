// Command init is the only program of an emulated machine: it runs the lines of /tests, each
// "folder program arguments", writes what they say to the serial port, and turns the machine off.
// See run beside it.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

func main() {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		os.Mkdir(m[1], 0o755)
		if err := syscall.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			fmt.Println(m, err)
		}
	}
	tty, err := os.OpenFile("/dev/ttyS0", os.O_WRONLY, 0)
	if err != nil {
		tty = os.Stdout
	}
	tests, err := os.ReadFile("/tests")
	if err != nil {
		fmt.Fprintln(tty, err)
	}
	for l := range strings.Lines(string(tests)) {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		c := exec.Command(f[1], f[2:]...)
		c.Dir, c.Stdout, c.Stderr = f[0], tty, tty
		c.Env = []string{"TMPDIR=/tmp", "HOME=/tmp", "PATH=/"}
		err := c.Run()
		fmt.Fprintf(tty, "EMULATED %s: %v\n", strings.TrimSpace(l), err)
	}
	tty.Sync()
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}
