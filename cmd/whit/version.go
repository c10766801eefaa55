package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"whit/internal/cpu"
)

// Version is whit's own version.
const Version = "0.3.0"

type versionInfo struct {
	Schema   int    `json:"schema"`
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
}

func version() versionInfo {
	v := versionInfo{Schema: 1, Version: Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		CPU: cpu.Detect().String(), Cores: cpu.PhysicalCores()}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	return v
}

func versionCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print version, commit, CPU features and kernels",
		Example: "  whit version --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := version()
			if asJSON {
				return printJSON(c.OutOrStdout(), v)
			}
			fmt.Fprintf(c.OutOrStdout(), "whit %s %s\n%s %s\ncpu: %s, %d cores\n", v.Version, v.Commit, v.Go, v.Platform, v.CPU, v.Cores)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	return c
}
